{{/* The sidecar: a native one, so that it is there before the MCP server starts and after it has ended. */}}
{{- define "safeguard.sidecar" -}}
{{- $values := .Values -}}
name: safeguard
restartPolicy: Always
image: {{ include "safeguard.image" (list $values.image .Chart.AppVersion) }}
imagePullPolicy: {{ $values.image.pullPolicy }}
args: [run, --config, /etc/safeguard]
ports:
  - { name: mcp, containerPort: {{ $values.service.targetPort }}, protocol: TCP }
  {{- if $values.account.enabled }}
  - { name: account, containerPort: {{ $values.account.targetPort }}, protocol: TCP }
  {{- end }}
  {{- if eq $values.admin.exposure "pod" }}
  - { name: metrics, containerPort: {{ $values.admin.port }}, protocol: TCP }
  {{- end }}
env:
  - { name: RUST_LOG, value: {{ $values.sidecar.logLevel }} }
  {{- with $values.sidecar.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.sidecar.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
# None of them asks for the MCP server: it starts only after this one has, and would be waited for for ever.
startupProbe:
  {{- include "safeguard.probe" (list . "/livez") | nindent 2 }}
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: {{ $values.sidecar.probes.startupSeconds }}
livenessProbe:
  {{- include "safeguard.probe" (list . "/livez") | nindent 2 }}
  periodSeconds: {{ $values.sidecar.probes.periodSeconds }}
  timeoutSeconds: 5
  failureThreshold: {{ $values.sidecar.probes.failureThreshold }}
readinessProbe:
  {{- include "safeguard.probe" (list . "/readyz") | nindent 2 }}
  periodSeconds: {{ $values.sidecar.probes.periodSeconds }}
  timeoutSeconds: 5
  failureThreshold: {{ $values.sidecar.probes.failureThreshold }}
lifecycle:
  preStop:
    exec:
      command: [/safeguard, drain, --socket, /var/lib/safeguard/state/control.sock]
resources:
  {{- $resources := deepCopy $values.sidecar.resources }}
  {{- if eq $values.persistence.type "emptyDir" }}
  {{- /* An emptyDir counts as the pod's ephemeral storage: with a smaller limit the pod would be evicted as its log grows. */}}
  {{- $_ := set $resources "limits" (merge (dict "ephemeral-storage" $values.persistence.size) (default dict $resources.limits)) }}
  {{- end }}
  {{- toYaml $resources | nindent 2 }}
securityContext:
  {{- include "safeguard.securityContext" (list . $values.sidecar.securityContext) | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  # Whole directories: a single file (subPath) would never be renewed.
  - { name: config, mountPath: /etc/safeguard, readOnly: true }
  - { name: tls, mountPath: /run/safeguard/tls, readOnly: true }
  {{- if include "safeguard.clientVolume" . }}
  - { name: clients, mountPath: /run/safeguard/clients, readOnly: true }
  {{- end }}
  {{- if ne $values.secrets.source "none" }}
  - { name: secrets, mountPath: /run/safeguard/secrets, readOnly: true }
  {{- end }}
  {{- if $values.serviceAccount.token.enabled }}
  - { name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true }
  {{- end }}
  - { name: audit, mountPath: /var/lib/safeguard }
  {{- with $values.sidecar.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* How the kubelet asks: over HTTP where the port is on the pod's address, else by the binary itself. (list $ path) */}}
{{- define "safeguard.probe" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.admin.exposure "pod" -}}
httpGet: { path: {{ index . 1 }}, port: {{ $root.Values.admin.port }} }
{{- else -}}
exec: { command: [/safeguard, selfcheck, --address, "127.0.0.1:{{ $root.Values.admin.port }}"{{ if eq (index . 1) "/livez" }}, --live{{ end }}] }
{{- end -}}
{{- end -}}

{{/* The MCP server, as it is: it has no port of the pod, and knows nothing of the sidecar. */}}
{{- define "safeguard.upstream" -}}
{{- $upstream := .Values.upstream -}}
name: upstream
image: {{ include "safeguard.image" (list $upstream.image "") }}
imagePullPolicy: {{ $upstream.image.pullPolicy }}
{{- range $key := list "command" "args" "env" "envFrom" "startupProbe" "livenessProbe" "readinessProbe" }}
{{- with get $upstream $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- if $upstream.preStopSleepSeconds }}
lifecycle:
  preStop:
    sleep: { seconds: {{ $upstream.preStopSleepSeconds }} }
{{- end }}
resources:
  {{- toYaml $upstream.resources | nindent 2 }}
securityContext:
  {{- include "safeguard.securityContext" (list . $upstream.securityContext) | nindent 2 }}
{{- if or $upstream.tmp.enabled $upstream.volumeMounts }}
volumeMounts:
  {{- if $upstream.tmp.enabled }}
  - { name: upstream-tmp, mountPath: /tmp }
  {{- end }}
  {{- with $upstream.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Not empty where clients' authorities or revocation lists come from an object of their own. */}}
{{- define "safeguard.clientVolume" -}}
{{- if or (ne .Values.tls.clientCa.source "bundled") .Values.tls.crl.configMap -}}yes{{- end -}}
{{- end -}}

{{- define "safeguard.volumes" -}}
{{- $values := .Values -}}
{{- $tls := $values.tls -}}
{{- $name := include "safeguard.fullname" . -}}
- name: config
  projected:
    defaultMode: 0444
    sources:
      {{- with $values.existingConfigMap }}
      - configMap: { name: {{ . }} }
      {{- end }}
      # After it: of files with one name the last one stays.
      - configMap: { name: {{ $name }}-fixed }
      - configMap: { name: {{ $name }}-policy }
- name: tls
  {{- if eq $tls.source "csi" }}
  csi:
    driver: {{ $tls.csi.driver }}
    readOnly: true
    {{- with $tls.csi.volumeAttributes }}
    volumeAttributes:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  {{- else }}
  secret:
    secretName: {{ include "safeguard.tlsSecret" . }}
    defaultMode: 0440
    items:
      - { key: {{ ternary "tls.crt" $tls.existingSecret.certKey (eq $tls.source "certManager") }}, path: cert.pem }
      - { key: {{ ternary "tls.key" $tls.existingSecret.keyKey (eq $tls.source "certManager") }}, path: key.pem }
      {{- if eq $tls.clientCa.source "bundled" }}
      - { key: {{ $tls.clientCa.key }}, path: ca.pem }
      {{- end }}
  {{- end }}
{{- if include "safeguard.clientVolume" . }}
- name: clients
  projected:
    defaultMode: 0444
    sources:
      {{- if ne $tls.clientCa.source "bundled" }}
      - {{ $tls.clientCa.source }}:
          name: {{ $tls.clientCa.name }}
          items: [{ key: {{ $tls.clientCa.key }}, path: ca.pem }]
      {{- end }}
      {{- with $tls.crl.configMap }}
      - configMap:
          name: {{ . }}
          items: [{ key: {{ $tls.crl.key }}, path: crl.pem }]
      {{- end }}
{{- end }}
{{- if eq $values.secrets.source "csi" }}
- name: secrets
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes: { secretProviderClass: {{ include "safeguard.secretProviderClass" . }} }
{{- else if ne $values.secrets.source "none" }}
- name: secrets
  secret: { secretName: {{ include "safeguard.secretName" . }}, defaultMode: 0440 }
{{- end }}
{{- if $values.serviceAccount.token.enabled }}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: {{ $values.serviceAccount.token.expirationSeconds }}
          {{- with $values.serviceAccount.token.audience }}
          audience: {{ . | quote }}
          {{- end }}
{{- end }}
{{- if eq $values.persistence.type "emptyDir" }}
- name: audit
  emptyDir: { sizeLimit: {{ $values.persistence.size }} }
{{- else if $values.persistence.existingClaim }}
- name: audit
  persistentVolumeClaim: { claimName: {{ $values.persistence.existingClaim }} }
{{- end }}
{{- if $values.upstream.tmp.enabled }}
- name: upstream-tmp
  emptyDir: { sizeLimit: {{ $values.upstream.tmp.sizeLimit }} }
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The values' affinity; replicas keep to different nodes where they can, unless the values say otherwise. */}}
{{- define "safeguard.affinity" -}}
{{- $apart := dict "weight" 100 "podAffinityTerm" (dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" (include "safeguard.selector" . | fromYaml))) -}}
{{- $default := dict -}}
{{- if gt (int .Values.replicaCount) 1 -}}
{{- $_ := set $default "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list $apart)) -}}
{{- end -}}
{{- toYaml (merge dict .Values.affinity $default) -}}
{{- end -}}
