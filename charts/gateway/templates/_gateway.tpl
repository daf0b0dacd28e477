{{- define "gateway.facts" -}}
envPrefix: TRADEFLOW_GATEWAY_
ports: {http: 8080}
# Strangers come to the other one.
metricsPort: 8083
public: true
database: false
publishes: false
consumerGroup: false
callsGrpc: true
askedByOperator: true
secrets: [broker, redis]
callers:
  # The public keys, and service tokens.
  - {name: ledger, ports: [http]}
  - {name: orders, ports: [http]}
calls:
  - {name: orders, ports: [8081, 9091]}
  - {name: ledger, ports: [8082, 9090]}
{{- end }}

{{- define "gateway.env" -}}
{{- $keys := .Values.keys.existingSecret | required "gateway: set keys.existingSecret, the Secret of private keys that sign tokens, such as a JWTKeySet writes" }}
{{- $clients := .Values.clients.existingSecret | required "gateway: set clients.existingSecret, the Secret that says who may ask for service tokens" }}
{{- $ledger := include "tradeflow-lib.peer" (list . "ledger") }}
{{- $orders := include "tradeflow-lib.peer" (list . "orders") }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_GATEWAY_KEYS_FOLDER" "/etc/tradeflow/keys") | trim }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_GATEWAY_ORDERS_HTTP_URL" (printf "http://%s:8081" $orders)) | trim }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_GATEWAY_LEDGER_HTTP_URL" (printf "http://%s:8082" $ledger)) | trim }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_GATEWAY_ORDERS_GRPC_TARGET" (printf "dns:///%s-headless:9091" $orders)) | trim }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_GATEWAY_LEDGER_GRPC_TARGET" (printf "dns:///%s-headless:9090" $ledger)) | trim }}
{{ include "tradeflow-lib.secretEnv" (list . "redis" "REDIS_URL" "where limits and history are, such as redis://redis:6379/0") | trim }}
{{- if .Values.rateLimits.existingConfigMap }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_GATEWAY_RATE_LIMITS_FILE" "/etc/tradeflow/rate-limits/rate-limits.json") | trim }}
{{- end }}
- name: TRADEFLOW_GATEWAY_CLIENTS
  valueFrom:
    secretKeyRef:
      name: {{ tpl $clients . | quote }}
      key: {{ .Values.clients.existingSecretKey | quote }}
{{- end }}
