// SPDX-License-Identifier: Apache-2.0

import { useEffect, useMemo, useState } from "preact/hooks";
import { useAsk } from "./api";
import { Chart, type ChartData } from "./chart";
import { Filters, filtersOf } from "./filters";
import { Groups } from "./groups";
import { type Line, useEvery, useLive, useSoon } from "./live";
import { Failure, Icon, Waiting } from "./parts";
import { go } from "./router";
import { type Rows, useRows } from "./rows";
import { Table } from "./table";
import type { Summary } from "./types";
import { each, plural } from "./words";

const refreshMs = 700;
const summaryMs = 3000;
const mostGroups = 200;

export function IncidentsView({ query, onLine }: { query: URLSearchParams; onLine: (l: Line) => void }) {
  const filters = filtersOf(query).toString();
  const grouped = query.get("view") === "groups";
  const rows = useRows(filters);
  const summary = useAsk<Summary>(`/v1/summary?${filters}${filters && "&"}groups=${grouped ? mostGroups : 0}`);
  const [waiting, setWaiting] = useState(0); // new ones that are not shown
  const [top, setTop] = useState(true);
  const show = () => {
    setWaiting(0);
    void rows.refresh();
  };
  const soon = useSoon(show, refreshMs);
  const count = useSoon(summary.again, summaryMs);
  const wrong = rows.failure?.status === 400; // nothing will come of it
  const line = useLive(wrong ? null : filters, {
    incidents: (came) => {
      count();
      if (top || grouped) soon();
      else setWaiting((n) => n + came);
    },
    restart: () => (summary.again(), show()),
  });
  useEvery(summary.again, 30_000);
  useEffect(() => onLine(line), [line]);
  useEffect(() => setWaiting(0), [rows]);
  useEffect(() => void (document.title = "Incidents · renat"), []);
  const toTop = () => {
    document.querySelector(".table .scroll")?.scrollTo(0, 0);
    show();
  };
  return (
    <div class="incidents-view">
      <div class="title-row">
        <h1>Incidents</h1>
        <span class="muted" role="status">{rows.ready && plural(rows.total, "incident")}{rows.ready && filters && " match"}</span>
        {waiting > 0 && <button type="button" class="main newer" onClick={toTop}>Show {plural(waiting, "new one")}</button>}
        <ViewSwitch query={query} grouped={grouped} />
      </div>
      <Filters query={query} />
      {summary.data && summary.data.total > 0 && <Histogram s={summary.data} />}
      <Body rows={rows} summary={summary.data} grouped={grouped} filters={filters} onTop={setTop} again={show} />
    </div>
  );
}

function Body({ rows, summary, grouped, filters, onTop, again }: {
  rows: Rows; summary: Summary | undefined; grouped: boolean; filters: string; onTop: (top: boolean) => void; again: () => void;
}) {
  if (rows.failure && (!rows.ready || rows.failure.status === 400)) return <Failure failure={rows.failure} again={again} />;
  if (!rows.ready || (grouped && !summary)) return <Waiting what="incidents" />;
  if (rows.total === 0) return <Nothing filters={filters} held={summary?.held ?? 0} />;
  if (grouped && summary) return <Groups s={summary} filters={filters} />;
  return <Table rows={rows} onTop={onTop} />;
}

function Nothing({ filters, held }: { filters: string; held: number }) {
  return (
    <div class="card empty">
      <Icon name={filters ? "silent" : "ok"} />
      {filters && held > 0
        ? <><h2>No incident matches</h2><p>Of {plural(held, "incident")}, none passes all these filters: is one of them misspelt?</p><button type="button" onClick={() => go("/incidents")}>Clear the filters</button></>
        : <><h2>No incidents</h2><p>No connection broke since renat watches. New incidents appear here by themselves.</p></>}
    </div>
  );
}

function ViewSwitch({ query, grouped }: { query: URLSearchParams; grouped: boolean }) {
  const href = (groups: boolean) => {
    const q = new URLSearchParams(query);
    if (groups) q.set("view", "groups");
    else q.delete("view");
    return "/incidents" + (q.size > 0 ? "?" + q.toString() : "");
  };
  return (
    <nav class="switch" aria-label="Form">
      <a href={href(false)} aria-current={grouped ? undefined : "true"}>Each</a>
      <a href={href(true)} aria-current={grouped ? "true" : undefined}>Grouped</a>
    </nav>
  );
}

function Histogram({ s }: { s: Summary }) {
  const data = useMemo<ChartData>(() => ({
    times: s.buckets.map((b) => Date.parse(b.time) / 1000),
    values: s.buckets.map((b) => b.renat + b.orphaned_reply + b.other),
  }), [s]);
  const per = each(s.step_seconds);
  return (
    <div class="histogram">
      <Chart data={data} look="bars" unit={`per ${per}`} height={92} label={`Incidents over time, per ${per}: ${s.total} in all, at most ${Math.max(...data.values.map((v) => v ?? 0))}`} />
    </div>
  );
}
