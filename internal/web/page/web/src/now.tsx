// SPDX-License-Identifier: Apache-2.0

import { useEffect, useMemo, useState } from "preact/hooks";
import { useAsk } from "./api";
import { Chart, type ChartData } from "./chart";
import { type Line, useEvery, useLive, useSoon } from "./live";
import { Card, Failure, Share, Time, Waiting } from "./parts";
import { incidentHref, incidentsHref } from "./router";
import { Tiles } from "./tiles";
import type { CloudEvent, Count, IncidentList, NodeView, Summary } from "./types";
import { ago, clock, count, host, hostPort, kindWords, outcomeWords, plural, podName, word } from "./words";

const newest = 8;
const refreshMs = 1000;
const rollMs = 20_000; // the hour moves on

export function NowView({ onLine }: { onLine: (l: Line) => void }) {
  const summary = useAsk<Summary>("/v1/summary?since=1h");
  const nodes = useAsk<{ nodes: NodeView[] }>("/v1/nodes");
  const latest = useAsk<IncidentList>(`/v1/incidents?limit=${newest}`);
  const [told, setTold] = useState<Map<string, NodeView>>(new Map());
  const refresh = useSoon(() => (summary.again(), latest.again()), refreshMs);
  const all = () => (summary.again(), latest.again(), nodes.again());
  useEffect(() => setTold(new Map()), [nodes.data]);
  const line = useLive("", {
    incident: refresh,
    node: (n) => setTold((m) => new Map(m).set(nodeKey(n), n)),
    restart: all,
  });
  useEvery(all, rollMs);
  useEffect(() => onLine(line), [line]);
  useEffect(() => void (document.title = "Now · renat"), []);

  const current = useMemo(() => merge(nodes.data?.nodes ?? [], told), [nodes.data, told]);
  const failure = summary.failure ?? nodes.failure ?? latest.failure;
  if (failure && !summary.data) return <Failure failure={failure} again={all} />;
  if (!summary.data || !nodes.data || !latest.data) return <Waiting what="what happens now" />;
  return <Now s={summary.data} nodes={current} latest={latest.data.incidents} />;
}

const nodeKey = (n: NodeView) => `${n.status.cluster ?? ""}/${n.status.node}`;

function merge(asked: NodeView[], told: Map<string, NodeView>): NodeView[] {
  const all = new Map(asked.map((n) => [nodeKey(n), n]));
  told.forEach((n, key) => all.set(key, n));
  return [...all.values()];
}

function Now({ s, nodes, latest }: { s: Summary; nodes: NodeView[]; latest: CloudEvent[] }) {
  const broken = useMemo<ChartData>(() => ({
    times: s.buckets.map((b) => Date.parse(b.time) / 1000),
    values: s.buckets.map((b) => b.renat + b.orphaned_reply),
  }), [s]);
  const evicted = useMemo(() => evictions(nodes), [nodes]);
  const known = evicted.values.filter((v) => v !== null);
  return (
    <>
      <h1 class="headline">{headline(s)}</h1>
      <p class="sub">{subline(s, nodes)}</p>
      <div class="grid now">
        <Card id="broken" title="Broken connections" aside={<span class="muted">per minute, last hour</span>}>
          <Chart data={broken} look="bars" unit="broken" height={150} label={chartLabel(s)} />
        </Card>
        <Card id="evictions" title="Evictions" aside={<span class="muted">per second, all nodes</span>}>
          {known.length > 0
            ? <Chart data={evicted} look="area" unit="evictions/s" height={150} label={`Evictions per second over the last hour: now ${(known.at(-1) ?? 0).toFixed(1)}, at most ${Math.max(...known).toFixed(1)}`} />
            : <p class="none">No node has told its evictions yet.</p>}
        </Card>
        <Tiles nodes={nodes} counts={s.nodes} />
        <Ranking id="workloads" title="Worst workloads" counts={s.workloads} filter="workload" />
        <Ranking id="destinations" title="Worst destinations" counts={s.destinations} filter="destination" />
        <Latest latest={latest} held={s.held} />
      </div>
    </>
  );
}

