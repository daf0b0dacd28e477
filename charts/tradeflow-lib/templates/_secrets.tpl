{{- /* Addresses that hold passwords. Each is either in a Secret of the team's own (existingSecret), or a value, which
       then goes into a Secret that the chart makes: for trying out, since Helm keeps values in its history. */ -}}

{{- /* (list . "database"): existingSecret and key of this chart, else those said for all, else the chart's own Secret. */ -}}
{{- define "tradeflow-lib.secretSource" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}
{{- $own := index $root.Values $name | default dict }}
{{- $all := index (fromYaml (include "tradeflow-lib.global" $root)) $name | default dict }}
{{- $chosen := ternary $own $all (or (ne ($own.existingSecret | default "") "") (ne ($own.url | default "") "")) }}
{{- $key := $chosen.existingSecretKey | default $own.existingSecretKey | default "url" }}
{{- if $chosen.existingSecret }}
name: {{ tpl $chosen.existingSecret $root | quote }}
key: {{ $key | quote }}
{{- else if $chosen.url }}
name: {{ include "tradeflow-lib.fullname" $root }}
key: {{ $name }}-url
url: {{ tpl $chosen.url $root | quote }}
{{- end }}
{{- end }}

{{- /* (list . "database" "DATABASE_URL" "what it is"): an environment variable from there, or a clear refusal. */ -}}
{{- define "tradeflow-lib.secretEnv" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}{{ $variable := index . 2 }}{{ $what := index . 3 }}
{{- $facts := fromYaml (include "tradeflow-lib.facts" $root) }}
{{- $source := fromYaml (include "tradeflow-lib.secretSource" (list $root $name)) }}
{{- if not $source.name }}
{{- fail (printf "%s: set %s.existingSecret (its key is %s.existingSecretKey), or %s.url: %s" $root.Chart.Name $name $name $name $what) }}
{{- end }}
- name: {{ $facts.envPrefix }}{{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $source.name | quote }}
      key: {{ $source.key | quote }}
{{- end }}

{{- /* The name of a Secret with Kafka's URL that the chart didn't make; empty where there is none. */ -}}
{{- define "tradeflow-lib.brokerSecret" -}}
{{- $source := fromYaml (include "tradeflow-lib.secretSource" (list . "broker")) }}
{{- if and $source.name (not $source.url) }}{{ $source.name }}{{ end }}
{{- end }}

{{- /* What the chart's own Secret holds; empty where the team has Secrets for all. */ -}}
{{- define "tradeflow-lib.ownSecretData" -}}
{{- $root := . }}
{{- $facts := fromYaml (include "tradeflow-lib.facts" .) }}
{{- range $name := $facts.secrets }}
{{- $source := fromYaml (include "tradeflow-lib.secretSource" (list $root $name)) }}
{{- with $source.url }}
{{ $name }}-url: {{ . | b64enc | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tradeflow-lib.secret" -}}
{{- with include "tradeflow-lib.ownSecretData" . | trim }}
apiVersion: v1
kind: Secret
metadata:
  {{- include "tradeflow-lib.metadata" $ | nindent 2 }}
type: Opaque
data:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
