{{- define "orders.facts" -}}
envPrefix: TRADEFLOW_ORDERS_
ports: {http: 8081, grpc: 9091}
database: true
publishes: true
consumerGroup: true
callsGrpc: true
secrets: [database, broker]
callers:
  - {name: gateway, ports: [http, grpc]}
calls:
  - {name: ledger, ports: [9090]}
  - {name: gateway, ports: [8080]}
{{- end }}

{{- define "orders.env" -}}
{{- $client := .Values.client.existingSecret | required "orders: set client.existingSecret, the Secret with what proves to the gateway who this service is" }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_ORDERS_LEDGER_GRPC_TARGET" (printf "dns:///%s-headless:9090" (include "tradeflow-lib.peer" (list . "ledger")))) | trim }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_ORDERS_TOKEN_URL" (printf "http://%s:8080/oauth/token" (include "tradeflow-lib.peer" (list . "gateway")))) | trim }}
- name: TRADEFLOW_ORDERS_CLIENT_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ tpl $client . | quote }}
      key: {{ .Values.client.existingSecretKey | quote }}
{{- with .Values.bootstrapUsers.existingSecret }}
- name: TRADEFLOW_ORDERS_BOOTSTRAP_USERS
  valueFrom:
    secretKeyRef:
      name: {{ tpl . $ | quote }}
      key: {{ $.Values.bootstrapUsers.existingSecretKey | quote }}
{{- end }}
{{- end }}
