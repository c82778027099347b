{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* Values that contradict each other: what each message says to do is tested. */ -}}
{{- define "renat.validate" -}}
{{- $nats := include "renat.natsURL" . -}}
{{- $client := .Values.natsClient -}}
{{- if not .Values.image.registry -}}
{{- fail "say where you pushed renat's image: --set image.registry=registry.example.com/team" -}}
{{- end -}}
{{- if and .Values.nats.enabled $client.url -}}
{{- fail "nats.enabled installs a NATS server, and natsClient.url names another: set one of them" -}}
{{- end -}}
{{- if and .Values.nats.enabled (not .Values.nats.config.jetstream.enabled) -}}
{{- fail "renat stores incidents in JetStream: set nats.config.jetstream.enabled=true" -}}
{{- end -}}
{{- if contains "@" $client.url -}}
{{- fail "natsClient.url has a password or token in it: put credentials into a Secret and name it in natsClient.credentials.secretName, or the password and set natsClient.password" -}}
{{- end -}}
{{- if or (and $client.password $client.credentials.secretName) (and .Values.hub.natsPassword .Values.hub.natsCredentials) -}}
{{- fail "one connects to NATS with a password or with credentials: set natsClient.password or natsClient.credentials, and hub.natsPassword or hub.natsCredentials, not both" -}}
{{- end -}}
{{- if and (not $nats) (or $client.credentials.secretName $client.password $client.tls.enabled) -}}
{{- fail "natsClient.credentials, natsClient.password and natsClient.tls have no effect without a NATS: set natsClient.url or nats.enabled=true" -}}
{{- end -}}
{{- if and .Values.hub.enabled (not $nats) -}}
{{- fail "the hub reads incidents from NATS: set natsClient.url or nats.enabled=true, or leave out hub.enabled" -}}
{{- end -}}
{{- if and .Values.hub.config .Values.hub.existingConfigMap -}}
{{- fail "hub.config makes a ConfigMap, and hub.existingConfigMap names another: set one of them" -}}
{{- end -}}
{{- if and (or .Values.hub.config .Values.hub.existingConfigMap .Values.hub.ingress.enabled .Values.hub.httpRoute.enabled) (not (include "renat.hub" .)) -}}
{{- fail "the hub is configured but does not run: set natsClient.url or nats.enabled=true, or leave out hub.config, hub.existingConfigMap, hub.ingress and hub.httpRoute" -}}
{{- end -}}
{{- range .Values.hub.config.receivers -}}
{{- if and (hasKey . "kubernetes_events") (not $.Values.hub.kubernetesEvents) (not (dig "kubernetes_events" "api_url" "" .)) -}}
{{- fail (printf "receiver %s of hub.config makes Events, for which the hub has no rights: set hub.kubernetesEvents=true" .name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.hub.ingress.enabled (not .Values.hub.ingress.host) -}}
{{- fail "the page needs a name: set hub.ingress.host" -}}
{{- end -}}
{{- if and .Values.hub.httpRoute.enabled (not .Values.hub.httpRoute.parentRefs) -}}
{{- fail "a route belongs to a Gateway: set hub.httpRoute.parentRefs" -}}
{{- end -}}
{{- if and .Values.hub.httpRoute.enabled .Values.hub.http.tls.enabled -}}
{{- fail "a Gateway speaks HTTP to the hub, which would take HTTPS only: leave out hub.http.tls and hub.http.tokenSecret, and set hub.http.userHeader and hub.http.trustedProxies" -}}
{{- end -}}
{{- if and .Values.hub.httpRoute.enabled (not .Values.hub.http.trustedProxies) -}}
{{- fail "hub.httpRoute would show people a page that answers nobody: set hub.http.userHeader and hub.http.trustedProxies" -}}
{{- end -}}
{{- if and .Values.hub.ingress.enabled (not .Values.hub.http.trustedProxies) (not .Values.hub.http.tokenSecret) -}}
{{- fail "hub.ingress would show people a page that answers nobody: set hub.http.userHeader and hub.http.trustedProxies, or hub.http.tokenSecret" -}}
{{- end -}}
{{- if and .Values.agent.observer.listen (not (hasPrefix "unix:" .Values.agent.observer.listen)) (not .Values.agent.observer.tls.enabled) -}}
{{- fail "flows are for whom a certificate lets in: set agent.observer.tls.enabled=true, or agent.observer.listen to a socket" -}}
{{- end -}}
{{- if and .Values.agent.observer.tls.enabled (or (not .Values.agent.observer.listen) (hasPrefix "unix:" .Values.agent.observer.listen)) -}}
{{- fail "agent.observer.tls has no effect: set agent.observer.listen=:4245, or agent.observer.tls.enabled=false" -}}
{{- end -}}
{{- if and (not .Values.agent.enabled) (not (include "renat.hub" .)) -}}
{{- fail "nothing is left to install: set agent.enabled=true, or give the hub a NATS with natsClient.url" -}}
{{- end -}}
{{- if and .Values.hubble.tls.enabled (or (not .Values.hubble.server) (hasPrefix "unix:" .Values.hubble.server)) -}}
{{- fail "there is no TLS on Hubble's socket: set hubble.server=tls://$(HOST_IP):4244, or hubble.tls.enabled=false" -}}
{{- end -}}
{{- if hasPrefix "unix:" .Values.hubble.server -}}
{{- fail "say with cilium.runPath in which folder Cilium makes hubble.sock, and leave out hubble.server: another socket is not mounted" -}}
{{- end -}}
{{- if and (hasPrefix "tls:" .Values.hubble.server) (not .Values.hubble.tls.enabled) -}}
{{- fail "hubble.server begins with tls://: set hubble.tls.enabled=true and hubble.tls.secretName" -}}
{{- end -}}
{{- if and .Values.hub.http.userHeader (not .Values.hub.http.trustedProxies) -}}
{{- fail "hub.http.userHeader counts only from proxies you name: set hub.http.trustedProxies" -}}
{{- end -}}
{{- if and .Values.hub.http.trustedProxies (not .Values.hub.http.userHeader) -}}
{{- fail "the proxies of hub.http.trustedProxies must name the user: set hub.http.userHeader=X-Forwarded-User" -}}
{{- end -}}
{{- include "renat.validateHTTP" (list "agent.http" .Values.agent.http) -}}
{{- include "renat.validateHTTP" (list "hub.http" .Values.hub.http) -}}
{{- include "renat.validateTLS" (list "agent.observer.tls" .Values.agent.observer.tls) -}}
{{- include "renat.validateTLS" (list "hubble.tls" .Values.hubble.tls) -}}
{{- include "renat.validateTLS" (list "natsClient.tls" $client.tls) -}}
{{- end -}}

{{- define "renat.validateHTTP" -}}
{{- $path := index . 0 -}}
{{- $http := index . 1 -}}
{{- if and $http.tokenSecret (not $http.tls.enabled) -}}
{{- fail (printf "a token is not taken over an open connection: set %s.tls.enabled=true, or leave out %s.tokenSecret" $path $path) -}}
{{- end -}}
{{- include "renat.validateTLS" (list (printf "%s.tls" $path) $http.tls) -}}
{{- end -}}

{{- define "renat.validateTLS" -}}
{{- $path := index . 0 -}}
{{- $tls := index . 1 -}}
{{- if and $tls.enabled (not $tls.secretName) (not $tls.issuerRef) -}}
{{- fail (printf "%s needs a certificate: set %s.secretName, or %s.issuerRef.name for one from cert-manager" $path $path $path) -}}
{{- end -}}
{{- if and $tls.secretName $tls.issuerRef -}}
{{- fail (printf "%s.secretName is a certificate you have, and %s.issuerRef makes one: set one of them" $path $path) -}}
{{- end -}}
{{- if and (not $tls.enabled) (or $tls.secretName $tls.issuerRef) -}}
{{- fail (printf "the certificate of %s has no effect: set %s.enabled=true" $path $path) -}}
{{- end -}}
{{- end -}}
