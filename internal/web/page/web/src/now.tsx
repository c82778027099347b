// SPDX-License-Identifier: Apache-2.0

import { useEffect, useMemo, useState } from "preact/hooks";
import { useAsk } from "./api";
import { Chart, type ChartData } from "./chart";
import { adviceOfFew, Cure, Why } from "./cure";
import { type Line, unknownSince, useEvery, useLive, useSoon } from "./live";
import { Card, Failure, HostPort, Icon, Share, Time, Waiting } from "./parts";
import { during, isHour, params, type Range, rangeOf, RangeSwitch } from "./range";
import { Risks } from "./risks";
import { incidentHref, incidentsHref } from "./router";
import { mostShown, shown, Tiles, unwatched } from "./tiles";
import type { Advice, CloudEvent, Count, IncidentList, NodeList, Summary } from "./types";
import { ago, clock, count, each, host, kindWords, localTime, outcomeWords, plural, podName, word } from "./words";

const newest = 8;
const refreshMs = 1000;
const nodesMs = 5000;
const rollMs = 20_000; // the hour moves on

export function NowView({ query, capacity, onLine }: { query: URLSearchParams; capacity: number | undefined; onLine: (l: Line) => void }) {
  const range = rangeOf(query);
  const summary = useAsk<Summary>("/v1/summary?" + new URLSearchParams(params(range)).toString());
  const [all, setAll] = useState(false); // nodes are asked for
  const nodes = useAsk<NodeList>(`/v1/nodes?limit=${all ? mostShown : shown}`);
  const [listed, setListed] = useState<NodeList | undefined>(); // while more are awaited
  useEffect(() => { if (nodes.data) setListed(nodes.data); }, [nodes.data]);
  const advice = useAsk<Advice>(adviceOfFew);
  // The newest there are, whenever that was, unless the time has an end.
  const latest = useAsk<IncidentList>("/v1/incidents?" + new URLSearchParams({ limit: String(newest), ...(range.until && params(range)) }).toString());
  const refresh = useSoon(() => (summary.again(), latest.again()), refreshMs);
  const refreshNodes = useSoon(nodes.again, nodesMs);
  const everything = () => (summary.again(), latest.again(), nodes.again(), advice.again());
  const line = useLive("", { incidents: refresh, nodes: refreshNodes, restart: everything });
  useEvery(everything, rollMs);
  useEffect(() => onLine(line), [line]);
  useEffect(() => void (document.title = "Now · renat"), []);

  const failure = summary.failure ?? nodes.failure ?? latest.failure;
  const unknown = unknownSince(line);
  const known = summary.data && listed && latest.data && { s: summary.data, list: listed, latest: latest.data.incidents };
  // The switch stays where it is when what is awaited comes: it has the focus, and fields that are open.
  return (
    <>
      <div class="title-row">
        {known && <h1 class="headline">{unknown === undefined ? headline(known.s, range) : unknown === null ? "What broke is not known yet" : `What broke since ${sameDay(unknown) ? clock(unknown) : localTime(unknown)} is not known`}</h1>}
        <RangeSwitch path="/" query={query} />
      </div>
      {known
        ? <Now {...known} onAll={() => setAll(true)} advice={advice.data} range={range} unknown={unknown}
            full={known.s.held === known.s.total && known.s.held >= (capacity ?? Infinity)} />
        : failure ? <Failure failure={failure} again={everything} /> : <Waiting what="what happens now" />}
    </>
  );
}

interface NowProps {
  s: Summary;
  list: NodeList;
  onAll: () => void; // more of the nodes are wanted
  latest: CloudEvent[];
  advice: Advice | undefined;
  range: Range;
  unknown: Date | null | undefined; // see unknownSince
  full: boolean; // older ones had to go
}

function Now({ s, list, onAll, latest, advice, range, unknown, full }: NowProps) {
  const broken = useMemo<ChartData>(() => ({
    times: s.buckets.map((b) => Date.parse(b.time) / 1000),
    values: s.buckets.map((b) => b.renat + b.orphaned_reply + b.other),
  }), [s]);
  const evicted = useMemo(() => evictions(list), [list]);
  const known = evicted.values.filter((v) => v !== null);
  return (
    <>
      <Unwatched list={list} />
      <p class="sub">{unknown !== undefined && <b>{unknown === null ? "So far: " : "Before that: "}{headline(s, range)}</b>}<Subline s={s} fleet={list.fleet} range={range} full={full} /></p>
      <div class="grid now">
        {s.total > 0 && <Why s={s} range={range} />}
        {advice && list.fleet.total > 0 && (s.total > 0 || advice.plan.values.length > 0) && <Cure advice={advice} causes={s.causes} range={range} />}
        <Card id="broken" title="Broken connections" aside={<span class="muted">per {each(s.step_seconds)}, {during(range).replace(/^in the /, "")}</span>}>
          <Chart data={broken} look="bars" unit="broken" height={150} label={chartLabel(s, range)} />
        </Card>
        <Card id="evictions" title="Evictions" aside={<span class="muted">per second, all nodes, last hour</span>}>
          {known.length > 0
            ? <Chart data={evicted} look="area" unit="evictions/s" height={150} label={`Evictions per second over the last hour: now ${(known.at(-1) ?? 0).toFixed(1)}, at most ${Math.max(...known).toFixed(1)}`} />
            : <p class="none">No agent has reported evictions yet.</p>}
        </Card>
        <Risks fleet={list.fleet} />
        <Tiles list={list} onAll={onAll} s={s} range={range} />
        <Ranking id="workloads" title="Worst workloads" counts={s.workloads} filter="workload" range={range} />
        <Ranking id="destinations" title="Worst destinations" counts={s.destinations} filter="destination" range={range} />
        <Latest latest={latest} held={s.held} />
      </div>
    </>
  );
}

