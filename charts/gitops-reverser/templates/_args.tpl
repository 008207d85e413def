{{- define "gitops-reverser.reverserArgs" -}}
{{- with .Values.reverser -}}
- --discovery-refresh={{ .discoveryRefresh }}
- --watch-all={{ .watchAll }}
{{- range .discoveryExclude }}
- --discovery-exclude={{ . }}
{{- end }}
{{- with .redactionKeyFile }}
- --redaction-key-file={{ . }}
{{- end }}
{{- range .sensitiveResources }}
- --sensitive-resources={{ . }}
{{- end }}
- --write-cluster-made={{ .writeClusterMade }}
- --git-batch-max-files={{ int64 .gitBatchMaxFiles }}
- --git-batch-max-bytes-mib={{ int64 .gitBatchMaxBytesMib }}
- --git-batch-max-wait-sec={{ int64 .gitBatchMaxWaitSec }}
- --git-batch-linger-ms={{ int64 .gitBatchLingerMs }}
- --git-fetch-max-mib={{ int64 .gitFetchMaxMib }}
- --drift-check-interval={{ .driftCheckInterval }}
- --workers-max-global={{ int64 .workersMaxGlobal }}
- --workers-max-per-repo={{ int64 .workersMaxPerRepo }}
- --allow-file-urls={{ .allowFileUrls }}
- --work-dir={{ .workDir }}
- --grpc-bind-address={{ .grpcBindAddress }}
- --introspection-bind-address={{ .introspectionBindAddress }}
- --leader-elect={{ include "gitops-reverser.leaderElect" $ | default "false" }}
{{- if include "gitops-reverser.leaderElect" $ }}
- --leader-elect-lease={{ include "gitops-reverser.leaseName" $ }}
{{- end }}
- --metrics-bind-address={{ .metricsBindAddress }}
- --health-probe-bind-address={{ .healthProbeBindAddress }}
{{- with .kubeconfig }}
- --kubeconfig={{ . }}
{{- end }}
- --log-format={{ .logFormat }}
- --log-level={{ .logLevel }}
{{- end }}
{{- range .Values.extraArgs.reverser }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "gitops-reverser.webhookArgs" -}}
{{- with .Values.webhook -}}
- --bind-address={{ .bindAddress }}
- --tls-cert-file={{ .tlsCertFile }}
- --tls-private-key-file={{ .tlsPrivateKeyFile }}
{{- with .clientCaFile }}
- --client-ca-file={{ . }}
{{- end }}
{{- if include "gitops-reverser.pathTokenEnabled" $ }}
- --path-token-file={{ .pathTokenFile }}
{{- end }}
- --reverser-endpoint={{ include "gitops-reverser.reverserEndpoint" $ }}
- --metrics-bind-address={{ .metricsBindAddress }}
- --health-probe-bind-address={{ .healthProbeBindAddress }}
- --log-format={{ .logFormat }}
- --log-level={{ .logLevel }}
{{- end }}
{{- range .Values.extraArgs.webhook }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* The same for both containers, but for the port's name. */}}
{{- define "gitops-reverser.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: {{ .port }}}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 2
{{- end }}
