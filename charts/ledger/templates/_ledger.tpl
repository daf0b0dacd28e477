{{- define "ledger.facts" -}}
envPrefix: TRADEFLOW_LEDGER_
ports: {http: 8082, grpc: 9090}
database: true
publishes: true
consumerGroup: true
callsGrpc: false
secrets: [database, broker]
callers:
  - {name: gateway, ports: [http, grpc]}
  - {name: orders, ports: [grpc]}
calls:
  - {name: gateway, ports: [8080]}
{{- end }}

{{- define "ledger.env" -}}
{{- if .Values.keys.existingSecret }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_LEDGER_SIGNING_KEYS_FOLDER" "/etc/tradeflow/keys") | trim }}
{{- end }}
{{- end }}
