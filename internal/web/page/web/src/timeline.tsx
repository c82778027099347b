// SPDX-License-Identifier: Apache-2.0

import { Time } from "./parts";
import type { Evidence, Incident } from "./types";
import { host, millis, span } from "./words";

// Where the lanes are, in the coordinates of a row's drawing.
const lane = { pod: 24, node: 120, server: 216 };
const width = 240;
const middle = 18;
const height = 36;

// quiet is a pause that is drawn as one, in ms.
const quiet = 1000;

type Entry = "none" | "old" | "gone" | "new";

interface Row {
  e: Evidence;
  gap: number; // ms since the row before, 0: too little to show
  before: Entry; // the state of the translation above and below this row
  after: Entry;
}

// Timeline draws what happened: a lane each for pod, node and server, packets as
// arrows between them, and the NAT entry as the node's line. The words beside it
// say the same.
export function Timeline({ i }: { i: Incident }) {
  const rows = rowsOf(i);
  if (rows.length === 0) return <p class="none">This incident has no evidence.</p>;
  return (
    <>
      <div class="lanes-head" aria-hidden="true">
        <span /><span class="lanes"><b>pod</b><b>node</b><b>server</b></span><span class="legend">
          <span class="key old" />old mapping <span class="key gone" />entry missing {(i.kind === "renat" || i.kind === "egress_changed") && <><span class="key new" />new mapping</>}
        </span>
      </div>
      <p class="visually-hidden">Pod {i.source.pod ?? i.source.ip}, node {i.node}, server {host(i.destination)}.</p>
      <ol class="steps">
        {rows.map((r, n) => <Line key={n} r={r} i={i} />)}
      </ol>
    </>
  );
}

function rowsOf(i: Incident): Row[] {
  // The entry exists from the start, unless its making is part of the evidence.
  let state: Entry = "old";
  let last = NaN;
  return (i.evidence ?? []).map((e) => {
    const at = Date.parse(e.time);
    const before = state;
    if (e.step === "out_removed" || e.step === "in_removed" || e.step === "tracking_removed") state = "gone";
    if (e.step === "renatted") state = "new";
    const row = { e, gap: at - last >= quiet ? at - last : 0, before, after: state };
    last = at;
    return row;
  });
}

function Line({ r, i }: { r: Row; i: Incident }) {
  const offset = millis(r.e.time) - millis(i.time);
  const isBreak = r.e.step === "renatted" || r.e.step === "orphaned";
  const reset = r.e.flags?.split(",").includes("RST") ?? false;
  return (
    <>
      {r.gap > 0 && (
        <li class="gap"><span /><span class={`lanes ${r.before}`}><i /></span><span class="muted">{span(r.gap)} later</span></li>
      )}
      <li class={`step ${r.e.step ?? ""}${reset ? " reset" : ""}${isBreak ? " break" : ""}`}>
        <span class="offset"><Time at={r.e.time} text={offset === 0 ? "0" : (offset > 0 ? "+" : "−") + span(Math.abs(offset))} /></span>
        <span class={`lanes ${r.before} to-${r.after}`}><i /><Drawing e={r.e} reset={reset} /></span>
        <span class="words"><span class="from">{r.e.from === "hubble" ? "Hubble" : r.e.from}</span> {r.e.what}{ports(r.e, i)}</span>
      </li>
    </>
  );
}

// ports shows old and new port where the connection breaks.
function ports(e: Evidence, i: Incident) {
  if (e.step !== "renatted" || !i.nat.before || !i.nat.after) return null;
  return <span class="ports"><s>{i.nat.before}</s> → <b>{i.nat.after}</b></span>;
}

// ways are from which lane to which a packet goes.
const ways = new Map<string, [number, number]>([
  ["opened", [lane.pod, lane.server]],
  ["pod_packet", [lane.pod, lane.server]],
  ["server_packet", [lane.server, lane.pod]],
  ["host_packet", [lane.node, lane.server]],
  ["packet_dropped", [lane.pod, lane.node]],
  ["server_packet_dropped", [lane.server, lane.node]],
]);

function Drawing({ e, reset }: { e: Evidence; reset: boolean }) {
  const ends = ways.get(e.step ?? "");
  return (
    <svg viewBox={`0 0 ${width} ${height}`} width={width} height={height} aria-hidden="true" focusable="false">
      {ends ? <Arrow from={ends[0]} to={ends[1]} label={e.step === "opened" ? "opens" : e.flags} reset={reset} stopped={e.step === "packet_dropped" || e.step === "server_packet_dropped"} />
        : <Mark step={e.step ?? ""} />}
    </svg>
  );
}

function Arrow({ from, to, label, reset, stopped }: { from: number; to: number; label: string | undefined; reset: boolean; stopped: boolean }) {
  const way = Math.sign(to - from);
  const tip = to - way * 3;
  return (
    <g class={reset ? "packet rst" : "packet"}>
      <line x1={from} y1={middle} x2={tip} y2={middle} />
      {reset || stopped
        ? <path d={`M${tip - 5} ${middle - 5}l10 10M${tip + 5} ${middle - 5}l-10 10`} />
        : <path d={`M${tip - way * 7} ${middle - 5}L${tip} ${middle}L${tip - way * 7} ${middle + 5}`} />}
      {label && <text x={(Math.max(from, lane.node) === lane.node && to < lane.server ? (from + to) / 2 : (lane.node + lane.server) / 2)} y={middle - 5}>{label}</text>}
    </g>
  );
}

function entryName(step: string): string {
  if (step === "tracking_removed") return "tracking";
  return (step === "out_removed" ? "OUT" : "IN") + " entry";
}

// Mark is what happens on the node itself; each kind has its own shape.
function Mark({ step }: { step: string }) {
  const x = lane.node;
  switch (step) {
    case "out_removed":
    case "in_removed":
    case "tracking_removed":
      return <g class="mark removed"><circle cx={x} cy={middle} r="9" /><path d={`M${x - 4} ${middle - 4}l8 8M${x + 4} ${middle - 4}l-8 8`} /><text x={x + 16} y={middle + 4}>{entryName(step)}</text></g>;
    case "renatted":
      return <g class="mark renatted"><path d={`M${x} ${middle - 10}l10 10l-10 10l-10-10z`} /><path class="ink" d={`M${x - 4} ${middle}h8M${x} ${middle - 4}v8`} /><text x={x + 16} y={middle + 4}>new port</text></g>;
    case "orphaned":
      return <g class="mark renatted"><path d={`M${x} ${middle - 10}l10 10l-10 10l-10-10z`} /><path class="ink" d={`M${x} ${middle - 5}v6M${x} ${middle + 4}v1`} /><text x={x + 16} y={middle + 4}>no pod</text></g>;
    case "port_refused":
      return <g class="mark refused"><circle cx={x} cy={middle} r="9" /><path d={`M${x - 5} ${middle}h10`} /><text x={x + 16} y={middle + 4}>taken</text></g>;
  }
  return <circle class="mark dot" cx={x} cy={middle} r="5" />;
}
