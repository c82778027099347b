// SPDX-License-Identifier: Apache-2.0

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Refusal } from "./api";
import { localTime, nameParts, utc } from "./words";

// shapes are told apart without colour.
const shapes = {
  ok: <><circle cx="8" cy="8" r="7" /><path class="ink" d="M4.8 8.2l2.2 2.3 4.2-4.8" /></>,
  evicting: <><path d="M8 1.2l7.2 13H.8z" /><path class="ink" d="M8 6v4M8 11.9v.6" /></>,
  breaking: <><path d="M5 .8h6L15.2 5v6L11 15.2H5L.8 11V5z" /><path class="ink" d="M5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2" /></>,
  degraded: <><path d="M8 .8L15.2 8 8 15.2.8 8z" /><path class="ink" d="M8 4.6v4.2M8 11v.6" /></>,
  blind: <><circle cx="8" cy="8" r="7" /><path class="ink" d="M4 8h8" /></>,
  silent: <circle class="hollow" cx="8" cy="8" r="6" />,
  copy: <path class="line" d="M5.5 5.5V2.5h8v8h-3M2.5 5.5h8v8h-8z" />,
  done: <path class="line" d="M3 8.5l3.2 3.2L13 4.5" />,
  close: <path class="line" d="M4 4l8 8M12 4l-8 8" />,
  left: <path class="line" d="M10 3L5 8l5 5" />,
};

export function Icon({ name }: { name: keyof typeof shapes }) {
  return <svg class={`icon ${name}`} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">{shapes[name]}</svg>;
}

// Time is local; hovering shows it in UTC.
export function Time({ at, text }: { at: string; text?: string }) {
  const t = new Date(at);
  if (Number.isNaN(t.getTime())) return <>{at}</>;
  return <time dateTime={at} title={utc(t)}>{text ?? localTime(t)}</time>;
}

export function Card({ title, id, aside, children }: {
  title: string; id: string; aside?: ComponentChildren; children: ComponentChildren;
}) {
  return (
    <section class={`card ${id}`} aria-labelledby={id + "-title"}>
      <div class="card-head"><h2 id={id + "-title"}>{title}</h2>{aside}</div>
      {children}
    </section>
  );
}

// Name shows a long name on two lines: first what tells it apart.
export function Name({ text }: { text: string }) {
  const { head, rest, port } = nameParts(text);
  return (
    <span class="name" title={text}>
      <span class="cut">{head}</span>
      {rest && <span class="rest muted"><span class="cut">{rest}</span>{port && <span>{port}</span>}</span>}
    </span>
  );
}

// HostPort keeps the port of a name that is too long.
export function HostPort({ host, port }: { host: string; port: number }) {
  return <span class="host-port"><span class="cut">{host.includes(":") ? `[${host}]` : host}</span><span>:{port}</span></span>;
}

// Share is a bar beside a number that says the same.
export function Share({ of }: { of: number }) {
  return <span class="share" aria-hidden="true"><i style={{ width: `${Math.min(100, 100 * of)}%` }} /></span>;
}

// Copy puts text on the clipboard and says so.
export function Copy({ text, children }: { text: string; children: ComponentChildren }) {
  const [said, setSaid] = useState("");
  const timer = useRef(0);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied");
    } catch {
      setSaid("The browser does not allow it"); // without TLS, away from this machine
    }
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => setSaid(""), 2500);
  };
  return (
    <button type="button" class="quiet" onClick={copy}>
      <Icon name={said === "Copied" ? "done" : "copy"} />{children}
      <span class="said" role="status">{said}</span>
    </button>
  );
}

// final are answers that stay the same: not found, several, gone.
const final = new Set([404, 409, 410]);

export function Failure({ failure, again }: { failure: Refusal; again: () => void }) {
  return (
    <div class="card empty" role="alert">
      <Icon name="breaking" />
      <h1>{failure.title}</h1>
      <p>{failure.detail}</p>
      {final.has(failure.status) ? <a class="button" href="/incidents">All incidents</a> : <button type="button" onClick={again}>Try again</button>}
    </div>
  );
}

export function Waiting({ what }: { what: string }) {
  return <p class="waiting" role="status">Loading {what}…</p>;
}
