// SPDX-License-Identifier: Apache-2.0

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";

export interface ChartData {
  times: number[]; // Unix seconds
  values: (number | null)[];
}

// Chart draws values over time, as bars or as an area. Who cannot see it hears
// label, which says what it shows.
export function Chart({ data, look, label, unit, height }: {
  data: ChartData; look: "bars" | "area"; label: string; unit: string; height: number;
}) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  useEffect(() => {
    const at = place.current;
    if (!at) return;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(at, look, unit, height), [[], []], at);
      plot.current.setData([latest.current.times, latest.current.values]);
    };
    draw();
    const resize = new ResizeObserver(() => plot.current?.setSize({ width: at.clientWidth, height }));
    resize.observe(at);
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    return () => {
      dark.removeEventListener("change", draw);
      resize.disconnect();
      plot.current?.destroy();
    };
  }, [look, unit, height]);
  const latest = useRef(data);
  latest.current = data;
  useEffect(() => plot.current?.setData([data.times, data.values]), [data]);
  return <div class="chart" ref={place} role="img" aria-label={label} />;
}

function options(at: HTMLElement, look: "bars" | "area", unit: string, height: number): uPlot.Options {
  const style = getComputedStyle(at);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const ink = color(look === "bars" ? "--danger" : "--warn");
  const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  return {
    width: at.clientWidth,
    height,
    padding: [8, 22, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: true }, y: { range: (_, __, high) => [0, Math.max(high * 1.1, 1)] } },
    axes: [
      { ...axis, grid: { show: false }, space: 70, size: 28, values: (_, ticks, __, ___, step) => ticks.map((t, n) => tick(t, step, ticks[n - 1])) },
      { ...axis, size: 44, space: height < 100 ? 18 : 34, values: (_, ticks) => ticks.map((t) => (Number.isInteger(t) || look === "area" ? String(t) : "")) },
    ],
    series: [
      {},
      {
        label: unit,
        stroke: ink,
        fill: look === "bars" ? ink : ink + "33",
        width: look === "bars" ? 0 : 2,
        points: { show: false },
        ...(look === "bars" && uPlot.paths.bars ? { paths: uPlot.paths.bars({ size: [0.8, 40], align: 1, radius: 0.15 }) } : {}),
      },
    ],
    plugins: [tip(unit)],
  };
}

const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

// tick names a time on the axis: where a day begins, by the day.
function tick(t: number, step: number, before: number | undefined): string {
  const day = days.format(t * 1000);
  if (step >= 86400 || (before !== undefined && days.format(before * 1000) !== day)) return day;
  return (step < 60 ? seconds : hours).format(t * 1000);
}

// tip shows the value under the pointer.
function tip(unit: string): uPlot.Plugin {
  const box = document.createElement("div");
  box.className = "tip";
  return {
    hooks: {
      init: (u) => u.over.append(box),
      setCursor: (u) => {
        const n = u.cursor.idx;
        const value = n == null ? null : u.data[1]?.[n];
        box.hidden = value == null;
        if (n == null || value == null) return;
        const t = u.data[0][n] ?? 0;
        const day = days.format(t * 1000) === days.format(Date.now()) ? "" : days.format(t * 1000) + " ";
        box.textContent = `${day}${seconds.format(t * 1000)}  ${Number.isInteger(value) ? value : value.toFixed(1)} ${unit}`;
        const x = u.valToPos(t, "x");
        box.style.transform = `translateX(${Math.min(Math.max(x - box.offsetWidth / 2, 0), u.over.clientWidth - box.offsetWidth)}px)`;
      },
    },
  };
}

// Spark is a small line without axes; the text beside it says what matters.
export function Spark({ values }: { values: (number | null)[] }) {
  const high = Math.max(1, ...values.map((v) => v ?? 0));
  const step = 100 / Math.max(1, values.length - 1);
  let path = "";
  let pen = "M";
  values.forEach((v, n) => {
    if (v === null) {
      pen = "M";
      return;
    }
    path += `${pen}${(n * step).toFixed(1)} ${(23 - (v / high) * 21).toFixed(1)}`;
    if (pen === "M") path += "h.1"; // a lone value is a dot
    pen = "L";
  });
  return <svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true"><path d={path} /></svg>;
}