function headline(s: Summary, range: Range): string {
  if (s.held === 0) return "No connection broke yet";
  return `${s.total === 0 ? "No connection" : plural(s.total, "connection")} broke ${during(range)}`;
}

const sameDay = (t: Date) => t.toDateString() === new Date().toDateString();

// Unwatched says on which nodes connections may break unseen.
function Unwatched({ list: { nodes, fleet } }: { list: NodeList }) {
  const gone = (fleet.states.blind ?? 0) + (fleet.states.silent ?? 0);
  if (gone === 0) return null;
  const named = nodes.filter(unwatched).slice(0, 3).map((n) => n.status.node).join(", ") + (gone > 3 ? ` and ${count(gone - 3)} more` : "");
  return (
    <p class="unwatched" role="status"><Icon name="blind" />
      <span><b>{plural(gone, "node is", "nodes are")} not watched</b>: {named}. What breaks there goes unseen.</span></p>
  );
}

function Subline({ s, fleet, range, full }: { s: Summary; fleet: NodeList["fleet"]; range: Range; full: boolean }) {
  const parts: string[] = [];
  if (s.total > 0) parts.push(`${count(s.outcomes.reset ?? 0)} seen reset`);
  if (s.kinds.renat) parts.push(`${count(s.kinds.renat)} ${kindWords.renat}`);
  if (s.kinds.map_replaced) parts.push(`${count(s.kinds.map_replaced)} ${kindWords.map_replaced}`);
  if (s.kinds.egress_changed) parts.push(`${count(s.kinds.egress_changed)} ${kindWords.egress_changed}`);
  if (s.kinds.no_port) parts.push(`${count(s.kinds.no_port)} ${kindWords.no_port}`);
  if (s.kinds.tracking_lost) parts.push(`${count(s.kinds.tracking_lost)} ${kindWords.tracking_lost}`);
  if (s.kinds.orphaned_reply) parts.push(plural(s.kinds.orphaned_reply, "orphaned reply", "orphaned replies"));
  if (fleet.total > 0) {
    const states = (["blind", "silent", "degraded", "breaking", "evicting", "ok"] as const).filter((st) => fleet.states[st]).map((st) => `${count(fleet.states[st] ?? 0)} ${st}`);
    parts.push(`${plural(fleet.total, "node")}: ${states.join(", ")}`);
  }
  return (
    <>
      <span>{parts.join(" · ")}</span>
      {full && <span>only the newest {count(s.held)} incidents are kept here</span>}
      {s.total === 0 && s.newest && !range.until && <span>the newest of {plural(s.held, "incident")} is from <Time at={s.newest} />: <a href={hourBefore(s.newest)}>show that hour</a></span>}
      {s.held === 0 && fleet.total === 0 && "renat shows here which connections Cilium's NAT map breaks, as soon as it happens."}
    </>
  );
}

// hourBefore is the address of the hour that ended with the newest incident.
function hourBefore(newest: string): string {
  const end = Math.ceil(Date.parse(newest) / 1000 + 0.001) * 1000;
  const at = (ms: number) => new Date(ms).toISOString().replace(".000", "");
  return "/?" + new URLSearchParams({ since: at(end - 3600_000), until: at(end) }).toString();
}

function chartLabel(s: Summary, range: Range): string {
  const most = s.buckets.reduce<{ n: number; at: string }>((m, b) => (b.renat + b.orphaned_reply + b.other > m.n ? { n: b.renat + b.orphaned_reply + b.other, at: b.time } : m), { n: 0, at: "" });
  return `Broken connections per ${each(s.step_seconds)} ${during(range)}: ${s.total} in all` + (most.n > 0 ? `, most ${most.n} at ${clock(new Date(most.at))}` : "");
}

// evictions are those of all nodes in each minute.
function evictions({ fleet: { total, evictions_per_second: values } }: NodeList): ChartData {
  const last = Math.floor(Date.now() / 60_000) * 60;
  return total === 0 ? { times: [], values: [] } : { times: values.map((_, n) => last - (values.length - 1 - n) * 60), values };
}

function Ranking({ id, title, counts, filter, range }: { id: string; title: string; counts: Count[]; filter: string; range: Range }) {
  const most = counts[0]?.count ?? 1;
  return (
    <Card id={id} title={title} aside={isHour(range) && <span class="muted">last hour</span>}>
      {counts.length === 0 ? <p class="none">None had an incident.</p> : (
        <ol class="ranking">
          {counts.slice(0, 6).map((c) => (
            <li key={c.name}>
              <a href={incidentsHref({ [filter]: c.name, ...params(range) })} title={c.name}>{c.name}</a>
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
                <span class="who">{podName(i.source)}</span>
                <span class="to">→ <HostPort host={host(i.destination)} port={i.destination.port} /></span>
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
