{{- define "tradeflow-lib.serviceMonitor" -}}
{{- if .Values.serviceMonitor.enabled }}
{{- $facts := fromYaml (include "tradeflow-lib.facts" .) }}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "tradeflow-lib.metadata" . | nindent 2 }}
    {{- with .Values.serviceMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  # The job's name ends with the service's, by which dashboards and alerts tell services apart.
  jobLabel: app.kubernetes.io/component
  selector:
    matchLabels:
      {{- include "tradeflow-lib.selectorLabels" . | nindent 6 }}
    matchExpressions:
      {{- if $facts.metricsPort }}
      - {key: tradeflow.dev/metrics, operator: Exists}
      {{- else }}
      - {key: tradeflow.dev/headless, operator: DoesNotExist}
      {{- end }}
  endpoints:
    - port: {{ ternary "metrics" "http" (hasKey $facts "metricsPort") }}
      path: /metrics
      interval: {{ .Values.serviceMonitor.interval | quote }}
      scrapeTimeout: {{ .Values.serviceMonitor.scrapeTimeout | quote }}
{{- end }}
{{- end }}

{{- /* The alerts of alerts/<chart without tradeflow->.yaml: Prometheus' own form, tested by promtool. */ -}}
{{- define "tradeflow-lib.prometheusRule" -}}
{{- if .Values.prometheusRule.enabled }}
{{- $file := printf "alerts/%s.yaml" (trimPrefix "tradeflow-" .Chart.Name) }}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  {{- include "tradeflow-lib.metadata" . | nindent 2 }}
    {{- with .Values.prometheusRule.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  groups:
    {{- (fromYaml (.Files.Get $file)).groups | required (printf "%s: %s is empty" .Chart.Name $file) | toYaml | nindent 4 }}
{{- end }}
{{- end }}

{{- /* `helm test`: the service says through its own Service that it is ready. */ -}}
{{- define "tradeflow-lib.readinessTest" -}}
{{- $facts := fromYaml (include "tradeflow-lib.facts" .) }}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "tradeflow-lib.fullname" . }}-test-ready
  namespace: {{ .Release.Namespace }}
  labels:
    app.kubernetes.io/instance: {{ .Release.Name }}
    app.kubernetes.io/part-of: tradeflow
    # Callers of each service may reach it, and this one is a caller of all.
    app.kubernetes.io/component: {{ (first ($facts.callers | default (list (dict "name" "test")))).name }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with include "tradeflow-lib.pullSecrets" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  containers:
    - name: ask
      image: {{ include "tradeflow-lib.image" . | quote }}
      imagePullPolicy: {{ include "tradeflow-lib.pullPolicy" . }}
      command:
        - python
        - -c
        - |
          import sys, time, urllib.error, urllib.request
          deadline = time.monotonic() + 60
          while True:
              try:
                  with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
                      sys.exit(print(answer.read().decode()))
              except urllib.error.URLError as error:
                  if time.monotonic() > deadline:
                      sys.exit(f"{sys.argv[1]}: {error}")
                  time.sleep(1)
        - http://{{ include "tradeflow-lib.fullname" . }}:{{ $facts.ports.http }}/readyz
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: 64Mi}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
{{- end }}
