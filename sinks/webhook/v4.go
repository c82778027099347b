// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"time"

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
		labels := alertmanager.Labels(n, nil)
		labels["kind"], labels["cause"], labels["outcome"] = string(item.Incident.Kind), string(item.Incident.Cause), string(item.Incident.Outcome)
		m.Alerts = append(m.Alerts, alert{
			Status: firing, Labels: labels, StartsAt: item.Incident.Time, GeneratorURL: n.Link, Fingerprint: item.ID,
			Annotations: map[string]string{
				"incident":    item.ID,
				"source":      item.Incident.Source.AddrPort().String(),
				"pod":         item.Incident.Source.Namespace + "/" + item.Incident.Source.Pod,
				"destination": item.Incident.Destination.AddrPort().String(),
				"nat_before":  item.Incident.NAT.Before,
				"nat_after":   item.Incident.NAT.After,
			},
		})
	}
	return m
}
