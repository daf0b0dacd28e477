{{- /* When a pod is killed: never before its own bound, 20 s after it serves no more, which ends it with a line in the log.
       Until then it says that it isn't ready, and the gateway's live connections get `drain_seconds_max` to leave. */ -}}
{{- define "tradeflow-lib.gracePeriodSeconds" -}}
{{- $leaving := dig "drain_seconds_max" 3 (.Values.settings | default dict) }}
{{- $bound := addf 20 .Values.drain.unreadySeconds $leaving | ceil }}
{{- max .Values.drain.terminationGracePeriodSeconds (add1 $bound) }}
{{- end }}

{{- define "tradeflow-lib.deployment" -}}
{{- $facts := fromYaml (include "tradeflow-lib.facts" .) }}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "tradeflow-lib.metadata" . | nindent 2 }}
spec:
  {{- if not (or .Values.autoscaling.enabled .Values.keda.enabled) }}
  replicas: {{ include "tradeflow-lib.capped" (list . .Values.replicaCount) }}
  {{- end }}
  revisionHistoryLimit: {{ .Values.revisionHistoryLimit }}
  strategy:
    type: RollingUpdate
    # A new one is ready before an old one leaves.
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels:
      {{- include "tradeflow-lib.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "tradeflow-lib.podLabels" . | nindent 8 }}
        {{- with .Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        kubectl.kubernetes.io/default-container: {{ .Chart.Name }}
        {{- with include "tradeflow-lib.ownSecretData" . | trim }}
        checksum/secret: {{ sha256sum . }}
        {{- end }}
        {{- with .Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "tradeflow-lib.serviceAccountName" . | quote }}
      automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
      enableServiceLinks: false
      {{- with include "tradeflow-lib.pullSecrets" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- with .Values.priorityClassName }}
      priorityClassName: {{ . | quote }}
      {{- end }}
      terminationGracePeriodSeconds: {{ include "tradeflow-lib.gracePeriodSeconds" . }}
      securityContext:
        {{- toYaml .Values.podSecurityContext | nindent 8 }}
      {{- if and $facts.database (not .Values.migrations.onStart) .Values.migrations.wait }}
      initContainers:
        # The old version goes on serving until its tables have what this one needs.
        - name: wait-for-migrations
          image: {{ include "tradeflow-lib.image" . | quote }}
          imagePullPolicy: {{ include "tradeflow-lib.pullPolicy" . }}
          command: [sh, -c, "until tradeflow migrate status --service {{ .Chart.Name }} --phase pre; do sleep 3; done"]
          env:
            {{- include "tradeflow-lib.secretEnv" (list . "database" "DATABASE_URL" "") | trim | nindent 12 }}
          securityContext:
            {{- toYaml .Values.securityContext | nindent 12 }}
          resources:
            {{- toYaml .Values.migrations.resources | nindent 12 }}
          {{- include "tradeflow-lib.volumeMounts" . | nindent 10 }}
      {{- end }}
      containers:
        - name: {{ .Chart.Name }}
          image: {{ include "tradeflow-lib.image" . | quote }}
          imagePullPolicy: {{ include "tradeflow-lib.pullPolicy" . }}
          {{- if .Values.liveReload }}
          # Code that was synced in lasts as long as the container, so the process is started again inside of it.
          command: [sh, -c, "trap 'kill $(cat /tmp/pid); wait; exit' TERM; while :; do {{ .Chart.Name }} & echo $! > /tmp/pid; wait; sleep 1; done"]
          {{- else }}
          args: [{{ .Chart.Name }}]
          {{- end }}
          ports:
            {{- range $name, $number := $facts.ports }}
            - {name: {{ $name }}, containerPort: {{ $number }}, protocol: TCP}
            {{- end }}
            {{- with $facts.metricsPort }}
            - {name: metrics, containerPort: {{ . }}, protocol: TCP}
            {{- end }}
          env:
            {{- include "tradeflow-lib.withExtraEnv" (list . "tradeflow-lib.env") | trim | nindent 12 }}
          {{- with .Values.extraEnvFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with .Values.lifecycle }}
          lifecycle:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          startupProbe:
            httpGet: {path: /healthz, port: http}
            {{- toYaml .Values.probes.startup | nindent 12 }}
          livenessProbe:
            httpGet: {path: /healthz, port: http}
            {{- toYaml .Values.probes.liveness | nindent 12 }}
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            {{- toYaml .Values.probes.readiness | nindent 12 }}
          resources:
            {{- toYaml .Values.resources | nindent 12 }}
          securityContext:
            {{- toYaml (ternary (merge (dict "readOnlyRootFilesystem" false) .Values.securityContext) .Values.securityContext .Values.liveReload) | nindent 12 }}
          {{- include "tradeflow-lib.volumeMounts" . | nindent 10 }}
      volumes:
        {{- include "tradeflow-lib.volumes" . | nindent 8 }}
      {{- include "tradeflow-lib.placement" . | trim | nindent 6 }}
{{- end }}

{{- define "tradeflow-lib.volumeMounts" -}}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if (.Values.grpcTls).existingSecret }}
  - {name: grpc-tls, mountPath: /etc/tradeflow/tls, readOnly: true}
  {{- end }}
  {{- if include "tradeflow-lib.brokerSecret" . }}
  - {name: broker-authority, mountPath: /etc/tradeflow/broker, readOnly: true}
  {{- end }}
  {{- if (.Values.keys).existingSecret }}
  - {name: keys, mountPath: /etc/tradeflow/keys, readOnly: true}
  {{- end }}
  {{- if (.Values.rateLimits).existingConfigMap }}
  {{- /* A folder, not a file: what is mounted as a file never changes. */}}
  - {name: rate-limits, mountPath: /etc/tradeflow/rate-limits, readOnly: true}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "tradeflow-lib.volumes" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- with (.Values.grpcTls).existingSecret }}
- name: grpc-tls
  secret: {secretName: {{ tpl . $ | quote }}, defaultMode: 0440}
{{- end }}
{{- with include "tradeflow-lib.brokerSecret" . }}
{{- /* An EventAccess writes it where Kafka's certificates are of a private authority; the URL beside it names the file. */}}
- name: broker-authority
  secret: {secretName: {{ . | quote }}, items: [{key: ca.crt, path: ca.crt}], optional: true, defaultMode: 0440}
{{- end }}
{{- with (.Values.keys).existingSecret }}
- name: keys
  secret: {secretName: {{ tpl . $ | quote }}, defaultMode: 0440}
{{- end }}
{{- with (.Values.rateLimits).existingConfigMap }}
- name: rate-limits
  configMap: {name: {{ tpl . $ | quote }}, optional: true}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tradeflow-lib.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range $key := .Values.topologySpread.topologyKeys }}
  - topologyKey: {{ $key | quote }}
    maxSkew: 1
    whenUnsatisfiable: {{ $.Values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "tradeflow-lib.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}
