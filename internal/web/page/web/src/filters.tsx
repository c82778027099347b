// SPDX-License-Identifier: Apache-2.0

import { useState } from "preact/hooks";
import { Icon } from "./parts";
import { Bounds, type Change, during, isExact } from "./range";
import { go } from "./router";
import { causeWords, kindWords, outcomeWords, word } from "./words";

// The parameters of /v1/incidents that the page offers; all are in its address.
const selects = {
  kind: { label: "Kind", words: kindWords as Record<string, string> },
  cause: { label: "Cause", words: causeWords as Record<string, string> },
  outcome: { label: "Outcome", words: outcomeWords as Record<string, string> },
};
const times: [string, string][] = [["", "Any time"], ["15m", "Last 15 minutes"], ["1h", "Last hour"], ["6h", "Last 6 hours"], ["24h", "Last 24 hours"], ["7d", "Last 7 days"]];
const texts: Record<string, { label: string; example: string }> = {
  namespace: { label: "Namespace", example: "shop" },
  workload: { label: "Workload", example: "Deployment/cart" },
  pod: { label: "Pod", example: "shop/cart-" },
  destination: { label: "Destination", example: "api.example.com:443" },
  node: { label: "Node", example: "node-a" },
  cluster: { label: "Cluster", example: "prod" },
  ip: { label: "Address", example: "10.0.0.0/8" },
  port: { label: "Port", example: "443" },
  id: { label: "Id", example: "142cbfff" },
};
const capital = (s: string) => s.replace(/^in the /, "").replace(/^./, (c) => c.toUpperCase());

export const filterNames = [...Object.keys(selects), ...Object.keys(texts), "since", "until"];

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
        {Object.entries(selects).map(([name, { label, words }]) => (
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

function When({ query, change }: { query: URLSearchParams; change: Change }) {
  const since = query.get("since") ?? "";
  const bounded = Boolean(query.get("until")) || isExact(since);
  const [own, setOwn] = useState(false);
  const exact = own || bounded;
  const pick = (value: string) => {
    setOwn(value === "own");
    if (value !== "own") change((q) => (q.delete("until"), value ? q.set("since", value) : q.delete("since")));
  };
  return (
    <>
      <label>Time
        <select name="time" value={exact ? "own" : since} onChange={(e) => pick(e.currentTarget.value)}>
          {times.map(([value, word]) => <option key={value} value={value}>{word}</option>)}
          {!exact && !times.some(([v]) => v === since) && <option value={since}>{capital(during({ since, until: "" }))}</option>}
          <option value="own">From … to …</option>
        </select>
      </label>
      {exact && <Bounds query={query} change={change} />}
    </>
  );
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

// Chips show every filter that is on, and take it off.
function Chips({ query, change }: { query: URLSearchParams; change: Change }) {
  const used = filtersOf(query);
  if (used.size === 0) return null;
  const range = { since: query.get("since") ?? "", until: query.get("until") ?? "" };
  const chips = [...used].filter(([name]) => name !== "since" && name !== "until").map(([name, value]) => {
    const select = Object.hasOwn(selects, name) ? selects[name as keyof typeof selects] : undefined;
    return { label: select?.label ?? texts[name]?.label ?? name, text: select ? word(select.words, value) : value, remove: (q: URLSearchParams) => q.delete(name, value) };
  });
  if (range.since || range.until) {
    chips.push({ label: "Time", text: during(range), remove: (q) => (q.delete("since"), q.delete("until")) });
  }
  return (
    <ul class="chips" aria-label="Filters in use">
      {chips.map(({ label, text, remove }) => (
        <li key={label + text}>
          <button type="button" class="chip" onClick={() => change(remove)} aria-label={`Remove filter ${label}: ${text}`}>
            <span class="muted">{label}</span> {text}<Icon name="close" />
          </button>
        </li>
      ))}
      <li><button type="button" class="quiet" onClick={() => change((q) => filterNames.forEach((n) => q.delete(n)))}>Clear all</button></li>
    </ul>
  );
}
