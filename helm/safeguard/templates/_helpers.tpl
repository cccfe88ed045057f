{{/* The chart's part of the names. */}}
{{- define "safeguard.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The objects' name: the release's, with the chart's where it is not in it. At most 52 characters, so that suffixes and a pod's hash fit. */}}
{{- define "safeguard.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "safeguard.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "safeguard.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pod; never changes in the life of a release. */}}
{{- define "safeguard.selector" -}}
app.kubernetes.io/name: {{ include "safeguard.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "safeguard.labels" -}}
{{ include "safeguard.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* name, namespace and labels of an object: (list $ "suffix") */}}
{{- define "safeguard.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "safeguard.fullname" $root }}{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "safeguard.labels" $root | nindent 2 }}
{{- end -}}

{{- define "safeguard.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "safeguard.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* An image's reference: (list image default-tag) */}}
{{- define "safeguard.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default (index . 1) $image.tag }}
{{- end -}}
{{- end -}}

{{/* A security context without what OpenShift assigns: (list $ context) */}}
{{- define "safeguard.securityContext" -}}
{{- $context := index . 1 -}}
{{- if (index . 0).Values.openshift.enabled -}}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- $kept := dict -}}
{{- range $key, $value := $context -}}
{{- if not (kindIs "invalid" $value) -}}{{- $_ := set $kept $key $value -}}{{- end -}}
{{- end -}}
{{- toYaml $kept -}}
{{- end -}}

{{/* The Secret with the certificate, where there is one. */}}
{{- define "safeguard.tlsSecret" -}}
{{- if eq .Values.tls.source "certManager" -}}
{{ include "safeguard.fullname" . }}-tls
{{- else -}}
{{ .Values.tls.existingSecret.name }}
{{- end -}}
{{- end -}}

{{/* The Secret whose keys become files, where there is one. */}}
{{- define "safeguard.secretName" -}}
{{- if eq .Values.secrets.source "externalSecrets" -}}
{{ include "safeguard.fullname" . }}-secrets
{{- else if eq .Values.secrets.source "existingSecret" -}}
{{ .Values.secrets.existingSecret.name }}
{{- end -}}
{{- end -}}

{{- define "safeguard.secretProviderClass" -}}
{{- default (printf "%s-secrets" (include "safeguard.fullname" .)) .Values.secrets.csi.secretProviderClass -}}
{{- end -}}

{{/* The names that the certificate is for. */}}
{{- define "safeguard.dnsNames" -}}
{{- $names := .Values.tls.certManager.dnsNames -}}
{{- if not $names -}}
{{- $service := include "safeguard.fullname" . -}}
{{- $host := dig "listen" "public_url" "" .Values.config | urlParse | dig "hostname" "" -}}
{{- $names = list $host $service (printf "%s.%s.svc" $service .Release.Namespace) | uniq -}}
{{- end -}}
{{- without $names "" | toYaml -}}
{{- end -}}
