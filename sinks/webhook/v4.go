// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"maps"
	"time"

	"github.com/renat-project/renat/correlator/incident"
	"github.com/renat-project/renat/sinks/alertmanager"
	"github.com/renat-project/renat/sinks/notification"
)

// message is the body of Alertmanager's webhook (notify/webhook/webhook.go,
// Message, and template/template.go, Data; version 4).
type message struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Receiver          string            `json:"receiver"`
	Status            string            `json:"status"`
	Alerts            []alert           `json:"alerts"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
}

type alert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

const firing = "firing"

func v4(n *notification.Notification) message {
	m := message{
		Version: "4", GroupKey: n.Group.ID, TruncatedAlerts: n.More, Receiver: n.Receiver, Status: firing,
		Alerts: []alert{}, GroupLabels: n.Group.Labels,
		CommonLabels:      alertmanager.Labels(n, nil),
		CommonAnnotations: alertmanager.Annotations(n),
		ExternalURL:       n.Link,
	}
	for _, item := range n.Incidents {
		i := item.Incident
		annotations := alertmanager.Annotations(n)
		for name, value := range map[string]string{
			"incident": item.ID, "source": i.Source.AddrPort().String(), "destination": i.Destination.AddrPort().String(),
			"nat_before": i.NAT.Before, "nat_after": i.NAT.After, "pod": pod(&i.Source),
		} {
			annotations[name] = value
		}
		labels := alertmanager.Labels(n, nil)
		labels["kind"], labels["cause"], labels["outcome"] = string(i.Kind), string(i.Cause), string(i.Outcome)
		m.Alerts = append(m.Alerts, alert{
			Status: firing, Labels: labels, StartsAt: i.Time, GeneratorURL: n.Link, Fingerprint: item.ID,
			Annotations: annotations,
		})
	}
	for k, a := range m.Alerts {
		if k == 0 {
			m.CommonLabels, m.CommonAnnotations = maps.Clone(a.Labels), maps.Clone(a.Annotations)
		}
		keepCommon(m.CommonLabels, a.Labels)
		keepCommon(m.CommonAnnotations, a.Annotations)
	}
	return m
}

// keepCommon leaves of common what others has, too, as Alertmanager does.
func keepCommon(common, others map[string]string) {
	maps.DeleteFunc(common, func(name, value string) bool {
		other, ok := others[name]
		return !ok || other != value
	})
}

func pod(e *incident.Endpoint) string {
	if e.Pod == "" {
		return ""
	}
	return e.Namespace + "/" + e.Pod
}
