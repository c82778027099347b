// SPDX-License-Identifier: Apache-2.0

import { useEffect, useRef, useState } from "preact/hooks";

// Line is the state of the connection over which changes come.
export interface Line {
  state: "opening" | "open" | "lost" | "off"; // off: nobody listens
  // problem says in words why the server may not know what is new; since when,
  // if it ever did.
  problem: string;
  problemSince: string | undefined;
  // lostAt is when the state became lost, in ms.
  lostAt: number;
}

export const opening: Line = { state: "opening", problem: "", problemSince: undefined, lostAt: 0 };

// unknownSince is until when all is known, null if all never was; undefined: all
// is known.
export function unknownSince(l: Line): Date | null | undefined {
  if (l.problem) return l.problemSince ? new Date(l.problemSince) : null;
  return l.state === "lost" ? new Date(l.lostAt) : undefined;
}

// Listener is told that something changed, at most once a second: what it is, a
// fleet has too much of to be sent.
export interface Listener {
  incidents?: (count: number) => void;
  nodes?: () => void;
  // restart: there was more than could be told; ask for everything again.
  restart?: () => void;
}

// retryMs is how long to wait when the browser has given up, which it does when
// the answer was an error.
const retryMs = 3000;

// useLive listens to /v1/events with a filter (null: to nothing) while the
// component is shown and somebody can see it: a browser has few connections to a
// server, and hidden tabs would take them all. It resumes a stream that broke
// where it was.
export function useLive(query: string | null, listener: Listener): Line {
  const [line, setLine] = useState<Line>(opening);
  const current = useRef(listener);
  current.current = listener;
  useEffect(() => {
    if (query === null) {
      setLine({ ...opening, state: "off" });
      return;
    }
    let source: EventSource | undefined;
    let timer = 0;
    let wasLost = false;
    const connect = () => {
      const opened = (source = new EventSource(`/v1/events?tell=changes${query && "&" + query}`));
      const on = <T>(name: string, then: (data: T) => void) =>
        opened.addEventListener(name, (e) => then(JSON.parse((e as MessageEvent<string>).data) as T));
      opened.addEventListener("open", () => {
        setLine((l) => ({ ...l, state: "open" }));
        if (wasLost) current.current.restart?.(); // a new EventSource resumes nothing
        wasLost = false;
      });
      opened.addEventListener("error", () => {
        setLine((l) => (l.state === "lost" ? l : { ...l, state: "lost", lostAt: Date.now() }));
        if (opened.readyState !== EventSource.CLOSED) return;
        wasLost = true;
        timer = window.setTimeout(connect, retryMs);
      });
      on<{ problem: string; problem_since?: string }>("problem", (p) => setLine((l) => ({ ...l, problem: p.problem, problemSince: p.problem_since })));
      on<{ incidents: number; nodes: number }>("changed", (c) => {
        if (c.incidents > 0) current.current.incidents?.(c.incidents);
        if (c.nodes > 0) current.current.nodes?.();
      });
      on("restart", () => current.current.restart?.());
    };
    const stop = () => {
      window.clearTimeout(timer);
      source?.close();
      source = undefined;
      wasLost = true;
    };
    const look = () => {
      if (document.hidden) stop();
      else if (!source) connect();
    };
    look();
    document.addEventListener("visibilitychange", look);
    window.addEventListener("pagehide", stop);
    window.addEventListener("pageshow", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      window.removeEventListener("pagehide", stop);
      window.removeEventListener("pageshow", look);
      stop();
    };
  }, [query]);
  return line;
}

// useSoon returns a function that calls then at most every so many ms: at once,
// and once more after what came meanwhile.
export function useSoon(then: () => void, everyMs: number): () => void {
  const latest = useRef(then);
  latest.current = then;
  const state = useRef({ timer: 0, again: false });
  useEffect(() => () => window.clearTimeout(state.current.timer), []);
  return useRef(() => {
    const s = state.current;
    if (s.timer) {
      s.again = true;
      return;
    }
    latest.current();
    const rest = () => {
      s.timer = 0;
      if (!s.again) return;
      s.again = false;
      latest.current();
      s.timer = window.setTimeout(rest, everyMs);
    };
    s.timer = window.setTimeout(rest, everyMs);
  }).current;
}

// useEvery calls then every so many ms while the page can be seen.
export function useEvery(then: () => void, ms: number): void {
  const latest = useRef(then);
  latest.current = then;
  useEffect(() => {
    const timer = window.setInterval(() => {
      if (!document.hidden) latest.current();
    }, ms);
    return () => window.clearInterval(timer);
  }, [ms]);
}
