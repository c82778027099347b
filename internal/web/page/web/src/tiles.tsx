// SPDX-License-Identifier: Apache-2.0

import { useState } from "preact/hooks";
import { Spark } from "./chart";
import { Card, Icon, Share } from "./parts";
import { incidentsHref } from "./router";
import type { Count, NodeMap, NodeState, NodeView } from "./types";
import { ago, count, plural, rate, stateWords, word } from "./words";

const order: Record<NodeState, number> = { breaking: 0, evicting: 1, silent: 2, ok: 3 };
const shown = 24;

// Tiles are the nodes, the worst first. A node that has incidents but tells no
// status is there, too: its incidents came from a recording, or its agent is gone.
export function Tiles({ nodes, counts }: { nodes: NodeView[]; counts: Count[] }) {
  const [all, setAll] = useState(false);
  const hour = new Map(counts.map((c) => [c.name, c.count]));
  const sorted = [...nodes].sort((a, b) =>
    order[a.state] - order[b.state] || evicted(b) - evicted(a) || a.status.node.localeCompare(b.status.node));
  const known = new Set(nodes.map((n) => n.status.node));
  const unknown = counts.filter((c) => !known.has(c.name));
  const few = all ? sorted : sorted.slice(0, shown);
  const severalClusters = new Set(nodes.map((n) => n.status.cluster)).size > 1;
  return (
    <Card id="nodes" title="Nodes" aside={<span class="muted">{nodes.length > 0 && plural(nodes.length, "agent")}</span>}>
      {nodes.length === 0 && unknown.length === 0 && (
        <p class="none">No agent has told of its node yet. <code>renat agent</code> on a node does.</p>
      )}
      <ul class="tiles">
        {few.map((n) => <Tile key={`${n.status.cluster}/${n.status.node}`} n={n} hour={hour.get(n.status.node) ?? 0} cluster={severalClusters} />)}
        {unknown.map((c) => (
          <li class="tile silent" key={c.name}>
            <h3><a href={incidentsHref({ node: c.name, since: "1h" })} title={c.name}>{c.name}</a></h3>
            <p class="state"><Icon name="silent" />no status</p>
            <p class="figures">{plural(c.count, "incident")} in the last hour</p>
          </li>
        ))}
      </ul>
      {sorted.length > few.length && <button type="button" onClick={() => setAll(true)}>Show all {count(sorted.length)} nodes</button>}
    </Card>
  );
}

const nat = (n: NodeView): NodeMap[] => (n.status.maps ?? []).filter((m) => !m.ct);
const evicted = (n: NodeView) => nat(n).reduce((sum, m) => sum + m.last_minute.evictions_per_second, 0);

function Tile({ n, hour, cluster }: { n: NodeView; hour: number; cluster: boolean }) {
  const s = n.status;
  const waits = (s.parts ?? []).filter((p) => !p.ready);
  const losses = Object.values(s.losses ?? {}).reduce((a, b) => a + b, 0);
  return (
    <li class={`tile ${n.state}`}>
      <h3><a href={incidentsHref({ node: s.node, cluster: (cluster && s.cluster) || "" })} title={s.node}>{s.node}</a></h3>
      {cluster && <p class="muted cut">{s.cluster}</p>}
      <p class="state"><Icon name={n.state} />{word(stateWords, n.state)}{n.state === "silent" && `, last heard ${ago(new Date(s.time))}`}</p>
      <p class="figures"><b>{rate(evicted(n))}</b> evictions/s · <b>{count(Math.max(hour, s.incidents.last_hour))}</b> broken in 1 h</p>
      <Spark values={n.evictions_per_second} />
      {nat(n).filter((m) => m.max_entries > 0).map((m) => <Fill key={m.name} m={m} />)}
      {waits.map((p) => <p class="waits" key={p.name}><Icon name="evicting" />{p.name}: {p.problem || "not ready"}</p>)}
      {losses > 0 && <p class="waits"><Icon name="evicting" />{count(losses)} events lost</p>}
    </li>
  );
}

// Fill is how full a NAT map is, as far as the kernel counts.
function Fill({ m }: { m: NodeMap }) {
  const name = m.name.includes("v6") ? "NAT v6" : "NAT v4";
  if (m.entries === undefined) return <p class="fill muted">{name}: {count(m.max_entries)} entries at most</p>;
  const percent = Math.round((100 * m.entries) / m.max_entries);
  return <p class="fill muted">{name} {percent} % of {count(m.max_entries)}<Share of={m.entries / m.max_entries} /></p>;
}
