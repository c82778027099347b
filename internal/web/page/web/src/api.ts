// SPDX-License-Identifier: Apache-2.0

import { useEffect, useRef, useState } from "preact/hooks";

// Refusal is an answer of the API that is an error, or that there was none
// (status 0).
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
  ) {
    super(`${title}: ${detail}`);
  }
}

export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { signal: signal ?? null, headers: { Accept: "application/json" } });
  } catch (err) {
    if (signal?.aborted) throw err;
    throw new Refusal(0, "renat does not answer", "the connection to the server that this page came from is lost");
  }
  if (!response.ok) throw await refusal(response);
  return (await response.json()) as T;
}

async function refusal(response: Response): Promise<Refusal> {
  try {
    const p = (await response.json()) as { title?: string; detail?: string };
    return new Refusal(response.status, p.title ?? response.statusText, p.detail ?? "");
  } catch {
    return new Refusal(response.status, response.statusText || "refused", "the answer was not renat's: is there a proxy?");
  }
}

// signIn exchanges a token for a cookie that scripts cannot read.
export async function signIn(token: string): Promise<void> {
  const response = await fetch("/v1/session", { method: "POST", body: JSON.stringify({ token }) });
  if (!response.ok) throw await refusal(response);
}

export interface Asked<T> {
  // data is the last answer to this path or, while the first one is awaited,
  // undefined.
  data: T | undefined;
  failure: Refusal | undefined;
  again: () => void;
}

// useAsk asks for path now, when it changes, and on again().
export function useAsk<T>(path: string): Asked<T> {
  const [state, setState] = useState<{ path: string; data?: T; failure?: Refusal }>({ path });
  const [turn, setTurn] = useState(0);
  const again = useRef(() => setTurn((n) => n + 1)).current;
  useEffect(() => {
    const abort = new AbortController();
    ask<T>(path, abort.signal).then(
      (data) => setState({ path, data }),
      (err: unknown) => {
        if (abort.signal.aborted) return;
        const failure = err instanceof Refusal ? err : new Refusal(0, "the answer cannot be read", String(err));
        setState((s) => ({ path, failure, ...(s.path === path && s.data !== undefined ? { data: s.data } : {}) }));
      },
    );
    return () => abort.abort();
  }, [path, turn]);
  return { data: state.path === path ? state.data : undefined, failure: state.path === path ? state.failure : undefined, again };
}
