// SPDX-License-Identifier: Apache-2.0

import { useEffect, useMemo, useReducer } from "preact/hooks";
import { ask, Refusal } from "./api";
import type { CloudEvent, IncidentList } from "./types";

const pageSize = 100;
const keptPages = 30;

// Rows are the incidents that a filter chooses, by their place from the newest.
// They are a snapshot: newer ones come with refresh, so that nothing moves under
// the reader. Only what was looked at is loaded.
export class Rows {
  total = 0;
  ready = false;
  failure: Refusal | undefined;
  // fresh are those that the last refresh brought.
  fresh = new Set<string>();

  private cursor = "";
  private pages = new Map<number, CloudEvent[]>();
  private asked = new Set<number>();
  private abort = new AbortController();
  private generation = 0;

  constructor(
    private query: string,
    private changed: () => void,
  ) {}

  // at returns a row, undefined while it is not loaded.
  at(index: number): CloudEvent | undefined {
    return this.pages.get(Math.floor(index / pageSize))?.[index % pageSize];
  }

  // want loads the rows from first to last.
  want(first: number, last: number): void {
    for (let p = Math.floor(first / pageSize); p <= Math.floor(last / pageSize); p++) {
      if (p >= 0 && p * pageSize < this.total && !this.pages.has(p) && !this.asked.has(p)) void this.load(p);
    }
  }

  // refresh takes a new snapshot.
  async refresh(): Promise<void> {
    const generation = ++this.generation;
    try {
      const list = await ask<IncidentList>(this.href(0, ""), this.abort.signal);
      if (generation !== this.generation) return;
      const known = new Set(this.pages.get(0)?.map((e) => e.id));
      this.fresh = new Set(this.ready ? list.incidents.map((e) => e.id).filter((id) => !known.has(id)) : []);
      this.pages = new Map([[0, list.incidents]]);
      this.asked.clear();
      this.total = list.total;
      this.cursor = list.cursor ?? "";
      this.failure = undefined;
      this.ready = true;
    } catch (err) {
      if (this.abort.signal.aborted) return;
      this.failure = err instanceof Refusal ? err : new Refusal(0, "the answer cannot be read", String(err));
    }
    this.changed();
  }

  close(): void {
    this.abort.abort();
  }

  private href(page: number, cursor: string): string {
    const q = new URLSearchParams(this.query);
    q.set("limit", String(pageSize));
    if (cursor) q.set("cursor", cursor);
    if (page) q.set("skip", String(page * pageSize));
    return "/v1/incidents?" + q.toString();
  }

  private async load(page: number): Promise<void> {
    const generation = this.generation;
    this.asked.add(page);
    try {
      const list = await ask<IncidentList>(this.href(page, this.cursor), this.abort.signal);
      if (generation !== this.generation) return;
      this.pages.set(page, list.incidents);
      for (const old of this.pages.keys()) {
        if (this.pages.size <= keptPages) break;
        if (old !== page) this.pages.delete(old);
      }
    } catch (err) {
      if (this.abort.signal.aborted || generation !== this.generation) return;
      this.failure = err instanceof Refusal ? err : undefined;
    }
    this.asked.delete(page);
    this.changed();
  }
}

export function useRows(query: string): Rows {
  const [, changed] = useReducer<number, void>((n) => n + 1, 0);
  const rows = useMemo(() => new Rows(query, changed), [query]);
  useEffect(() => {
    void rows.refresh();
    return () => rows.close();
  }, [rows]);
  return rows;
}
