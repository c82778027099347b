// SPDX-License-Identifier: Apache-2.0

import { Component } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { HostPort, Name, Time } from "./parts";
import { go, incidentHref } from "./router";
import type { Rows } from "./rows";
import type { CloudEvent } from "./types";
import { cause, host, hostPort, kindWords, outcomeWords, podName, portChange, word } from "./words";

const overscan = 6;
const narrow = window.matchMedia("(max-width: 760px)");

function useRowHeight(): number {
  const height = () => (narrow.matches ? 122 : 52);
  const [h, setH] = useState(height);
  useEffect(() => {
    const update = () => setH(height());
    narrow.addEventListener("change", update);
    return () => narrow.removeEventListener("change", update);
  }, []);
  return h;
}

// Table shows the rows that can be seen, of any number. Arrow keys, Page Up and
// Down, Home and End move through them; Enter opens one.
export function Table({ rows, onTop }: { rows: Rows; onTop: (top: boolean) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const height = useRowHeight();
  const [view, setView] = useState({ top: 0, height: 800 });
  const [current, setCurrent] = useState(0);
  const latest = useRef(0); // current, before it is drawn: keys can be faster
  const moveFocus = useRef(false);

  useLayoutEffect(() => {
    const at = box.current;
    if (!at) return;
    const measure = () => setView({ top: at.scrollTop, height: at.clientHeight });
    measure();
    const resize = new ResizeObserver(measure);
    resize.observe(at);
    at.addEventListener("scroll", measure, { passive: true });
    return () => {
      resize.disconnect();
      at.removeEventListener("scroll", measure);
    };
  }, []);

  const first = Math.max(0, Math.floor(view.top / height) - overscan);
  const last = Math.min(rows.total - 1, Math.ceil((view.top + view.height) / height) + overscan);
  useEffect(() => {
    const timer = window.setTimeout(() => rows.want(first, last), 40); // not what flies past
    return () => window.clearTimeout(timer);
  }, [rows, rows.total, first, last]);
  useEffect(() => onTop(view.top < height), [view.top < height]);
  useEffect(() => {
    const link = moveFocus.current && box.current?.querySelector<HTMLElement>(`[data-index="${latest.current}"] a`);
    if (!link) return; // until its row is there
    moveFocus.current = false;
    link.focus({ preventScroll: true });
  });

  const choose = (n: number) => {
    latest.current = n;
    setCurrent(n);
  };
  const moveTo = (index: number) => {
    const at = box.current;
    if (!at || rows.total === 0) return;
    const n = Math.min(Math.max(index, 0), rows.total - 1);
    moveFocus.current = true;
    choose(n);
    if (n * height < at.scrollTop) at.scrollTop = n * height;
    if ((n + 1) * height > at.scrollTop + at.clientHeight - 2) at.scrollTop = (n + 1) * height - at.clientHeight + 2;
  };
  const onKeyDown = (e: KeyboardEvent) => {
    const at = latest.current;
    const page = Math.max(1, Math.floor(view.height / height) - 1);
    const step: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.total - 1 };
    const to = step[e.key];
    if (to === undefined || e.ctrlKey || e.altKey || e.metaKey) return;
    e.preventDefault();
    moveTo(to);
  };

  const shown = Array.from({ length: Math.max(0, last - first + 1) }, (_, n) => first + n);
  if (current < first && current < rows.total) shown.unshift(current); // it keeps the focus while it cannot be seen
  if (current > last && current < rows.total) shown.push(current);
  const visible = shown.map((n) => {
    const e = rows.at(n);
    return (
      <div role="row" aria-rowindex={n + 2} data-index={n} key={n} style={{ top: `${n * height}px`, height: `${height}px` }}
        class={"row" + (e && rows.fresh.has(e.id) ? " fresh" : "") + (e ? " " + e.data.outcome : "")}
        onClick={(ev) => e && !(ev.target as Element).closest("a") && window.getSelection()?.isCollapsed !== false && go(incidentHref(e.id))}>
        {e ? <Cells e={e} tab={n === current ? 0 : -1} onFocus={() => choose(n)} /> : <div role="cell" class="pending" aria-label="loading" />}
      </div>
    );
  });
  return (
    <div class="table" role="table" aria-label="Incidents, the newest first" aria-rowcount={rows.total + 1}>
      <div role="rowgroup" class="thead">
        <div role="row" aria-rowindex={1} class="row head">
          {["Time", "Who", "To", "What broke", "Cause", "Outcome", "Node"].map((name) => <div role="columnheader" key={name}>{name}</div>)}
        </div>
      </div>
      <div role="rowgroup" class="scroll" ref={box} tabIndex={-1} onKeyDown={onKeyDown}>
        <div class="all" role="presentation" style={{ height: `${rows.total * height}px` }}>{visible}</div>
      </div>
    </div>
  );
}

interface CellsProps {
  e: CloudEvent;
  tab: number;
  onFocus: () => void; // the same for the row's whole life
}

// Cells are drawn again only if the row shows something else: scrolling passes
// many.
class Cells extends Component<CellsProps> {
  override shouldComponentUpdate(next: CellsProps) {
    return next.e !== this.props.e || next.tab !== this.props.tab;
  }

  override render({ e, tab, onFocus }: CellsProps) {
    const i = e.data;
    const to = hostPort(host(i.destination), i.destination.port);
    return (
      <>
        <div role="cell" class="time"><a href={incidentHref(e.id)} tabIndex={tab} onFocus={onFocus}><Time at={i.time} /></a><span class="also cut muted" title={i.node}>{i.node}</span></div>
        <div role="cell" class="who" title={podName(i.source)}>
          <span class="cut">{i.source.pod || podName(i.source)}</span>
          {i.source.pod && <span class="cut muted">{[i.source.namespace, i.source.workload?.split("/")[0]].filter(Boolean).join(" · ")}</span>}
        </div>
        <div role="cell" class="to" title={to}><HostPort host={host(i.destination)} port={i.destination.port} />{i.destination.names?.length ? <span class="cut muted">{i.destination.ip}</span> : null}</div>
        <div role="cell" class="what"><span class="cut">{word(kindWords, i.kind)}</span><span class="cut muted change">{portChange(i)}</span><span class="also cut muted">{cause(i)}</span></div>
        <div role="cell" class="cause" title={cause(i)}><span class="cut">{cause(i)}</span>{i.nat.forced && <span class="cut muted">used of late</span>}</div>
        <div role="cell" class="outcome"><span class={"badge " + i.outcome}>{word(outcomeWords, i.outcome)}</span></div>
        <div role="cell" class="node"><Name text={i.node} /></div>
      </>
    );
  }
}
