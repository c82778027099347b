// SPDX-License-Identifier: Apache-2.0

package metrics

// Hub is what renat hub exports.
var Hub = Set{
	buildInfo,

	{"renat_hub_active", Gauge, truth, "1 if this hub has the lease and delivers, 0 if it stands by; absent from a hub without receivers, which has the page only.", nil},
	{"renat_hub_config_last_reload_successful", Gauge, truth, "1 if the configuration was right when last read.", nil},
	{"renat_hub_config_reloads_total", Counter, "reloads", "Times the configuration was read.", []Label{reload}},

	{"renat_hub_incidents_total", Counter, incidents, "Incidents by what became of them.", []Label{receiver, fate}},
	{"renat_hub_notifications_total", Counter, "attempts", "Attempts to notify, by result.", []Label{receiver, result}},
	{"renat_hub_partial_deliveries_total", Counter, "notifications", "Notifications that one of the receiver's servers took and another did not.", []Label{receiver}},
	{"renat_hub_send_seconds", Histogram, seconds, "How long an attempt to send took.", []Label{receiver}},
	{"renat_hub_groups", Gauge, "groups", "Groups that are known.", []Label{receiver}},
	{"renat_hub_pending_incidents", Gauge, incidents, "Incidents not acknowledged yet: they wait for a notification, or it for delivery.", []Label{receiver}},
	{"renat_hub_queued_notifications", Gauge, "notifications", "Notifications that wait to be sent.", []Label{receiver}},
	{"renat_hub_circuit_open", Gauge, "0, 1 or 2", "1 if the destination failed so often that it is left alone for now, 2 if it said that it is gone.", []Label{receiver}},
	{"renat_hub_unreadable_messages_total", Counter, "messages", "Messages on incidents' subjects that the page leaves out: of a later version of renat, or no incidents.", nil},
	{"renat_hub_other_messages", Gauge, "messages", "Messages in stream RENAT_INCIDENTS on subjects beside those of incidents. Nobody reads them; while the stream takes such, incidents that it drops before they are read are not counted.", nil},
}
