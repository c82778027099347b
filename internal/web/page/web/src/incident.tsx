// SPDX-License-Identifier: Apache-2.0

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { useAsk } from "./api";
import { adviceOfFew, Sizes } from "./cure";
import { type Line, useLive } from "./live";
import { Card, Copy, Failure, Icon, Time, Waiting } from "./parts";
import { incidentsHref } from "./router";
import { Timeline } from "./timeline";
import type { Advice as SizeAdvice, Endpoint, Incident, IncidentDetail, Verdict, PodCount } from "./types";
import { cause, count, host, hostPort, kindWords, millis, outcomeWords, podName, rate, span, utc, word } from "./words";

export function IncidentView({ id, onLine }: { id: string; onLine: (l: Line) => void }) {
  const asked = useAsk<IncidentDetail>("/v1/incidents/" + encodeURIComponent(id));
  const line = useLive("", { restart: asked.again }); // only to know that renat is there
  useEffect(() => onLine(line), [line]);
  useEffect(() => {
    const i = asked.data?.incident.data;
    document.title = (i ? `${podName(i.source)} → ${host(i.destination)}` : "Incident") + " · renat";
  }, [asked.data]);
  if (asked.failure && !asked.data) return <Failure failure={asked.failure} again={asked.again} />;
  if (!asked.data) return <Waiting what="the incident" />;
  return <Detail d={asked.data} />;
}

function Detail({ d }: { d: IncidentDetail }) {
  const i = d.incident.data;
  return (
    <>
      <p class="back"><a href="/incidents"><Icon name="left" />Incidents</a></p>
      <h1 class="parties">
        <span>{podName(i.source)}</span> <span class="arrow" aria-label="to">→</span> <span>{hostPort(host(i.destination), i.destination.port)}</span>
      </h1>
      <p class="sub">
        <span class={"badge " + i.outcome}>{i.outcome === "reset" && <Icon name="breaking" />}{word(outcomeWords, i.outcome)}</span>
        <span class="badge">{word(kindWords, i.kind)}</span>
        <span class="badge">{cause(i)}</span>
        <span><Time at={i.time} /> on {i.node}</span>
      </p>
      {d.problem && <p class="unwatched" role="status"><Icon name="silent" /><span>Its evidence and labels are missing: {d.problem}.</span></p>}
      <div class="grid detail">
        <div class="column">
          <Card id="verdict" title="What happened"><Said v={d.verdict} /></Card>
          <Card id="timeline" title="Timeline" aside={<span class="muted">seconds from the break</span>}><Timeline i={i} /></Card>
        </div>
        <div class="column">
          <Advice i={i} v={d.verdict} />
          <Card id="facts" title="Facts"><Facts id={d.incident.id} i={i} /></Card>
          <Card id="next" title="Look further">
            <p>The connection's flows, in both directions, as Hubble still has them:</p>
            <pre class="command" tabIndex={0} aria-label="Command">{d.hubble}</pre>
            <p class="actions">
              <Copy text={d.hubble}>Copy as hubble filter</Copy>
              <Copy text={JSON.stringify(d.incident, null, 2)}>Copy as JSON</Copy>
            </p>
            <p><a href={incidentsHref({ workload: owner(i.source) })}>Other incidents of {owner(i.source)}</a><br />
              <a href={incidentsHref({ node: i.node })}>Other incidents on {i.node}</a></p>
          </Card>
        </div>
      </div>
      <details class="card raw">
        <summary>Raw evidence</summary>
        <pre tabIndex={0} aria-label="The incident as JSON">{JSON.stringify(d.incident, null, 2)}</pre>
      </details>
    </>
  );
}

// owner is what the filter for workloads calls a pod, as incident.Endpoint.Owner.
function owner(e: Endpoint): string {
  const name = e.workload || e.pod;
  return name ? (e.namespace ? e.namespace + "/" : "") + name : e.ip;
}

function Said({ v }: { v: Verdict }) {
  return <><p class="lead">{v.what}</p>{v.restore && <p>{v.restore}</p>}</>;
}

