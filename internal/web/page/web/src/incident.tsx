// SPDX-License-Identifier: Apache-2.0

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { useAsk } from "./api";
import { type Line, useLive } from "./live";
import { Card, Copy, Failure, Icon, Time, Waiting } from "./parts";
import { incidentsHref } from "./router";
import { Timeline } from "./timeline";
import type { Endpoint, Incident, IncidentDetail, Verdict } from "./types";
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
      <div class="grid detail">
        <div class="column">
          <Card id="verdict" title="What happened"><Said v={d.verdict} /></Card>
          <Card id="timeline" title="Timeline" aside={<span class="muted">seconds from the break</span>}><Timeline i={i} /></Card>
        </div>
        <div class="column">
          <Advice v={d.verdict} />
          <Card id="facts" title="Facts"><Facts i={i} /></Card>
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

function Advice({ v }: { v: Verdict }) {
  if (!v.size && !v.option) return null;
  return (
    <Card id="advice" title="Size advice">
      {v.entries ? <p class="advised"><b>{count(v.entries)}</b> entries</p> : null}
      {v.size && <p>{v.size}</p>}
      {v.option && <p class="option">{v.option}</p>}
      {v.side_effect && <p class="muted">{v.side_effect}</p>}
    </Card>
  );
}

function Facts({ i }: { i: Incident }) {
  const rows: [string, ComponentChildren][] = [
    ["Time", <><Time at={i.time} /><br /><span class="muted">{utc(new Date(i.time))}</span></>],
    ["Pod", side(i.source)],
    ["Server", side(i.destination)],
    ["Protocol", i.protocol],
    ["Node", i.node + (i.cluster ? `, cluster ${i.cluster}` : "")],
    ["NAT before", i.nat.before || "unknown"],
    ["NAT after", i.nat.after || (i.kind === "orphaned_reply" ? "none: the node took the reply for its own" : "unknown")],
    ["Removed", i.nat.removed_at ? <><Time at={i.nat.removed_at} />, {span(millis(i.time) - millis(i.nat.removed_at))} before{i.nat.forced && ", while in use"}</> : "not seen"],
    ["Program", i.nat.program || "unknown"],
    ["Map", <>{i.nat.map}{i.map.max_entries > 0 && `, ${count(i.map.max_entries)} entries`}, {rate(i.map.evictions_per_second)} evictions/s</>],
    ["Lost events", lost(i)],
  ];
  return <dl class="facts">{rows.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
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
