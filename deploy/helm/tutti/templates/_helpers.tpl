{{- define "tutti.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What a selector may name: it can never change. */}}
{{- define "tutti.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .role }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "tutti.labels" -}}
{{ include "tutti.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "tutti.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "tutti.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "tutti.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/* Everything that is missing, at once. */}}
{{- define "tutti.check" -}}
{{- $missing := list -}}
{{- if not .Values.image.repository -}}
{{- $missing = append $missing "image.repository: the image that you built from deploy/Dockerfile" -}}
{{- end -}}
{{- range $name, $what := dict
  "database" "a Secret with the address of PostgreSQL (postgresql://…)"
  "redis" "a Secret with the address of Redis (redis://…)"
  "signingKeys" "a Secret with the private keys that sign access tokens (tutti keygen)"
  "serviceKeys" "a Secret with the keys by which the parts name themselves (gateway:…,room:…)" -}}
{{- if not (index $.Values $name).existingSecret -}}
{{- $missing = append $missing (printf "%s.existingSecret: %s" $name $what) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- $missing = append $missing "ingress.host: the name that browsers use" -}}
{{- end -}}
{{- if $missing -}}
{{- fail (printf "\n\nTutti needs values that are not set:\n  %s\nThe chart makes no secrets; its README.md says how to." (join "\n  " $missing)) -}}
{{- end -}}
{{- end -}}

{{- define "tutti.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
# So that mounted secrets can be read, and by nobody else.
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "tutti.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "tutti.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .from.existingSecret }}
      key: {{ .from.key }}
{{- end -}}

{{/* How another part is found: every address behind the name is used. */}}
{{- define "tutti.partUrl" -}}
{{- $scheme := ternary "https" "http" (not (empty .root.Values.grpcTls.existingSecret)) -}}
{{- printf "%s://%s-%s.%s.svc.%s:%d" $scheme (include "tutti.fullname" .root) .part .root.Release.Namespace .root.Values.clusterDomain (include "tutti.port" .part | int) -}}
{{- end -}}

{{- define "tutti.port" -}}
{{- get (dict "gateway" "8000" "auth" "50051" "room" "50052") . -}}
{{- end -}}

{{/* The end of a Pod: preStop, draining (a gateway's), and what the program promises after it, with some to spare. */}}
{{- define "tutti.graceSeconds" -}}
{{- $values := index .root.Values .role -}}
{{- $drain := ternary (int .root.Values.drainSeconds) 0 (eq .role "gateway") -}}
{{- add (int $values.preStopSeconds) $drain 10 -}}
{{- end -}}

{{/* Where people open it, as far as that is known. */}}
{{- define "tutti.publicUrl" -}}
{{- if .Values.publicUrl }}
{{- .Values.publicUrl }}
{{- else if .Values.ingress.enabled }}
{{- printf "%s://%s" (ternary "http" "https" (empty .Values.ingress.tlsSecret)) .Values.ingress.host }}
{{- end }}
{{- end -}}