// Advice has the size that all nodes need where a larger NAT map helps at all.
function Advice({ i, v }: { i: Incident; v: Verdict }) {
  const advice = useAsk<SizeAdvice>(adviceOfFew).data;
  const helps = i.cause === "lru_eviction" && (i.kind === "renat" || i.kind === "orphaned_reply");
  return (
    <Card id="advice" title="What to do">
      {helps && advice && advice.plan.values.length > 0 && <Sizes advice={advice} />}
      {v.size && <p>{v.size}</p>}
      <pre class="command" tabIndex={0} aria-label="What to run">{v.action}</pre>
      <p class="actions"><Copy text={v.action}>Copy</Copy> <a href={v.runbook}>Runbook</a></p>
    </Card>
  );
}

function Facts({ id, i }: { id: string; i: Incident }) {
  const rows: [string, ComponentChildren][] = [
    ["Id", <><code>{id}</code> <Copy text={id}>Copy</Copy></>],
    ["Time", <><Time at={i.time} /><br /><span class="muted">{utc(new Date(i.time))}</span></>],
    ["Pod", side(i.source)],
    ["Server", side(i.destination)],
    ["Protocol", i.protocol],
    ["Node", i.node + (i.cluster ? `, cluster ${i.cluster}` : "")],
    ...(i.ports ? portFacts(i.ports) : i.replaced ? replacedFacts(i, i.replaced) : natFacts(i)),
    ["Program", i.nat.program || "unknown"],
    ["Map", <>{i.nat.map}{i.map.max_entries > 0 && `, ${count(i.map.max_entries)} entries`}, {rate(i.map.evictions_per_second)} evictions/s</>],
    ["Lost events", lost(i)],
  ];
  return <dl class="facts">{rows.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}

function natFacts(i: Incident): [string, ComponentChildren][] {
  return [
    ["NAT before", i.nat.before || "unknown"],
    ["NAT after", after(i)],
    ["Removed", i.nat.removed_at ? <><Time at={i.nat.removed_at} />, {span(millis(i.time) - millis(i.nat.removed_at))} before{i.nat.forced && ", although used of late"}{i.nat.seconds_left ? `, with ${span(i.nat.seconds_left * 1000)} left` : ""}</> : "not seen"],
  ];
}

function replacedFacts(i: Incident, r: NonNullable<Incident["replaced"]>): [string, ComponentChildren][] {
  return [
    ["Broken", `${count(r.broken)}, ${count(r.reset)} seen reset`],
    ["Made anew", i.nat.removed_at ? <Time at={i.nat.removed_at} /> : "not seen"],
    ["Size before", r.max_entries_before ? `${count(r.max_entries_before)} entries` : "unknown"],
    ["Most of", podCounts(r.pods)],
  ];
}

const podCounts = (all: PodCount[] | undefined) => all?.map((c) => `${c.name} ${count(c.count)}`).join(", ") || "unknown";

function portFacts(p: NonNullable<Incident["ports"]>): [string, ComponentChildren][] {
  return [
    ["Refused", count(p.refused)],
    ["Since", <Time at={p.since} />],
    ["Ports in use", p.in_use ? `${count(p.in_use)} of ${p.address}` : "unknown"],
    ["Refused most", podCounts(p.pods)],
    ["Held by", podCounts(p.holders)],
  ];
}

function after(i: Incident): string {
  if (i.kind === "orphaned_reply") return "none: the node took the reply for its own";
  if (i.kind === "tracking_lost") return i.nat.before ? "the same: its tracking entry is what went" : "unknown";
  return i.nat.after || "unknown";
}

function side(e: Endpoint): ComponentChildren {
  return (
    <>
      {e.pod && <>{podName(e)}<br /></>}
      {hostPort(e.ip, e.port)}
      {e.workload && <><br /><span class="muted">{e.workload}</span></>}
      {e.names?.map((n) => <><br /><span class="muted">{n}</span></>)}
      {e.identity ? <><br /><span class="muted">identity {e.identity}</span></> : null}
      {e.labels?.length ? <ul class="labels">{e.labels.map((l) => <li key={l}>{l}</li>)}</ul> : null}
    </>
  );
}

function lost(i: Incident): string {
  const l = i.loss;
  const parts = [
    l.kernel_events > 0 && `${count(l.kernel_events)} kernel events`,
    l.hubble_flows > 0 && `${count(l.hubble_flows)} flows`,
    l.hubble_unseen > 0 && `at least ${count(l.hubble_unseen)} flows unreported`,
    l.unknown && "an unknown number: an agent restarted",
  ].filter(Boolean);
  return parts.length > 0 ? parts.join(", ") : "none around the failure";
}
