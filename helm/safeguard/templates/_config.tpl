{{/*
The configuration's two halves. What a reload takes up and what needs a restart go to different ConfigMaps: a change of the first is taken
up by the running sidecar, a change of the second changes the pod's checksum and so restarts it (docs/configuration.md has the list).
*/}}

{{/* Sections that a running sidecar takes up. */}}
{{- define "safeguard.reloaded" -}}
{{- $config := deepCopy .Values.config -}}
{{- $sections := pick $config "phi" "integrity" "key_sources" "roles" "clients" "tools" "resources" "prompts" "methods" -}}
{{- with pick (default dict $config.keys) "phi" "integrity" -}}{{- $_ := set $sections "keys" . -}}{{- end -}}
{{- with dig "authentication" "jwt" "previous" "" $config -}}{{- $_ := set $sections "authentication" (dict "jwt" (dict "previous" .)) -}}{{- end -}}
{{- $tls := default dict $config.tls -}}
{{- $_ := set $tls "cert_file" (printf "/run/safeguard/tls/%s" (ternary "tls.crt" "cert.pem" (eq .Values.tls.source "csi"))) -}}
{{- $_ := set $tls "key_file" (printf "/run/safeguard/tls/%s" (ternary "tls.key" "key.pem" (eq .Values.tls.source "csi"))) -}}
{{- $_ := set $tls "ca_file" (include "safeguard.caFile" .) -}}
{{- if .Values.tls.crl.configMap -}}{{- $_ := set $tls "crl_file" "/run/safeguard/clients/crl.pem" -}}{{- end -}}
{{- $_ := set $sections "tls" $tls -}}
{{- toYaml $sections -}}
{{- end -}}

{{/* Sections that need a restart, with what the chart decides. */}}
{{- define "safeguard.fixed" -}}
{{- $config := deepCopy .Values.config -}}
{{- $sections := omit $config "phi" "integrity" "key_sources" "roles" "clients" "tools" "resources" "prompts" "methods" "keys" "tls" -}}
{{- with pick (default dict $config.keys) "audit" -}}{{- $_ := set $sections "keys" . -}}{{- end -}}
{{- $listen := default dict $config.listen -}}
{{- $_ := set $listen "address" (printf "0.0.0.0:%d" (int .Values.service.targetPort)) -}}
{{- if .Values.account.enabled -}}
{{- $service := include "safeguard.fullname" . -}}
{{- $hosts := default (list $service (printf "%s.%s.svc" $service .Release.Namespace)) .Values.account.hosts -}}
{{- $_ := set $listen "account" (dict "address" (printf "0.0.0.0:%d" (int .Values.account.targetPort)) "hosts" $hosts) -}}
{{- end -}}
{{- $_ := set $sections "listen" $listen -}}
{{- with $sections.authentication -}}{{- $_ := set $sections "authentication" (set (deepCopy .) "jwt" (omit (default dict .jwt) "previous")) -}}{{- end -}}
{{- $host := ternary "127.0.0.1" "0.0.0.0" (eq .Values.admin.exposure "loopback") -}}
{{- $_ := set $sections "admin" (dict "address" (printf "%s:%d" $host (int .Values.admin.port))) -}}
{{- $upstream := default dict $config.upstream -}}
{{- $_ := set $upstream "url" (printf "http://127.0.0.1:%d%s" (int .Values.upstream.port) .Values.upstream.path) -}}
{{- $_ := set $sections "upstream" $upstream -}}
{{- if gt (int .Values.replicaCount) 1 -}}
{{- $_ := set $sections "sessions" (set (default dict $config.sessions) "replicas" (int .Values.replicaCount)) -}}
{{- end -}}
{{- $_ := set $sections "state" (dict "directory" "/var/lib/safeguard/state") -}}
{{- $audit := default dict $config.audit_logging -}}
{{- $spool := default dict $audit.spool -}}
{{- $_ := set $spool "directory" "/var/lib/safeguard/spool" -}}
{{- $_ := set $audit "spool" $spool -}}
{{- $_ := set $sections "audit_logging" $audit -}}
{{- toYaml $sections -}}
{{- end -}}

{{- define "safeguard.caFile" -}}
{{- if eq .Values.tls.clientCa.source "bundled" -}}
/run/safeguard/tls/{{ ternary "ca.crt" "ca.pem" (eq .Values.tls.source "csi") }}
{{- else -}}
/run/safeguard/clients/ca.pem
{{- end -}}
{{- end -}}

{{/* The most that the spool may take, in bytes. */}}
{{- define "safeguard.spoolMax" -}}
{{- dig "audit_logging" "spool" "max_bytes" 10737418240 .Values.config | int64 -}}
{{- end -}}

{{/* A volume's size in bytes, of a quantity with a binary or decimal suffix. */}}
{{- define "safeguard.bytes" -}}
{{- $units := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "" 1 -}}
{{- $unit := regexFind "[A-Za-z]*$" . -}}
{{- mul (trimSuffix $unit . | int64) (get $units $unit | int64) -}}
{{- end -}}

{{/* The places below a value where a secret stands in clear, one a line: by the member's name, or a URL with a password in it. (list path value) */}}
{{- define "safeguard.inClear" -}}
{{- $path := index . 0 -}}
{{- $value := index . 1 -}}
{{- if kindIs "map" $value -}}
{{- range $name, $inner := $value -}}{{- include "safeguard.inClear" (list (printf "%s.%s" $path $name) $inner) -}}{{- end -}}
{{- else if kindIs "slice" $value -}}
{{- range $index, $inner := $value -}}{{- include "safeguard.inClear" (list (printf "%s[%d]" $path $index) $inner) -}}{{- end -}}
{{- else if $value -}}
{{- $text := toString $value -}}
{{- $isSecret := regexMatch "\\.(secret|.*_secret|password|passphrase|pin|token|secret_id|secret_key|.*secret.*key.*)$" $path -}}
{{- $isReference := regexMatch "^[$][{](file:/[^{}]+|[A-Za-z_][A-Za-z0-9_]*)[}]$" $text -}}
{{- if or (and $isSecret (not $isReference)) (regexMatch "://[^/@]*:[^/@]+@" $text) -}}{{- printf "%s\n" $path -}}{{- end -}}
{{- end -}}
{{- end -}}
