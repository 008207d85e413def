{{/*
What is made once and kept over upgrades. Several templates need the same random values, and templates run in no
promised order, so the first that asks makes them and leaves them under `.Values.generated`, which is no value of the
chart.
*/}}
{{- define "gitops-reverser.generate" -}}
{{- if not (hasKey .Values "generated") }}
{{- $generated := dict }}
{{- if not .Values.certificate.existingSecret }}
{{- $_ := set $generated "certificate" (include "gitops-reverser.makeCertificate" . | fromYaml) }}
{{- end }}
{{- $_ := set $generated "pathToken" (include "gitops-reverser.makePathToken" .) }}
{{- $_ := set $generated "redactionKey" (include "gitops-reverser.makeRedactionKey" .) }}
{{- $_ := set .Values "generated" $generated }}
{{- end }}
{{- end }}

{{/* Lower case, because the apiserver wants each segment of a webhook's path to be an RFC 1123 subdomain. */}}
{{- define "gitops-reverser.makePathToken" -}}
{{- if .Values.pathToken.value }}
{{- .Values.pathToken.value }}
{{- else }}
{{- $old := lookup "v1" "Secret" .Release.Namespace (include "gitops-reverser.pathTokenSecretName" .) }}
{{- $kept := dig "data" "token" "" (default dict $old) }}
{{- if $kept }}{{ b64dec $kept }}{{ else }}{{ randAlphaNum 40 | lower }}{{ end }}
{{- end }}
{{- end }}

{{/* 64 letters and digits are 381 bits. */}}
{{- define "gitops-reverser.makeRedactionKey" -}}
{{- $old := lookup "v1" "Secret" .Release.Namespace (include "gitops-reverser.redactionKeySecretName" .) }}
{{- $kept := dig "data" "key" "" (default dict $old) }}
{{- if $kept }}{{ b64dec $kept }}{{ else }}{{ randAlphaNum 64 }}{{ end }}
{{- end }}

{{/* The names and addresses that the certificate must be valid for, comma-separated. */}}
{{- define "gitops-reverser.certificateHosts" -}}
{{- $service := include "gitops-reverser.webhookServiceName" . }}
{{- $hosts := list
  (printf "%s.%s.svc" $service .Release.Namespace)
  (printf "%s.%s.svc.cluster.local" $service .Release.Namespace)
  (printf "%s.%s" $service .Release.Namespace)
  $service }}
{{- with .Values.webhook.url }}
{{- $host := get (urlParse .) "hostname" }}
{{- if not $host }}{{ fail (printf "webhook.url %q has no host" .) }}{{ end }}
{{- $hosts = append $hosts $host }}
{{- end }}
{{- join "," $hosts }}
{{- end }}

{{/*
Yields crt, key, ca (PEM), caBundle (what the apiserver trusts), hosts and renewAfter (Unix seconds).
The Secret's annotations say what the certificate is good for, because templates can't parse one.
A new certificate has a new CA, whose key is thrown away. The old CA stays in the bundle until the next upgrade: the
kubelet brings the new certificate to the sidecar only a minute later.
*/}}
{{- define "gitops-reverser.makeCertificate" -}}
{{- $hosts := include "gitops-reverser.certificateHosts" . }}
{{- $days := int .Values.certificate.validityDays }}
{{- $old := default dict (lookup "v1" "Secret" .Release.Namespace (include "gitops-reverser.certificateSecretName" .)) }}
{{- $data := dig "data" dict $old }}
{{- $notes := dig "metadata" "annotations" dict $old | default dict }}
{{- $oldCa := get $data "ca.crt" | b64dec }}
{{- $renewAfter := get $notes "configbutler.ai/certificate-renew-after" | int64 }}
{{- $usable := and $oldCa (get $data "tls.crt") (get $data "tls.key")
  (eq (get $notes "configbutler.ai/certificate-hosts") $hosts)
  (gt $renewAfter (now | unixEpoch | int64)) }}
{{- if $usable }}
{{- dict "crt" (get $data "tls.crt" | b64dec) "key" (get $data "tls.key" | b64dec) "ca" $oldCa "caBundle" $oldCa
  "hosts" $hosts "renewAfter" (toString $renewAfter) | toYaml }}
{{- else }}
{{- $ips := list }}
{{- $names := list }}
{{- range splitList "," $hosts }}
{{- if or (contains ":" .) (regexMatch "^[0-9]+(\\.[0-9]+){3}$" .) }}
{{- $ips = append $ips . }}
{{- else }}
{{- $names = append $names . }}
{{- end }}
{{- end }}
{{- $ca := genCA (printf "%s CA" (include "gitops-reverser.webhookServiceName" .)) $days }}
{{- $signed := genSignedCert (first $names | trunc 64) $ips $names $days $ca }}
{{- $renew := add (now | unixEpoch | int64) (mul $days 77760) }}
{{- dict "crt" $signed.Cert "key" $signed.Key "ca" $ca.Cert "caBundle" (printf "%s%s" $ca.Cert $oldCa)
  "hosts" $hosts "renewAfter" (toString $renew) | toYaml }}
{{- end }}
{{- end }}

{{/* "true" or nothing: cert-manager's cainjector says what the apiserver trusts. */}}
{{- define "gitops-reverser.caInjected" -}}
{{- range $name, $_ := .Values.webhook.annotations }}
{{- if hasPrefix "cert-manager.io/inject-" $name }}true{{ end }}
{{- end }}
{{- end }}

{{/* PEM of what the apiserver trusts. */}}
{{- define "gitops-reverser.caBundle" -}}
{{- if .Values.certificate.caBundle }}
{{- .Values.certificate.caBundle }}
{{- else if .Values.certificate.existingSecret }}
{{- $secret := default dict (lookup "v1" "Secret" .Release.Namespace .Values.certificate.existingSecret) }}
{{- $ca := dig "data" "ca.crt" "" $secret | b64dec }}
{{- if not $ca }}
{{- fail "certificate.existingSecret: set certificate.caBundle or cert-manager's webhook.annotations, or put ca.crt into the Secret before installing" }}
{{- end }}
{{- $ca }}
{{- else }}
{{- include "gitops-reverser.generate" . }}
{{- .Values.generated.certificate.caBundle }}
{{- end }}
{{- end }}

{{- define "gitops-reverser.pathToken" -}}
{{- include "gitops-reverser.generate" . }}
{{- .Values.generated.pathToken }}
{{- end }}

{{- define "gitops-reverser.redactionKey" -}}
{{- include "gitops-reverser.generate" . }}
{{- .Values.generated.redactionKey }}
{{- end }}
