// SPDX-License-Identifier: Apache-2.0

import { Spark } from "./chart";
import { Card, Icon, Share } from "./parts";
import { during, isHour, params, type Range } from "./range";
import { incidentsHref } from "./router";
import type { Guard, NodeList, NodeMap, NodeView, Summary } from "./types";
import { ago, count, plural, rate, stateWords, word } from "./words";

// unwatched are nodes of which nothing is known now.
export const unwatched = (n: NodeView) => n.state === "blind" || n.state === "silent";

// shown are how many nodes are, mostShown when all are wanted.
export const shown = 24;
export const mostShown = 1000;

// Tiles are the nodes, the worst first. A node that has incidents but tells no
// status is there, too: its incidents came from a recording, or its agent is gone.
export function Tiles({ list: { nodes, fleet }, onAll, s, range }: { list: NodeList; onAll: () => void; s: Summary; range: Range }) {
  const hour = new Map(isHour(range) ? s.nodes.map((c) => [c.name, c.count]) : []);
  const unknown = s.nodes.filter((c) => s.untold?.includes(c.name));
  const severalClusters = fleet.clusters > 1;
  return (
    <Card id="nodes" title="Nodes" aside={<span class="muted">{fleet.total > 0 && plural(fleet.total, "agent")}</span>}>
      {nodes.length === 0 && unknown.length === 0 && (
        <p class="none">No agent has reported yet. <code>renat agent</code> on a node does.</p>
      )}
      <ul class="tiles">
        {nodes.map((n) => <Tile key={`${n.status.cluster}/${n.status.node}`} n={n} hour={hour.get(n.status.node) ?? 0} cluster={severalClusters} />)}
        {unknown.map((c) => (
          <li class="tile silent" key={c.name}>
            <h3><a href={incidentsHref({ node: c.name, ...params(range) })} title={c.name}>{c.name}</a></h3>
            <p class="state"><Icon name="silent" />no status</p>
            <p class="figures">{plural(c.count, "incident")} {during(range)}</p>
          </li>
        ))}
      </ul>
      {fleet.total > nodes.length && nodes.length < mostShown && (
        <button type="button" onClick={onAll}>Show {fleet.total > mostShown && `the worst ${count(mostShown)} of `}{fleet.total <= mostShown && "all "}{count(fleet.total)} nodes</button>
      )}
    </Card>
  );
}

const nat = (n: NodeView): NodeMap[] => (n.status.maps ?? []).filter((m) => !m.ct);
const evicted = (n: NodeView) => nat(n).reduce((sum, m) => sum + m.last_minute.evictions_per_second, 0);

function Tile({ n, hour, cluster }: { n: NodeView; hour: number; cluster: boolean }) {
  const s = n.status;
  const waits = (s.parts ?? []).filter((p) => !p.ready);
  const broken = Math.max(hour, s.incidents.last_hour);
  const losses = Object.values(s.losses ?? {}).reduce((a, b) => a + b, 0);
  return (
    <li class={`tile ${n.state}`}>
      <h3><a href={incidentsHref({ node: s.node, cluster: (cluster && s.cluster) || "" })} title={s.node}>{s.node}</a></h3>
      {cluster && <p class="muted cut">{s.cluster}</p>}
      <p class="state"><Icon name={n.state} />{word(stateWords, n.state)}{n.state === "ok" && broken > 0 && " for 10 min"}{n.state === "silent" && `, last heard ${ago(new Date(n.heard))}`}</p>
      <p class="figures"><span><b>{rate(evicted(n))}</b> evictions/s</span> <span><b>{count(broken)}</b> broken in 1 h</span></p>
      <Spark values={n.evictions_per_second} />
      {nat(n).filter((m) => m.max_entries > 0).map((m) => <Fill key={m.name} m={m} />)}
      {(s.at_risk ?? 0) > 0 && <p class="fill muted">{plural(s.at_risk ?? 0, "connection breaks", "connections break")} by the next packet</p>}
      {s.guard && <Guarding g={s.guard} />}
      {waits.map((p) => <p class="waits" key={p.name}><Icon name={p.name === "kernel" ? "blind" : "degraded"} />{p.name}: {p.problem || "not ready"}</p>)}
      {losses > 0 && <p class="waits"><Icon name="evicting" />{count(losses)} events lost</p>}
    </li>
  );
}

// Guarding is what keeps living connections' entries, and at what cost.
function Guarding({ g }: { g: Guard }) {
  return (
    <>
      {g.problem && <p class="waits"><Icon name="evicting" />guard: {g.problem}</p>}
      {(!g.problem || g.runs > 0) && <p class="fill muted">guard: {g.idle ? "the maps have room" : plural(g.connections, "connection")}{g.lost > 0 && `, ${plural(g.lost, "entry lost", "entries lost")}`}</p>}
      {g.runs > 0 && <p class="fill muted">about {count(g.kept)} kept from breaking (an estimate), {plural(g.runs, "run")}, {count(Math.round(g.ns_per_connection))} ns a connection</p>}
    </>
  );
}

// Fill is how full a NAT map is, as far as the kernel counts.
function Fill({ m }: { m: NodeMap }) {
  const name = m.name.includes("v6") ? "NAT v6" : "NAT v4";
  if (m.entries === undefined) return <p class="fill muted">{name}: {count(m.max_entries)} entries at most</p>;
  const percent = Math.round((100 * m.entries) / m.max_entries);
  return <p class="fill muted">{name} {percent} % of {count(m.max_entries)}<Share of={m.entries / m.max_entries} /></p>;
}
