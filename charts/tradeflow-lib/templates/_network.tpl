{{- /* Only the arrows of the flow: who calls a service comes in, what a service calls may be reached, nothing else. */ -}}
{{- define "tradeflow-lib.networkPolicy" -}}
{{- if .Values.networkPolicy.enabled }}
{{- $facts := fromYaml (include "tradeflow-lib.facts" .) }}
{{- $root := . }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "tradeflow-lib.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "tradeflow-lib.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- range $facts.callers }}
    - from:
        {{- include "tradeflow-lib.podsOf" (list $root .name) | nindent 8 }}
      ports:
        {{- range .ports }}
        - {protocol: TCP, port: {{ . }}}
        {{- end }}
    {{- end }}
    {{- $doors := list }}
    {{- if or $facts.public (.Values.httpRoute).enabled }}{{ $doors = append $doors "http" }}{{ end }}
    {{- if (.Values.grpcRoute).enabled }}{{ $doors = append $doors "grpc" }}{{ end }}
    {{- if $doors }}
    - ports:
        {{- range $doors }}
        - {protocol: TCP, port: {{ . }}}
        {{- end }}
      {{- with .Values.networkPolicy.ingressFrom }}
      from:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- if $facts.askedByOperator }}
    # The operator, wherever it is, asks whether keys, limits and the ledger's invariants hold.
    - from:
        - namespaceSelector: {}
          podSelector:
            matchLabels: {app.kubernetes.io/component: tradeflow-operator}
      ports:
        - {protocol: TCP, port: http}
        {{- if $facts.metricsPort }}
        - {protocol: TCP, port: metrics}
        {{- end }}
    {{- end }}
    {{- with .Values.networkPolicy.metricsFrom }}
    - from:
        {{- toYaml . | nindent 8 }}
      ports:
        - {protocol: TCP, port: {{ ternary "metrics" "http" (hasKey $facts "metricsPort") }}}
    {{- end }}
    {{- with .Values.networkPolicy.extraIngress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  egress:
    - to:
        - namespaceSelector: {}
          podSelector:
            matchLabels: {k8s-app: kube-dns}
        {{- range .Values.networkPolicy.dnsCidrs }}
        - ipBlock: {cidr: {{ . | quote }}}
        {{- end }}
      ports:
        - {protocol: UDP, port: 53}
        - {protocol: TCP, port: 53}
    {{- range $facts.calls }}
    - to:
        {{- include "tradeflow-lib.podsOf" (list $root .name) | nindent 8 }}
      ports:
        {{- range .ports }}
        - {protocol: TCP, port: {{ . }}}
        {{- end }}
    {{- end }}
    {{- range $name, $part := .Values.networkPolicy.parts }}
    {{- if $part.ports }}
    # {{ $name }}
    - ports:
        {{- range $part.ports }}
        - {protocol: TCP, port: {{ . }}}
        {{- end }}
      {{- with $part.to }}
      to:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- end }}
    {{- with .Values.networkPolicy.extraEgress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}

{{- /* (list . "orders"): the pods of a neighbour: of the same release, or of a release of its own. */ -}}
{{- define "tradeflow-lib.podsOf" -}}
{{- $name := index . 1 -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/part-of: tradeflow
      app.kubernetes.io/component: {{ $name }}
{{- end }}
