{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* "true" if the hub runs. */ -}}
{{- define "renat.hub" -}}
{{- if kindIs "bool" .Values.hub.enabled -}}
{{- if .Values.hub.enabled -}}true{{- end -}}
{{- else if include "renat.natsURL" . -}}
true
{{- end -}}
{{- end -}}

{{- /* Where people reach the page; empty: not known. */ -}}
{{- define "renat.pageURL" -}}
{{- $hub := .Values.hub -}}
{{- if $hub.externalURL -}}
{{ trimSuffix "/" $hub.externalURL }}
{{- else if $hub.ingress.enabled -}}
{{ ternary "https" "http" (ne $hub.ingress.tlsSecret "") }}://{{ $hub.ingress.host }}
{{- end -}}
{{- end -}}

{{- define "renat.hubMounts" -}}
{{- $hub := .Values.hub -}}
{{- if or $hub.config $hub.existingConfigMap }}
# A folder and no subPath: the hub sees when the file changes.
- {name: config, mountPath: /etc/renat/config, readOnly: true}
{{- end }}
{{- range $name, $_ := $hub.secretMounts }}
- {name: secret-{{ $name }}, mountPath: /etc/renat/secrets/{{ $name }}, readOnly: true}
{{- end }}
{{- with $hub.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{ include "renat.natsMounts" (list . "hub") }}
{{- include "renat.httpMounts" (list . $hub.http) }}
{{- end -}}

{{- define "renat.hubVolumes" -}}
{{- $hub := .Values.hub -}}
{{- if or $hub.config $hub.existingConfigMap }}
- name: config
  configMap: {name: {{ $hub.existingConfigMap | default (printf "%s-hub" (include "renat.fullname" .)) | quote }}}
{{- end }}
{{- range $name, $secret := $hub.secretMounts }}
- name: secret-{{ $name }}
  secret: {secretName: {{ $secret | quote }}, defaultMode: 0440}
{{- end }}
{{- with $hub.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{ include "renat.natsVolumes" (list . "hub") }}
{{- include "renat.httpVolumes" (list . $hub.http "" "hub") }}
{{- end -}}
