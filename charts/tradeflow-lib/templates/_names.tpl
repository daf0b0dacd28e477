{{- /* What things are called, and the labels that find them. Each template takes the root context. */ -}}

{{- define "tradeflow-lib.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "tradeflow-lib.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if eq .Release.Name (include "tradeflow-lib.name" .) }}
{{- .Release.Name }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tradeflow-lib.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* A neighbour's Service: (list . "ledger"). `peers` names it where it is a release of its own. */ -}}
{{- define "tradeflow-lib.peer" -}}
{{- $root := index . 0 }}{{ $peer := index . 1 }}
{{- index ($root.Values.peers | default dict) $peer | default (printf "%s-%s" $root.Release.Name $peer) }}
{{- end }}

{{- define "tradeflow-lib.facts" -}}
{{- include (printf "%s.facts" .Chart.Name) . }}
{{- end }}

{{- define "tradeflow-lib.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tradeflow-lib.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Without the chart's version: a chart that changes nothing of a pod restarts none. */ -}}
{{- define "tradeflow-lib.podLabels" -}}
{{ include "tradeflow-lib.selectorLabels" . }}
app.kubernetes.io/component: {{ .Chart.Name }}
app.kubernetes.io/part-of: tradeflow
app.kubernetes.io/version: {{ include "tradeflow-lib.versionLabel" . }}
{{- end }}

{{- define "tradeflow-lib.labels" -}}
{{ include "tradeflow-lib.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tradeflow-lib.metadata" -}}
name: {{ include "tradeflow-lib.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "tradeflow-lib.labels" . | nindent 2 }}
{{- end }}

{{- define "tradeflow-lib.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "tradeflow-lib.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- /* What the umbrella says once for all its services, under global.tradeflow; a service that waits for its turn in a
       roll-out goes by what was said before, as a whole: what was empty then stays empty. */ -}}
{{- define "tradeflow-lib.global" -}}
{{- toYaml (.Values.insteadOfGlobal | default (.Values.global | default dict).tradeflow | default dict) }}
{{- end }}

{{- /* A value of this chart, else the one said for all: (list . "issuer"); empty where neither is. */ -}}
{{- define "tradeflow-lib.shared" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}
{{- $all := fromYaml (include "tradeflow-lib.global" $root) }}
{{- index $root.Values $name | default (index $all $name) | default "" }}
{{- end }}

{{- define "tradeflow-lib.required" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}{{ $what := index . 2 }}
{{- include "tradeflow-lib.shared" (list $root $name) | required (printf "%s: set %s (or global.tradeflow.%s): %s" $root.Chart.Name $name $name $what) }}
{{- end }}

{{- /* The image's values: this chart's own, each one else the one said for all. */ -}}
{{- define "tradeflow-lib.imageValues" -}}
{{- $own := .Values.image | default dict }}
{{- $all := (fromYaml (include "tradeflow-lib.global" .)).image | default dict }}
{{- range $name := list "registry" "repository" "tag" "digest" "pullPolicy" }}
{{ $name }}: {{ index $own $name | default (index $all $name) | default "" | quote }}
{{- end }}
{{- end }}

{{- define "tradeflow-lib.version" -}}
{{- $image := fromYaml (include "tradeflow-lib.imageValues" .) }}
{{- $image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* The version as a label takes it: a tag may be twice as long, and end in other characters. */ -}}
{{- define "tradeflow-lib.versionLabel" -}}
{{- include "tradeflow-lib.version" . | trunc 63 | regexFind "^[A-Za-z0-9](.*[A-Za-z0-9])?" | quote }}
{{- end }}

{{- define "tradeflow-lib.image" -}}
{{- $image := fromYaml (include "tradeflow-lib.imageValues" .) }}
{{- $repository := $image.repository | default "tradeflow" }}
{{- $name := ternary (printf "%s/%s" $image.registry $repository) $repository (ne $image.registry "") }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name (include "tradeflow-lib.version" .) }}
{{- end }}
{{- end }}

{{- define "tradeflow-lib.pullPolicy" -}}
{{- (fromYaml (include "tradeflow-lib.imageValues" .)).pullPolicy | default "IfNotPresent" }}
{{- end }}

{{- define "tradeflow-lib.pullSecrets" -}}
{{- $all := fromYaml (include "tradeflow-lib.global" .) }}
{{- with .Values.imagePullSecrets | default $all.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
