{{- define "tradeflow-lib.service" -}}
{{- $facts := fromYaml (include "tradeflow-lib.facts" .) }}
apiVersion: v1
kind: Service
metadata:
  {{- include "tradeflow-lib.metadata" . | nindent 2 }}
  {{- with .Values.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ .Values.service.type | quote }}
  ports:
    {{- range $name, $number := $facts.ports }}
    - name: {{ $name }}
      port: {{ $number }}
      targetPort: {{ $name }}
      protocol: TCP
      {{- include "tradeflow-lib.appProtocol" (list $ $name) | nindent 6 }}
      {{- if and (eq $name "http") $.Values.service.nodePort }}
      nodePort: {{ $.Values.service.nodePort }}
      {{- end }}
    {{- end }}
  selector:
    {{- include "tradeflow-lib.selectorLabels" . | nindent 4 }}
{{- if $facts.ports.grpc }}
---
# gRPC keeps its connections, so callers get every replica's address and balance by themselves.
apiVersion: v1
kind: Service
metadata:
  name: {{ include "tradeflow-lib.fullname" . }}-headless
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "tradeflow-lib.labels" . | nindent 4 }}
    tradeflow.dev/headless: "true"
spec:
  clusterIP: None
  # Callers try an address every few seconds, but a name without addresses less and less often, up to two minutes apart.
  publishNotReadyAddresses: true
  ports:
    - name: grpc
      port: {{ $facts.ports.grpc }}
      targetPort: grpc
      protocol: TCP
      {{- include "tradeflow-lib.appProtocol" (list . "grpc") | nindent 6 }}
  selector:
    {{- include "tradeflow-lib.selectorLabels" . | nindent 4 }}
{{- end }}
{{- with $facts.metricsPort }}
---
# Apart from the other one, which may be open to the world, by a load balancer say.
apiVersion: v1
kind: Service
metadata:
  name: {{ include "tradeflow-lib.fullname" $ }}-metrics
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "tradeflow-lib.labels" $ | nindent 4 }}
    tradeflow.dev/metrics: "true"
spec:
  clusterIP: None
  ports:
    - name: metrics
      port: {{ . }}
      targetPort: metrics
      protocol: TCP
      appProtocol: http
  selector:
    {{- include "tradeflow-lib.selectorLabels" $ | nindent 4 }}
{{- end }}
{{- end }}

{{- /* (list . "grpc"): what proxies speak at a port. Kubernetes has no name for HTTP/2 in TLS, which is agreed on with the
       certificate, so nothing is said there; h2c would mean plain text. */ -}}
{{- define "tradeflow-lib.appProtocol" -}}
{{- $root := index . 0 }}{{ $port := index . 1 }}
{{- if ne $port "grpc" }}
appProtocol: http
{{- else if not ($root.Values.grpcTls).existingSecret }}
appProtocol: kubernetes.io/h2c
{{- end }}
{{- end }}

{{- define "tradeflow-lib.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "tradeflow-lib.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "tradeflow-lib.labels" . | nindent 4 }}
  {{- with .Values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
{{- end }}
{{- end }}

{{- /* Routes of the Gateway API: HTTP where a service has people or programs as callers, gRPC where it has that door. */ -}}
{{- define "tradeflow-lib.routeHead" -}}
{{- $root := index . 0 }}{{ $route := index . 1 }}
{{- if not $route.parentRefs }}
{{- fail (printf "%s: a route needs parentRefs, which name the Gateway it hangs on" $root.Chart.Name) }}
{{- end }}
parentRefs:
  {{- toYaml $route.parentRefs | nindent 2 }}
{{- with $route.hostnames }}
hostnames:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tradeflow-lib.httpRoute" -}}
{{- with .Values.httpRoute }}
{{- if .enabled }}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  {{- include "tradeflow-lib.metadata" $ | nindent 2 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "tradeflow-lib.routeHead" (list $ .) | nindent 2 }}
  rules:
    - matches:
        {{- toYaml .matches | nindent 8 }}
      backendRefs:
        - name: {{ include "tradeflow-lib.fullname" $ }}
          port: {{ (fromYaml (include "tradeflow-lib.facts" $)).ports.http }}
      {{- with .timeouts }}
      timeouts:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tradeflow-lib.grpcRoute" -}}
{{- with .Values.grpcRoute }}
{{- if .enabled }}
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata:
  {{- include "tradeflow-lib.metadata" $ | nindent 2 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "tradeflow-lib.routeHead" (list $ .) | nindent 2 }}
  rules:
    - matches:
        {{- range .services }}
        - method: {service: {{ . | quote }}}
        {{- end }}
      backendRefs:
        - name: {{ include "tradeflow-lib.fullname" $ }}
          port: {{ (fromYaml (include "tradeflow-lib.facts" $)).ports.grpc }}
{{- end }}
{{- end }}
{{- end }}
