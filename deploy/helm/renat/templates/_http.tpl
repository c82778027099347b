{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* The Secret of a TLS section, of (list context section suffix): the given one, or that of the Certificate. */ -}}
{{- define "renat.tlsSecret" -}}
{{- $tls := index . 1 -}}
{{ $tls.secretName | default (printf "%s-%s" (include "renat.fullname" (index . 0)) (index . 2)) }}
{{- end -}}

{{- /* How a component serves HTTP, of (list context http header component): arguments, mounts and volumes. */ -}}
{{- define "renat.httpArgs" -}}
{{- $http := index . 1 -}}
{{- if $http.tls.enabled }}
- --http-tls-cert-file=/etc/renat/http-tls/tls.crt
- --http-tls-key-file=/etc/renat/http-tls/tls.key
{{- end }}
{{- if $http.tokenSecret }}
- --http-token-file=/etc/renat/http-token/token
{{- end }}
{{- if $http.trustedProxies }}
- {{ printf "--http-user-header=%s" (index . 2) | quote }}
- --http-trusted-proxies={{ join "," $http.trustedProxies }}
{{- end }}
{{- end -}}

{{- define "renat.httpMounts" -}}
{{- $http := index . 1 -}}
{{- if $http.tls.enabled -}}
- {name: http-tls, mountPath: /etc/renat/http-tls, readOnly: true}
{{ end -}}
{{- if $http.tokenSecret -}}
- {name: http-token, mountPath: /etc/renat/http-token, readOnly: true}
{{ end -}}
{{- end -}}

{{- define "renat.httpVolumes" -}}
{{- $http := index . 1 -}}
{{- if $http.tls.enabled -}}
- name: http-tls
  secret:
    secretName: {{ include "renat.tlsSecret" (list (index . 0) $http.tls (printf "%s-http-tls" (index . 3))) | quote }}
    defaultMode: 0440
{{ end -}}
{{- with $http.tokenSecret -}}
- name: http-token
  secret:
    secretName: {{ .name | quote }}
    defaultMode: 0440
    items: [{key: {{ .key | quote }}, path: token}]
{{ end -}}
{{- end -}}

{{- /* A probe of (list http path). The kubelet does not check certificates. */ -}}
{{- define "renat.probe" -}}
httpGet:
  path: {{ index . 1 }}
  port: http
  {{- if (index . 0).tls.enabled }}
  scheme: HTTPS
  {{- end }}
{{- end -}}

{{- /* How Prometheus reads the metrics, of (list context http component monitor). */ -}}
{{- define "renat.endpoint" -}}
{{- $http := index . 1 -}}
port: http
path: /metrics
{{- with (index . 3).interval }}
interval: {{ . }}
{{- end }}
{{- if $http.tls.enabled }}
scheme: https
tlsConfig:
  serverName: {{ include "renat.fullname" (index . 0) }}-{{ index . 2 }}.{{ (index . 0).Release.Namespace }}.svc
  ca:
    secret:
      name: {{ include "renat.tlsSecret" (list (index . 0) $http.tls (printf "%s-http-tls" (index . 2))) | quote }}
      key: ca.crt
{{- end }}
{{- end -}}
