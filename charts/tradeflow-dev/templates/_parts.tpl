{{- define "tradeflow-dev.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: tradeflow-dev
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* (list . "kafka"): what finds the pods of a part. */ -}}
{{- define "tradeflow-dev.selector" -}}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/name: {{ index . 1 }}
{{- end }}

{{- /* A password that is drawn once: (list . "secret-name" "key"). */ -}}
{{- define "tradeflow-dev.password" -}}
{{- $root := index . 0 }}
{{- $found := lookup "v1" "Secret" $root.Release.Namespace (index . 1) }}
{{- with (($found | default dict).data | default dict) }}{{ index . (index $ 2) | default "" | b64dec }}{{ end }}
{{- end }}

{{- /* (dict "root" . "name" "kafka" "port" 9092 "uid" 1000 "image" … "resources" … "env" … "storage" … "mount" … "probe" …):
       a single pod behind a Service. */ -}}
{{- define "tradeflow-dev.part" -}}
{{- $root := .root }}
{{- $full := printf "%s-%s" $root.Release.Name .name }}
apiVersion: v1
kind: Service
metadata:
  name: {{ $full }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "tradeflow-dev.labels" $root | nindent 4 }}
spec:
  ports:
    - {name: {{ .portName | default "tcp" }}, port: {{ .port }}, targetPort: {{ .port }}}
  selector:
    {{- include "tradeflow-dev.selector" (list $root .name) | nindent 4 }}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $full }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "tradeflow-dev.labels" $root | nindent 4 }}
    app.kubernetes.io/name: {{ .name }}
spec:
  replicas: 1
  serviceName: {{ $full }}
  selector:
    matchLabels:
      {{- include "tradeflow-dev.selector" (list $root .name) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "tradeflow-dev.labels" $root | nindent 8 }}
        app.kubernetes.io/name: {{ .name }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: {{ .uid }}
        runAsGroup: {{ .uid }}
        fsGroup: {{ .uid }}
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: {{ .name }}
          image: {{ .image }}
          {{- with .args }}
          args:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with .env }}
          env:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            - {containerPort: {{ .port }}}
          startupProbe:
            {{- toYaml (.probe | default (dict "tcpSocket" (dict "port" .port))) | nindent 12 }}
            periodSeconds: 3
            timeoutSeconds: 5
            failureThreshold: 60
          readinessProbe:
            {{- toYaml (.probe | default (dict "tcpSocket" (dict "port" .port))) | nindent 12 }}
            periodSeconds: 5
            timeoutSeconds: 5
          resources:
            {{- toYaml .resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- if .mount }}
            - {name: data, mountPath: {{ .mount }}}
            {{- end }}
      volumes:
        - {name: tmp, emptyDir: {}}
  {{- if .mount }}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $root.Values.storageClassName }}
        storageClassName: {{ . }}
        {{- end }}
        resources: {requests: {storage: {{ .storage }}}}
  {{- end }}
{{- end }}
