// SPDX-License-Identifier: Apache-2.0

import { useState } from "preact/hooks";
import { go } from "./router";
import { localTime } from "./words";

// Range is a span of time as the API takes it and an address has it.
export interface Range {
  since: string;
  until: string;
}

// spans are those with a name.
export const spans: [string, string][] = [["1h", "1 h"], ["6h", "6 h"], ["24h", "24 h"], ["7d", "7 days"]];
const usual = "1h";

export function rangeOf(query: URLSearchParams): Range {
  const until = query.get("until") ?? "";
  return { since: query.get("since") || (until ? "" : usual), until };
}

// params are those of the API; those that are empty are left out.
export function params(r: Range): Record<string, string> {
  return { ...(r.since && { since: r.since }), ...(r.until && { until: r.until }) };
}

// isHour reports whether a range is the one of a view that was opened without.
export const isHour = (r: Range) => r.since === usual && !r.until;

// during is a range in words, after "broke".
export function during(r: Range): string {
  const named: Record<string, string> = { "1h": "in the last hour", "24h": "in the last 24 hours" };
  const last = /^(\d+)(m|h|d)$/.exec(r.since);
  if (!r.until && last) {
    const unit = { m: "minutes", h: "hours", d: "days" }[last[2] as "m" | "h" | "d"];
    return (Object.hasOwn(named, r.since) && named[r.since]) || `in the last ${last[1]} ${unit}`;
  }
  const at = (v: string) => (isExact(v) ? localTime(new Date(v)).replace(/[.,]\d+$/, "") : v);
  if (!r.until) return "since " + at(r.since);
  return r.since ? `from ${at(r.since)} to ${at(r.until)}` : "until " + at(r.until);
}

// isExact reports whether a time is one that the fields of a form can show;
// others are relative, or in a form that only the server knows.
export function isExact(v: string | null): v is string {
  return v !== null && /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(v) && !Number.isNaN(Date.parse(v));
}

export type Change = (edit: (q: URLSearchParams) => void) => void;

// Bounds are fields for the beginning and the end.
export function Bounds({ query, change }: { query: URLSearchParams; change: Change }) {
  const bound = (name: string, label: string) => (
    <label>{label}
      <input type="datetime-local" step="1" name={name} value={toLocal(query.get(name))}
        onChange={(e) => { const v = e.currentTarget.value; change((q) => (v ? q.set(name, new Date(v).toISOString().replace(".000", "")) : q.delete(name))); }} />
    </label>
  );
  return <>{bound("since", "From")}{bound("until", "To")}</>;
}

function toLocal(v: string | null): string {
  if (!isExact(v)) return "";
  const t = new Date(v);
  return new Date(t.getTime() - t.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

// RangeSwitch chooses what a view at path shows.
export function RangeSwitch({ path, query }: { path: string; query: URLSearchParams }) {
  const range = rangeOf(query);
  const named = !range.until && spans.some(([v]) => v === range.since);
  const [own, setOwn] = useState(false);
  const href = (q: URLSearchParams) => path + (q.size > 0 ? "?" + q.toString() : "");
  const change: Change = (edit) => {
    const q = new URLSearchParams(query);
    edit(q);
    go(href(q));
  };
  const to = (since: string) => href(new URLSearchParams(since === usual ? {} : { since }));
  return (
    <div class="range" role="group" aria-label="Time">
      <nav class="switch" aria-label="Time">
        {spans.map(([since, word]) => (
          <a key={since} href={to(since)} aria-current={named && !own && since === range.since ? "true" : undefined} onClick={() => setOwn(false)}>{word}</a>
        ))}
        <button type="button" aria-expanded={own || !named} aria-pressed={own || !named} onClick={() => setOwn(!own)}>Custom</button>
      </nav>
      {(own || !named) && <div class="fields"><Bounds query={query} change={change} /></div>}
    </div>
  );
}
