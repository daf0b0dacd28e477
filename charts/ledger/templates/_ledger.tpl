{{- define "ledger.facts" -}}
envPrefix: TRADEFLOW_LEDGER_
ports: {http: 8082, grpc: 9090}
database: true
publishes: true
consumerGroup: true
callsGrpc: true
askedByOperator: true
secrets: [database, broker]
callers:
  - {name: gateway, ports: [http, grpc]}
  - {name: orders, ports: [grpc]}
  - {name: ledger, ports: [grpc]}
calls:
  - {name: gateway, ports: [8080]}
  - {name: ledger, ports: [9090]}
{{- end }}

{{- define "ledger.env" }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_LEDGER_REPLICAS_GRPC_TARGET" (printf "dns:///%s-headless:9090" (include "tradeflow-lib.fullname" .))) | trim }}
{{- if .Values.keys.existingSecret }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_LEDGER_SIGNING_KEYS_FOLDER" "/etc/tradeflow/keys") | trim }}
{{- end }}
{{- end }}
