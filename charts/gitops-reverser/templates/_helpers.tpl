{{- define "gitops-reverser.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 bytes: the longest suffix is "-metrics", and generated pod names take 11 more. */}}
{{- define "gitops-reverser.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "gitops-reverser.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gitops-reverser.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gitops-reverser.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "gitops-reverser.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of the pod that `helm test` runs. None of the selector's: no Service must lead to it. */}}
{{- define "gitops-reverser.testLabels" -}}
app.kubernetes.io/name: {{ include "gitops-reverser.name" . | trunc 58 | trimSuffix "-" }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gitops-reverser.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "gitops-reverser.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Image reference of one container: (dict "root" $ "image" .Values.image.webhook). */}}
{{- define "gitops-reverser.image" -}}
{{- $name := .image.repository }}
{{- with .root.Values.image.registry }}{{ $name = printf "%s/%s" (trimSuffix "/" .) $name }}{{ end }}
{{- if .image.digest }}
{{- printf "%s@%s" $name .image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion .image.tag) }}
{{- end }}
{{- end }}

{{/* "true" or nothing. */}}
{{- define "gitops-reverser.leaderElect" -}}
{{- $several := gt (int .Values.replicaCount) 1 }}
{{- $asked := .Values.reverser.leaderElect }}
{{- if and $several (not (kindIs "invalid" $asked)) (not $asked) }}
{{- fail "reverser.leaderElect=false needs replicaCount=1: several leaders would write over each other" }}
{{- end }}
{{- if or $several $asked }}true{{ end }}
{{- end }}

{{- define "gitops-reverser.leaseName" -}}
{{- default (include "gitops-reverser.fullname" .) .Values.reverser.leaderElectLease }}
{{- end }}

{{/* "true" or nothing. */}}
{{- define "gitops-reverser.rbacWatchAll" -}}
{{- if kindIs "invalid" .Values.rbac.watchAll }}
{{- if .Values.reverser.watchAll }}true{{ end }}
{{- else if .Values.rbac.watchAll }}true
{{- end }}
{{- end }}

{{/* The label by which the webhook's Service finds the leader. The reverser sets and takes it. */}}
{{- define "gitops-reverser.leaderLabel" -}}
configbutler.ai/role: leader
{{- end }}

{{/* The port of a "host:port" address. */}}
{{- define "gitops-reverser.port" -}}
{{- $port := regexFind "[0-9]+$" . }}
{{- if not $port }}{{ fail (printf "%q has no port" .) }}{{ end }}
{{- $port }}
{{- end }}

{{/* The folder of the unix socket that both containers mount, or nothing where the channel is TCP. */}}
{{- define "gitops-reverser.socketDir" -}}
{{- $address := .Values.reverser.grpcBindAddress }}
{{- if hasPrefix "unix:" $address }}{{ dir (regexReplaceAll "^unix:(//)?" $address "") }}{{ end }}
{{- end }}

{{- define "gitops-reverser.reverserEndpoint" -}}
{{- $address := .Values.reverser.grpcBindAddress }}
{{- if .Values.webhook.reverserEndpoint }}
{{- .Values.webhook.reverserEndpoint }}
{{- else if hasPrefix "unix:" $address }}
{{- $address }}
{{- else }}
{{- printf "http://%s" $address }}
{{- end }}
{{- end }}

{{- define "gitops-reverser.webhookServiceName" -}}
{{- printf "%s-webhook" (include "gitops-reverser.fullname" .) }}
{{- end }}

{{- define "gitops-reverser.certificateSecretName" -}}
{{- default (printf "%s-tls" (include "gitops-reverser.fullname" .)) .Values.certificate.existingSecret }}
{{- end }}

{{- define "gitops-reverser.redactionKeySecretName" -}}
{{- default (printf "%s-redaction-key" (include "gitops-reverser.fullname" .)) .Values.redactionKey.existingSecret }}
{{- end }}

{{- define "gitops-reverser.pathTokenSecretName" -}}
{{- printf "%s-path-token" (include "gitops-reverser.fullname" .) }}
{{- end }}

{{/* "true" or nothing: a URL is called as given, so nobody would know the token. */}}
{{- define "gitops-reverser.pathTokenEnabled" -}}
{{- if and .Values.pathToken.enabled (not .Values.webhook.url) }}true{{ end }}
{{- end }}
