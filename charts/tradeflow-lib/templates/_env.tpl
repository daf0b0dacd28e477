{{- /* The environment of a service: what all have, what is its own, then `settings` and `extraEnv`, which come last and win. */ -}}

{{- define "tradeflow-lib.variable" -}}
{{- $name := index . 0 }}{{ $value := index . 1 }}
- name: {{ $name }}
  value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}
{{- end }}

{{- /* (list . "tradeflow-lib.env"): the variables of a template without those that `extraEnv` has, which come last. None may
       be there twice: the API server refuses that where it is told what to apply, as Helm 4 tells it. */ -}}
{{- define "tradeflow-lib.withExtraEnv" -}}
{{- $root := index . 0 }}{{ $own := fromYamlArray (include (index . 1) $root) }}
{{- $extra := $root.Values.extraEnv | default list }}
{{- $names := list }}
{{- range $extra }}{{ $names = append $names .name }}{{ end }}
{{- range $own }}
{{- if not (has .name $names) }}
{{ list . | toYaml }}
{{- end }}
{{- end }}
{{- with $extra }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tradeflow-lib.env" -}}
{{- $facts := fromYaml (include "tradeflow-lib.facts" .) }}
{{- $prefix := $facts.envPrefix }}
{{- $root := . }}
{{- range $port, $_ := $facts.ports }}
{{ include "tradeflow-lib.variable" (list (printf "%s%s_HOST" $prefix (upper $port)) "0.0.0.0") | trim }}
{{- end }}
{{- with $facts.metricsPort }}
{{ include "tradeflow-lib.variable" (list (printf "%sMETRICS_HOST" $prefix) "0.0.0.0") | trim }}
{{ include "tradeflow-lib.variable" (list (printf "%sMETRICS_PORT" $prefix) .) | trim }}
{{- end }}
{{ include "tradeflow-lib.variable" (list (printf "%sISSUER" $prefix) (include "tradeflow-lib.required" (list . "issuer" "the exact `iss` of all tokens, which is the gateway's public URL"))) | trim }}
{{ include "tradeflow-lib.variable" (list (printf "%sUNREADY_SECONDS" $prefix) .Values.drain.unreadySeconds) | trim }}
{{ include "tradeflow-lib.secretEnv" (list . "broker" "BROKER_URL" "where events are, such as kafka://user:password@kafka:9092") | trim }}
{{- with include "tradeflow-lib.shared" (list . "tracesUrl") }}
{{ include "tradeflow-lib.variable" (list (printf "%sTRACES_URL" $prefix) (tpl . $root)) | trim }}
{{- end }}
{{- if $facts.publishes }}
{{- with include "tradeflow-lib.shared" (list . "schemaRegistryUrl") }}
{{ include "tradeflow-lib.variable" (list (printf "%sSCHEMA_REGISTRY_URL" $prefix) (tpl . $root)) | trim }}
{{- end }}
{{- end }}
{{- if $facts.database }}
{{ include "tradeflow-lib.secretEnv" (list . "database" "DATABASE_URL" "where the tables are, such as mysql://user:password@mysql:3306/name") | trim }}
{{ include "tradeflow-lib.variable" (list (printf "%sMIGRATE_ON_START" $prefix) .Values.migrations.onStart) | trim }}
{{ include "tradeflow-lib.variable" (list (printf "%sJWKS_URL" $prefix) (.Values.jwksUrl | default (printf "http://%s:8080/.well-known/jwks.json" (include "tradeflow-lib.peer" (list . "gateway"))))) | trim }}
{{- end }}
{{- include (printf "%s.env" .Chart.Name) . }}
{{- include "tradeflow-lib.grpcTlsEnv" . }}
{{- range $name, $value := .Values.settings }}
{{ include "tradeflow-lib.variable" (list (printf "%s%s" $prefix (upper $name)) $value) | trim }}
{{- end }}
{{- end }}

{{- /* Mutual TLS between the services: one Secret of cert-manager's form (tls.crt, tls.key, ca.crt) serves both sides. */ -}}
{{- define "tradeflow-lib.grpcTlsEnv" -}}
{{- $facts := fromYaml (include "tradeflow-lib.facts" .) }}
{{- $prefix := $facts.envPrefix }}
{{- with .Values.grpcTls }}
{{- if .existingSecret }}
{{- if $facts.ports.grpc }}
{{ include "tradeflow-lib.variable" (list (printf "%sGRPC_SERVER_CERTIFICATE_FILE" $prefix) "/etc/tradeflow/tls/tls.crt") | trim }}
{{ include "tradeflow-lib.variable" (list (printf "%sGRPC_SERVER_KEY_FILE" $prefix) "/etc/tradeflow/tls/tls.key") | trim }}
{{- if .mutual }}
{{ include "tradeflow-lib.variable" (list (printf "%sGRPC_SERVER_CLIENT_CA_FILE" $prefix) "/etc/tradeflow/tls/ca.crt") | trim }}
{{- end }}
{{- end }}
{{- if $facts.callsGrpc }}
{{ include "tradeflow-lib.variable" (list (printf "%sGRPC_CLIENT_CA_FILE" $prefix) "/etc/tradeflow/tls/ca.crt") | trim }}
{{- if .mutual }}
{{ include "tradeflow-lib.variable" (list (printf "%sGRPC_CLIENT_CERTIFICATE_FILE" $prefix) "/etc/tradeflow/tls/tls.crt") | trim }}
{{ include "tradeflow-lib.variable" (list (printf "%sGRPC_CLIENT_KEY_FILE" $prefix) "/etc/tradeflow/tls/tls.key") | trim }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
