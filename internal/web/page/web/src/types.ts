// SPDX-License-Identifier: Apache-2.0

// The JSON of /v1, see internal/web/api/openapi.json. Fields the page does not use
// are left out.

export type Kind = "renat" | "orphaned_reply" | "tracking_lost" | "no_port" | "egress_changed" | "map_replaced";
export type Cause = "lru_eviction" | "userspace_delete" | "datapath_delete" | "map_replaced" | "ports_exhausted" | "unknown";
export type Outcome = "reset" | "dropped" | "timeout" | "unconfirmed";

export interface Endpoint {
  ip: string;
  port: number;
  namespace?: string;
  pod?: string;
  workload?: string;
  identity?: number;
  labels?: string[];
  names?: string[];
}

export interface PodCount {
  name: string;
  count: number;
}

export interface Evidence {
  time: string;
  from: "kernel" | "hubble";
  what: string;
  step?: string;
  flags?: string;
}

export interface Incident {
  kind: Kind;
  cause: Cause;
  deleted_by?: string;
  outcome: Outcome;
  time: string;
  node: string;
  cluster: string;
  protocol: string;
  source: Endpoint;
  destination: Endpoint;
  nat: {
    map: string;
    before?: string;
    after?: string;
    removed_at?: string;
    renatted_at?: string;
    forced?: boolean;
    seconds_left?: number;
    program?: string;
  };
  ports?: { refused: number; since: string; pods?: PodCount[]; address?: string; in_use?: number; holders?: PodCount[] };
  replaced?: { broken: number; reset: number; max_entries_before?: number; pods?: PodCount[] };
  evidence: Evidence[];
  loss: { kernel_events: number; hubble_flows: number; hubble_unseen: number; unknown?: boolean };
  map: { max_entries: number; evictions_per_second: number };
}

export interface CloudEvent {
  id: string;
  data: Incident;
}

export interface IncidentList {
  incidents: CloudEvent[];
  total: number;
  cursor?: string;
  next?: string;
}

export interface Verdict {
  what: string;
  restore?: string;
  size?: string;
  action: string;
  runbook: string;
}

export interface IncidentDetail {
  incident: CloudEvent;
  verdict: Verdict;
  hubble: string;
  problem?: string; // why it has no evidence
}

export interface Count {
  name: string;
  count: number;
}

export interface Group {
  workload: string;
  destination: string;
  node: string;
  kind: Kind;
  cause: Cause;
  count: number;
  reset: number;
  first: string;
  last: string;
  incident: string;
}

export interface Summary {
  total: number;
  held: number;
  newest?: string;
  kinds: Partial<Record<Kind, number>>;
  causes: Partial<Record<Cause, number>>;
  outcomes: Partial<Record<Outcome, number>>;
  step_seconds: number;
  buckets: { time: string; renat: number; orphaned_reply: number; other: number }[];
  workloads: Count[];
  destinations: Count[];
  nodes: Count[];
  untold?: string[]; // of these, those that tell no status
  groups: Group[];
  more_groups: number;
}

export interface NodeMap {
  name: string;
  max_entries: number;
  ct?: boolean;
  entries?: number;
  last_minute: { evictions_per_second: number };
  last_ten_minutes: { evictions_per_second: number };
}

export type NodeState = "ok" | "evicting" | "breaking" | "degraded" | "silent" | "blind";

export interface NodeView {
  state: NodeState;
  ready: boolean;
  heard: string;
  evictions_per_second: (number | null)[];
  status: {
    time: string;
    node: string;
    cluster?: string;
    renat: string;
    parts: { name: string; ready: boolean; problem?: string }[] | null;
    maps: NodeMap[] | null;
    incidents: { total: number; last_ten_minutes: number; last_hour: number };
    losses: Record<string, number> | null;
    at_risk?: number; // connections that break by their next packet
    guard?: Guard;
  };
}

// NodeList has the worst nodes, and what all are together.
export interface NodeList {
  nodes: NodeView[];
  fleet: Fleet;
}

export interface Fleet {
  total: number;
  clusters: number;
  states: Partial<Record<NodeState, number>>;
  evictions_per_second: (number | null)[];
  at_risk: number;
  risks: Risk[]; // some of them, those for longest
}

// Advice is of all nodes; its lists name a few of them.
export interface Advice {
  plan: Plan;
  maps: number;
  small: number;
  sizes?: [number, number];
  unmeasured: number;
}

// Risk is a connection that lives and lacks an entry.
export interface Risk {
  node: string;
  cluster?: string;
  protocol: string;
  source: RiskPeer;
  destination: RiskPeer;
  gone: string; // OUT, IN or both
  since: string;
  breaks: string; // who must speak for it to break: pod or server
  guarded?: boolean;
}

export interface RiskPeer {
  address: string;
  namespace?: string;
  pod?: string;
  names?: string[];
}

// Guard is the state of what keeps the entries of living connections.
export interface Guard {
  connections: number;
  idle: boolean;
  runs: number;
  ns_per_connection: number;
  lost: number;
  kept: number; // an estimate
  problem?: string;
}

// Plan is what renat advise says, too.
export interface Plan {
  nodes: { node: string; map: string; verdict: string; current_entries: number; entries?: number }[] | null;
  unmeasured?: string[];
  values: { path: string; value: string; flag: string }[];
  impossible?: string;
}

export interface About {
  renat: string;
  title: string;
  capacity: number;
}
