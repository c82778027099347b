// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/internal/nodestatus"
)

// The places of losses that are not one of the correlator's.
const (
	LossQueue   = "outbox_queue"
	LossFull    = "outbox_full"
	LossRefused = "outbox_refused"
)

// Target are the labels that scraping adds: alert rules and dashboards rely on
// them.
var Target = []Label{
	{Name: "job", Meaning: "`.*renat.*-agent` of agents, `.*renat.*-hub` of hubs", Values: []Value{{Name: "renat-agent"}, {Name: "renat-hub"}}},
	{Name: "cluster", Meaning: "which cluster, where one Prometheus has several; the same as on the metrics of kube-state-metrics, or nowhere"},
	{Name: "node", Meaning: "the Kubernetes node that the pod runs on"},
	{Name: "namespace", Meaning: "of the pod"},
	{Name: "pod", Meaning: "the pod"},
	{Name: "instance", Meaning: "address and port of the pod"},
}

var (
	kind    = Label{"kind", "how the connection broke", valuesOf(incident.Kinds)}
	cause   = Label{"cause", "what removed its entry from the map", valuesOf(incident.Causes)}
	outcome = Label{"outcome", "what became of it", valuesOf(incident.Outcomes)}
	source  = Label{"source", "where events come from", []Value{
		{"hubble", "flows"},
		{"kernel", "operations on maps"},
	}}
	place = Label{"place", "where something was lost", []Value{
		{correlator.LossHubblePerf.String(), "flows, in Cilium's perf ring buffer"},
		{correlator.LossHubbleQueue.String(), "flows, in the queue of Hubble's observer"},
		{correlator.LossHubbleRing.String(), "flows, in Hubble's ring: the agent read too slowly"},
		{correlator.LossHubbleRestart.String(), "an unknown number of flows: Cilium's agent began anew"},
		{correlator.LossHubbleDecode.String(), "flows that could not be read"},
		{correlator.LossKernelRing.String(), "map operations: the kernel was faster than the agent"},
		{correlator.LossKernelDecode.String(), "map operations that could not be read"},
		{correlator.LossKernelMissed.String(), "map operations during which the kernel did not run renat's program"},
		{LossQueue, "incidents: the disk was too slow"},
		{LossFull, "incidents: the outbox was full before NATS took them"},
		{LossRefused, "incidents that NATS, or the disk, can never take"},
	}}
	part = Label{"part", "a part of the agent", []Value{
		{nodestatus.PartKernel, "the tracer, and Cilium's maps"},
		{nodestatus.PartHubble, "the stream of flows"},
		{nodestatus.PartTracking, "what brings both into one order: not ready while one is more than 5 s behind"},
		{nodestatus.PartOutbox, "the store on the node's disk"},
		{nodestatus.PartNATS, "the connection to NATS"},
	}}
	natMap = Label{Name: "map", Meaning: "name of the map, as Cilium pins it"}
	errno  = Label{"errno", "why an update failed", []Value{
		{"EEXIST", "there is such an entry: for NAT, the port is taken"},
		{"ENOMEM", "no room"},
		{"EBUSY", "another CPU had the lock"},
		{"other", "anything else"},
	}}
	by = Label{"by", "who deleted", []Value{
		{"syscall", "a process"},
		{"program", "a BPF program"},
		{"unknown", "kernel addresses are hidden from the agent, so it cannot tell"},
	}}
	receiver = Label{Name: "receiver", Meaning: "name of the receiver in the hub's configuration"}
	reload   = Label{"result", "of reading the configuration", []Value{
		{"ok", "it is in use"},
		{"failed", "it is wrong, and the one before stays in use"},
	}}
	fate = Label{"fate", "what became of an incident", []Value{
		{"held", "waits for a notification, or was in one"},
		{"unmatched", "is not for this receiver"},
		{"known", "was there before"},
		{"below_threshold", "came alone, where the receiver wants more at once"},
		{"garbled", "is no incident, and was put aside"},
		{"dropped", "left the stream, full or for its age, before the hub, or the next one after it, could tell of it"},
	}}
	result = Label{"result", "of an attempt to notify", []Value{
		{"delivered", "the destination has it"},
		{"retried", "it is tried again"},
		{"dead", "it was given up, and put aside"},
	}}
	version   = Label{Name: "version", Meaning: "of renat"}
	goversion = Label{Name: "goversion", Meaning: "of Go"}
)

func valuesOf[T ~string](all []incident.Value[T]) (values []Value) {
	for _, v := range all {
		values = append(values, Value{string(v.Name), v.Meaning})
	}
	return values
}
