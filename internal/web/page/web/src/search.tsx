// SPDX-License-Identifier: Apache-2.0

import { useState } from "preact/hooks";
import { ask, Refusal } from "./api";
import { go, incidentHref, incidentsHref } from "./router";
import type { IncidentDetail } from "./types";

// Search finds by what is at hand: an incident's id as hubble and tables show it,
// a pod, an address, a server.
export function Search() {
  const [busy, setBusy] = useState(false);
  const submit = async (e: SubmitEvent) => {
    e.preventDefault();
    const input = (e.currentTarget as HTMLFormElement).elements.namedItem("find") as HTMLInputElement;
    const text = input.value.trim();
    if (!text || busy) return;
    setBusy(true);
    go(await place(text));
    setBusy(false);
    input.value = "";
    input.blur();
  };
  return (
    <form class="find" role="search" aria-label="Everywhere" onSubmit={submit}>
      <input name="find" type="search" aria-label="Find an id, pod or address" placeholder="id, pod or address" autocomplete="off" spellcheck={false} />
    </form>
  );
}

// place is the address of what a text means.
async function place(text: string): Promise<string> {
  const id = /^(?:renat:|incident\/)?([0-9a-f]{4,32})$/i.exec(text)?.[1];
  if (id !== undefined) {
    try {
      const found = await ask<IncidentDetail>("/v1/incidents/" + id);
      return incidentHref(found.incident.id);
    } catch (err) {
      const status = err instanceof Refusal ? err.status : 0;
      if (status === 409) return incidentsHref({ id });
      // A pod can be called so, too, unless the text says that it is an id.
      if (status !== 404 || text !== id) return incidentHref(id);
    }
  }
  return incidentsHref(filterFor(text));
}

// filterFor is the filter that a text means: an address, with or without a port,
// a network, a server, else the beginning of a pod.
export function filterFor(text: string): Record<string, string> {
  const address = /^(\d+\.\d+\.\d+\.\d+(?:\/\d+)?|\[[0-9a-f:.]+\])(?::(\d+))?$/i.exec(text);
  if (address) return { ip: (address[1] ?? "").replace(/^\[|\]$/g, ""), port: address[2] ?? "" };
  if (/^[0-9a-f.]*:[0-9a-f:.]*:[0-9a-f:.]*(\/\d+)?$/i.test(text)) return { ip: text };
  if (/^:?\d{1,5}$/.test(text)) return { port: text.replace(":", "") };
  if (/^[\w-]+(\.[\w-]+)+\.?(:\d+)?$/.test(text)) return { destination: text };
  return { pod: text };
}
