{{- /* Replicas of a consumer group beyond its partitions would consume nothing. The gateway reads all partitions in each
       replica, and has no such limit. (list . number) */ -}}
{{- define "tradeflow-lib.capped" -}}
{{- $root := index . 0 }}{{ $wanted := index . 1 | int }}
{{- $facts := fromYaml (include "tradeflow-lib.facts" $root) }}
{{- $all := fromYaml (include "tradeflow-lib.global" $root) }}
{{- $partitions := $root.Values.partitions | default $all.partitions | default 6 | int }}
{{- if $facts.consumerGroup }}{{ min $wanted $partitions }}{{ else }}{{ $wanted }}{{ end }}
{{- end }}

{{- define "tradeflow-lib.hpa" -}}
{{- if and .Values.autoscaling.enabled .Values.keda.enabled }}
{{- fail (printf "%s: autoscaling.enabled and keda.enabled exclude each other: two scalers would fight over one Deployment" .Chart.Name) }}
{{- end }}
{{- if .Values.autoscaling.enabled }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "tradeflow-lib.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "tradeflow-lib.fullname" . }}
  minReplicas: {{ include "tradeflow-lib.capped" (list . .Values.autoscaling.minReplicas) }}
  maxReplicas: {{ include "tradeflow-lib.capped" (list . .Values.autoscaling.maxReplicas) }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .Values.autoscaling.targetCPUUtilizationPercentage }}
    {{- with .Values.autoscaling.extraMetrics }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.autoscaling.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "tradeflow-lib.scaledObject" -}}
{{- if .Values.keda.enabled }}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "tradeflow-lib.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    name: {{ include "tradeflow-lib.fullname" . }}
  minReplicaCount: {{ include "tradeflow-lib.capped" (list . .Values.keda.minReplicas) }}
  maxReplicaCount: {{ include "tradeflow-lib.capped" (list . .Values.keda.maxReplicas) }}
  cooldownPeriod: {{ .Values.keda.cooldownPeriodSeconds }}
  triggers:
    {{- tpl (toYaml (.Values.keda.triggers | required (printf "%s: keda.enabled needs keda.triggers" .Chart.Name))) . | nindent 4 }}
{{- end }}
{{- end }}

{{- define "tradeflow-lib.podDisruptionBudget" -}}
{{- if .Values.podDisruptionBudget.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "tradeflow-lib.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .Values.podDisruptionBudget.maxUnavailable | toJson }}
  # One that is broken anyway may be taken away.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "tradeflow-lib.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}
