{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* Where NATS is; empty if there is none. */ -}}
{{- define "renat.natsURL" -}}
{{- if .Values.nats.enabled -}}
{{- $config := .Values.nats.config -}}
nats://{{ .Values.nats.fullnameOverride }}.{{ .Release.Namespace }}.svc:{{ dig "nats" "port" 4222 $config }}
{{- else -}}
{{ .Values.natsClient.url }}
{{- end -}}
{{- end -}}

{{- /* The TCP ports of NATS, as a JSON list. */ -}}
{{- define "renat.natsPorts" -}}
{{- $ports := list -}}
{{- range splitList "," (include "renat.natsURL" .) -}}
{{- $port := trim . | trimSuffix "/" | regexFind ":[0-9]+$" | trimPrefix ":" | default "4222" -}}
{{- $ports = append $ports (int $port) -}}
{{- end -}}
{{ $ports | uniq | toJson }}
{{- end -}}

{{- define "renat.natsReplicas" -}}
{{- if .Values.natsClient.replicas -}}
{{ .Values.natsClient.replicas }}
{{- else if and .Values.nats.enabled .Values.nats.config.cluster.enabled -}}
{{ min 5 .Values.nats.config.cluster.replicas }}
{{- else if ge (len (splitList "," .Values.natsClient.url)) 3 -}}
3
{{- else -}}
1
{{- end -}}
{{- end -}}

{{- /* The credentials of (list context component), as JSON. */ -}}
{{- define "renat.natsCredentials" -}}
{{- $ := index . 0 -}}
{{- if and (eq (index . 1) "hub") $.Values.hub.natsCredentials -}}
{{ $.Values.hub.natsCredentials | toJson }}
{{- else -}}
{{ $.Values.natsClient.credentials | toJson }}
{{- end -}}
{{- end -}}

{{- /* The user and password of (list context component), as JSON; empty if there are none. */ -}}
{{- define "renat.natsPassword" -}}
{{- $ := index . 0 -}}
{{- if and (eq (index . 1) "hub") $.Values.hub.natsPassword -}}
{{ $.Values.hub.natsPassword | toJson }}
{{- else -}}
{{ $.Values.natsClient.password | toJson }}
{{- end -}}
{{- end -}}

{{- /* How (list context component) connects to NATS: arguments, mounts and volumes. */ -}}
{{- define "renat.natsArgs" -}}
{{- $ := index . 0 -}}
{{- $tls := $.Values.natsClient.tls -}}
- {{ printf "--nats-url=%s" (include "renat.natsURL" $) | quote }}
{{- if (include "renat.natsCredentials" . | fromJson).secretName }}
- --nats-creds=/etc/renat/nats-creds/nats.creds
{{- end }}
{{- with (include "renat.natsPassword" . | fromJson).user }}
- {{ printf "--nats-user=%s" . | quote }}
- --nats-password-file=/etc/renat/nats-password/password
{{- end }}
{{- if $tls.enabled }}
- --nats-tls-ca-cert-file=/etc/renat/nats-tls/ca.crt
{{- if $tls.clientCertificate }}
- --nats-tls-client-cert-file=/etc/renat/nats-tls/tls.crt
- --nats-tls-client-key-file=/etc/renat/nats-tls/tls.key
{{- end }}
{{- end }}
{{- end -}}

{{- define "renat.natsMounts" -}}
{{- if (include "renat.natsCredentials" . | fromJson).secretName -}}
- {name: nats-creds, mountPath: /etc/renat/nats-creds, readOnly: true}
{{ end -}}
{{- if (include "renat.natsPassword" . | fromJson).user -}}
- {name: nats-password, mountPath: /etc/renat/nats-password, readOnly: true}
{{ end -}}
{{- if (index . 0).Values.natsClient.tls.enabled -}}
- {name: nats-tls, mountPath: /etc/renat/nats-tls, readOnly: true}
{{ end -}}
{{- end -}}

{{- define "renat.natsVolumes" -}}
{{- $ := index . 0 -}}
{{- $credentials := include "renat.natsCredentials" . | fromJson -}}
{{- if $credentials.secretName -}}
- name: nats-creds
  secret:
    secretName: {{ $credentials.secretName | quote }}
    defaultMode: 0440
    items: [{key: {{ $credentials.key | default "nats.creds" | quote }}, path: nats.creds}]
{{ end -}}
{{- $password := include "renat.natsPassword" . | fromJson -}}
{{- if $password.user -}}
- name: nats-password
  secret:
    secretName: {{ $password.secretName | quote }}
    defaultMode: 0440
    items: [{key: {{ $password.key | quote }}, path: password}]
{{ end -}}
{{- if $.Values.natsClient.tls.enabled -}}
- name: nats-tls
  secret:
    secretName: {{ include "renat.tlsSecret" (list $ $.Values.natsClient.tls "nats-tls") | quote }}
    defaultMode: 0440
{{ end -}}
{{- end -}}

{{- /* The labels of the pods of the server that nats.enabled installs. */ -}}
{{- define "renat.natsSelector" -}}
app.kubernetes.io/name: nats
app.kubernetes.io/component: nats
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- /* The labels of all that connects to NATS. */ -}}
{{- define "renat.clients" -}}
app.kubernetes.io/name: renat
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- /* The TCP port of agent.observer.listen; empty if it has none. */ -}}
{{- define "renat.observerPort" -}}
{{- if not (hasPrefix "unix:" .Values.agent.observer.listen) -}}
{{ regexFind "[0-9]+$" .Values.agent.observer.listen }}
{{- end -}}
{{- end -}}

{{- /* The TCP port of hubble.server. */ -}}
{{- define "renat.hubblePort" -}}
{{ regexFind ":[0-9]+$" .Values.hubble.server | trimPrefix ":" | default "4244" }}
{{- end -}}
