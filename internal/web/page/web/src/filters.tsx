// SPDX-License-Identifier: Apache-2.0

import { useState } from "preact/hooks";
import { Icon } from "./parts";
import { go } from "./router";
import { causeWords, kindWords, outcomeWords } from "./words";

// The parameters of /v1/incidents that the page offers; all are in its address.
const choices = {
  kind: { label: "Kind", words: kindWords as Record<string, string> },
  cause: { label: "Cause", words: causeWords as Record<string, string> },
  outcome: { label: "Outcome", words: outcomeWords as Record<string, string> },
};
const texts: Record<string, { label: string; example: string }> = {
  namespace: { label: "Namespace", example: "shop" },
  workload: { label: "Workload", example: "Deployment/cart" },
  pod: { label: "Pod", example: "shop/cart-" },
  destination: { label: "Destination", example: "api.example.com:443" },
  node: { label: "Node", example: "node-a" },
  cluster: { label: "Cluster", example: "prod" },
  ip: { label: "Address", example: "10.0.0.0/8" },
  port: { label: "Port", example: "443" },
};
const spans: [string, string][] = [["", "Any time"], ["15m", "Last 15 minutes"], ["1h", "Last hour"], ["6h", "Last 6 hours"], ["24h", "Last day"], ["168h", "Last week"]];

export const filterNames = [...Object.keys(choices), ...Object.keys(texts), "since", "until"];

// filtersOf are the filters in an address, without what is only the page's.
export function filtersOf(query: URLSearchParams): URLSearchParams {
  const q = new URLSearchParams();
  for (const name of filterNames) for (const v of query.getAll(name)) if (v) q.append(name, v);
  return q;
}

export function Filters({ query }: { query: URLSearchParams }) {
  const change = (edit: (q: URLSearchParams) => void) => {
    const q = new URLSearchParams(query);
    edit(q);
    go("/incidents" + (q.size > 0 ? "?" + q.toString() : ""));
  };
  const [open, setOpen] = useState(false); // on a narrow screen; else all is shown
  const used = filtersOf(query).size;
  const set = (name: string, value: string) => change((q) => (value ? q.set(name, value) : q.delete(name)));
  return (
    <div class="filters" role="search" aria-label="Filter incidents">
      <button type="button" class="quiet fold" aria-expanded={open} onClick={() => setOpen(!open)}>{open ? "Hide filters" : "Filters"}{used > 0 && ` (${used} in use)`}</button>
      <div class={open ? "fields" : "fields folded"}>
        {Object.entries(choices).map(([name, { label, words }]) => (
          <label key={name}>{label}
            <select name={name} value={query.get(name) ?? ""} onChange={(e) => set(name, e.currentTarget.value)}>
              <option value="">any</option>
              {Object.entries(words).map(([value, word]) => <option key={value} value={value}>{word}</option>)}
            </select>
          </label>
        ))}
        <When query={query} change={change} />
        <Add change={change} />
      </div>
      <Chips query={query} change={change} />
    </div>
  );
}

type Change = (edit: (q: URLSearchParams) => void) => void;

function When({ query, change }: { query: URLSearchParams; change: Change }) {
  const since = query.get("since") ?? "";
  const named = !query.get("until") && spans.some(([v]) => v === since);
  const [own, setOwn] = useState(false);
  const exact = own || !named;
  const pick = (value: string) => {
    setOwn(value === "own");
    if (value !== "own") change((q) => (q.delete("until"), value ? q.set("since", value) : q.delete("since")));
  };
  const bound = (name: string, label: string) => (
    <label>{label}
      <input type="datetime-local" step="1" name={name} value={toLocal(query.get(name))}
        onChange={(e) => { const v = e.currentTarget.value; change((q) => (v ? q.set(name, new Date(v).toISOString().replace(".000", "")) : q.delete(name))); }} />
    </label>
  );
  return (
    <>
      <label>Time
        <select name="time" value={exact ? "own" : since} onChange={(e) => pick(e.currentTarget.value)}>
          {spans.map(([value, word]) => <option key={value} value={value}>{word}</option>)}
          <option value="own">From … to …</option>
        </select>
      </label>
      {exact && bound("since", "From")}
      {exact && bound("until", "To")}
    </>
  );
}

function toLocal(v: string | null): string {
  const t = v ? new Date(v) : null;
  if (!t || Number.isNaN(t.getTime())) return "";
  return new Date(t.getTime() - t.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function Add({ change }: { change: Change }) {
  const [name, setName] = useState("namespace");
  const submit = (e: SubmitEvent) => {
    e.preventDefault();
    const input = (e.currentTarget as HTMLFormElement).elements.namedItem("value") as HTMLInputElement;
    const value = input.value.trim();
    if (!value) return;
    input.value = "";
    change((q) => q.getAll(name).includes(value) || q.append(name, value));
  };
  return (
    <form class="add" onSubmit={submit}>
      <label>Filter by
        <select name="field" value={name} onChange={(e) => setName(e.currentTarget.value)}>
          {Object.entries(texts).map(([value, { label }]) => <option key={value} value={value}>{label}</option>)}
        </select>
      </label>
      <input name="value" aria-label={texts[name]?.label ?? name} placeholder={texts[name]?.example ?? ""} autocomplete="off" spellcheck={false} />
      <button type="submit">Add</button>
    </form>
  );
}

function Chips({ query, change }: { query: URLSearchParams; change: Change }) {
  const chips = Object.keys(texts).flatMap((name) => query.getAll(name).filter(Boolean).map((value) => ({ name, value })));
  if (filtersOf(query).size === 0) return null;
  return (
    <ul class="chips" aria-label="Filters in use">
      {chips.map(({ name, value }) => (
        <li key={name + value}>
          <button type="button" class="chip" onClick={() => change((q) => q.delete(name, value))} aria-label={`Remove filter ${texts[name]?.label}: ${value}`}>
            <span class="muted">{texts[name]?.label}</span> {value}<Icon name="close" />
          </button>
        </li>
      ))}
      <li><button type="button" class="quiet" onClick={() => change((q) => filterNames.forEach((n) => q.delete(n)))}>Clear all</button></li>
    </ul>
  );
}
