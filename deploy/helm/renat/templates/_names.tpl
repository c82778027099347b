{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- define "renat.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "renat" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-renat" (.Release.Name | trunc 34 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- /* The labels that select, of (list context component). kubectl renat finds agents by the first two. */ -}}
{{- define "renat.selector" -}}
app.kubernetes.io/name: renat
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
{{- end -}}

{{- /* All labels, of (list context component). */ -}}
{{- define "renat.labels" -}}
{{- $ := index . 0 -}}
{{- with $.Values.commonLabels -}}
{{- toYaml . }}
{{ end -}}
{{ include "renat.selector" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "renat.image" -}}
{{- with .Values.image -}}
{{- $name := printf "%s/%s" (trimSuffix "/" .registry) .repository -}}
{{- if .digest -}}
{{ $name }}@{{ .digest }}
{{- else -}}
{{ $name }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}