function headline(s: Summary): string {
  if (s.held === 0) return "No connection broke yet";
  if (s.total === 0) return "No connection broke in the last hour";
  return `${plural(s.total, "connection")} broke in the last hour`;
}

function subline(s: Summary, nodes: NodeView[]) {
  const parts: string[] = [];
  if (s.total > 0) parts.push(`${count(s.outcomes.reset ?? 0)} seen reset`);
  if (s.kinds.renat) parts.push(`${count(s.kinds.renat)} ${kindWords.renat}`);
  if (s.kinds.orphaned_reply) parts.push(plural(s.kinds.orphaned_reply, "orphaned reply", "orphaned replies"));
  const of = (state: string) => nodes.filter((n) => n.state === state).length;
  if (nodes.length > 0) {
    const states = (["breaking", "evicting", "silent", "ok"] as const).filter((st) => of(st) > 0).map((st) => `${count(of(st))} ${st}`);
    parts.push(`${plural(nodes.length, "node")}: ${states.join(", ")}`);
  }
  return (
    <>
      {parts.join(" · ")}
      {s.total === 0 && s.newest && <>{parts.length > 0 && " · "}the newest of {plural(s.held, "incident")} is from <Time at={s.newest} /></>}
      {s.held === 0 && nodes.length === 0 && "renat shows here which connections Cilium's NAT map breaks, as soon as it happens."}
    </>
  );
}

function chartLabel(s: Summary): string {
  const most = s.buckets.reduce<{ n: number; at: string }>((m, b) => (b.renat + b.orphaned_reply > m.n ? { n: b.renat + b.orphaned_reply, at: b.time } : m), { n: 0, at: "" });
  return `Broken connections per minute over the last hour: ${s.total} in all` + (most.n > 0 ? `, most ${most.n} at ${clock(new Date(most.at))}` : "");
}

// evictions adds up the nodes' rates of each minute.
function evictions(nodes: NodeView[]): ChartData {
  const minutes = nodes[0]?.evictions_per_second.length ?? 0;
  const last = Math.floor(Date.now() / 60_000) * 60;
  const times = Array.from({ length: minutes }, (_, n) => last - (minutes - 1 - n) * 60);
  const values = times.map((_, n) =>
    nodes.reduce<number | null>((sum, node) => {
      const v = node.evictions_per_second[n] ?? null;
      return v === null ? sum : (sum ?? 0) + v;
    }, null));
  return { times, values };
}

function Ranking({ id, title, counts, filter }: { id: string; title: string; counts: Count[]; filter: string }) {
  const most = counts[0]?.count ?? 1;
  return (
    <Card id={id} title={title} aside={<span class="muted">last hour</span>}>
      {counts.length === 0 ? <p class="none">None.</p> : (
        <ol class="ranking">
          {counts.slice(0, 6).map((c) => (
            <li key={c.name}>
              <a href={incidentsHref({ [filter]: c.name, since: "1h" })} title={c.name}>{c.name}</a>
              <Share of={c.count / most} />
              <span class="number">{count(c.count)}</span>
            </li>
          ))}
        </ol>
      )}
    </Card>
  );
}

function Latest({ latest, held }: { latest: CloudEvent[]; held: number }) {
  return (
    <Card id="latest" title="Latest incidents" aside={held > 0 && <a href="/incidents">All {count(held)}</a>}>
      {latest.length === 0 ? <p class="none">None yet.</p> : (
        <ul class="feed">
          {latest.map(({ id, data: i }) => (
            <li key={id}>
              <a href={incidentHref(id)}>
                <span class="who">{podName(i.source)} → {hostPort(host(i.destination), i.destination.port)}</span>
                <span class="muted">{word(kindWords, i.kind)}, {word(outcomeWords, i.outcome)} · {i.node}</span>
              </a>
              <span class="when"><Time at={i.time} text={ago(new Date(i.time))} /></span>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
