// SPDX-License-Identifier: Apache-2.0

import type { Cause, Endpoint, Incident, Kind, NodeState, Outcome } from "./types";

export const kindWords: Record<Kind, string> = { renat: "re-NATted", orphaned_reply: "orphaned reply", tracking_lost: "tracking lost", no_port: "no port free", egress_changed: "address changed", map_replaced: "map made anew" };
export const causeWords: Record<Cause, string> = {
  lru_eviction: "LRU eviction",
  userspace_delete: "deleted by a process",
  datapath_delete: "deleted by the datapath",
  map_replaced: "map replaced",
  ports_exhausted: "all ports taken",
  unknown: "unknown",
};
export const outcomeWords: Record<Outcome, string> = { reset: "reset", dropped: "dropped", timeout: "timed out", unconfirmed: "unconfirmed" };
export const stateWords: Record<NodeState, string> = {
  ok: "ok", evicting: "evicting", breaking: "breaking", degraded: "degraded", silent: "silent", blind: "blind",
};

// word is what a value is called, and itself if a later renat made it up.
export function word(words: Record<string, string>, value: string): string {
  return (Object.hasOwn(words, value) && words[value]) || value;
}

export function cause(i: Incident): string {
  if (i.cause === "userspace_delete" && i.deleted_by) return "deleted by process " + i.deleted_by;
  return word(causeWords, i.cause);
}

export function hostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

// host is the DNS name if one is known, as incident.Endpoint.Host chooses it.
export function host(e: Endpoint): string {
  return [...(e.names ?? [])].sort()[0] ?? e.ip;
}

export function podName(e: Endpoint): string {
  if (!e.pod) return hostPort(e.ip, e.port);
  return (e.namespace ? e.namespace + "/" : "") + e.pod;
}

// port is what follows the last colon of an address.
export function port(address: string | undefined): string {
  return address ? address.slice(address.lastIndexOf(":") + 1) : "?";
}

// nameParts splits a long name into what tells it apart and what many have in common:
// a host's first label and its domain, a workload's name and its namespace and
// kind. What is no such name stays whole.
export function nameParts(name: string): { head: string; rest: string; port: string } {
  const path = /^([\w.-]+(?:\/[\w.-]+)*)\/([\w.-]+)$/.exec(name);
  if (path) return { head: path[2] ?? "", rest: path[1] ?? "", port: "" };
  const dns = /^([\w-]+)\.([\w.-]*[a-z][\w.-]*?)(:\d+)?$/i.exec(name);
  if (dns && name.length > 20) return { head: dns[1] ?? "", rest: dns[2] ?? "", port: dns[3] ?? "" };
  return { head: name, rest: "", port: "" };
}

// portChange says in a few characters what became of the translation.
export function portChange(i: Incident): string {
  if (i.kind === "renat") return `port ${port(i.nat.before)} → ${port(i.nat.after)}`;
  if (i.replaced) return plural(i.replaced.broken, "connection") + " broken";
  if (i.ports) return plural(i.ports.refused, "connection") + " refused";
  if (i.kind === "egress_changed") return `${i.nat.before} → ${i.nat.after}`;
  if (i.kind === "tracking_lost") return i.nat.seconds_left ? `tracking entry gone, ${span(i.nat.seconds_left * 1000)} left` : "tracking entry gone";
  return `port ${port(i.nat.before)} has no entry`;
}

const dateTime = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23",
});
const timeOnly = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export const localTime = (t: Date) => dateTime.format(t);
export const clock = (t: Date) => timeOnly.format(t);
export const utc = (t: Date) => t.toISOString().replace("T", " ").replace("Z", " UTC");

// millis is a time as milliseconds with a fraction, which Date cuts off.
export function millis(t: string): number {
  const fraction = /\.(\d+)/.exec(t)?.[1] ?? "0";
  return Math.floor(Date.parse(t) / 1000) * 1000 + Number("0." + fraction) * 1000;
}

export function ago(t: Date, now = Date.now()): string {
  const s = (now - t.getTime()) / 1000;
  if (s < 0) return "in the future";
  if (s < 1.5) return "just now";
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  if (s < 129600) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86400)} days ago`;
}

// span puts milliseconds into the unit that fits.
export function span(ms: number): string {
  const a = Math.abs(ms);
  if (a < 1) return `${Math.round(a * 1000)} µs`;
  if (a < 1000) return `${a < 10 ? a.toFixed(1) : Math.round(a)} ms`;
  if (a < 120_000) return `${(a / 1000).toFixed(a < 10_000 ? 2 : 1)} s`;
  if (a < 7_200_000) return `${Math.round(a / 60_000)} min`;
  return `${(a / 3_600_000).toFixed(1)} h`;
}

// each is a length in seconds, after "per".
export function each(seconds: number): string {
  for (const [unit, n] of [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]] as const) {
    if (seconds % n === 0) return seconds === n ? unit : `${seconds / n} ${unit}s`;
  }
  return `${seconds} seconds`;
}

const whole = new Intl.NumberFormat(undefined);
export const count = (n: number) => whole.format(n);
export const rate = (n: number) => (n === 0 ? "0" : n < 10 ? n.toFixed(1) : count(Math.round(n)));
export const plural = (n: number, one: string, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;
