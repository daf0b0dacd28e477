{{- /* The kinds that this release asks for; the operator's chart brings them, as a release of its own. */ -}}
{{- define "tradeflow.kinds" -}}
{{- if .Values.kafkaConnection.create }}{{ "KafkaConnection " }}{{ end }}
{{- if .Values.topics.create }}{{ "EventTopic " }}{{ end }}
{{- if include "tradeflow.hasSchemas" . }}{{ "EventSchema " }}{{ end }}
{{- if .Values.keySet.create }}{{ "JWTKeySet " }}{{ end }}
{{- if .Values.rateLimits.create }}{{ "RateLimitPolicy " }}{{ end }}
{{- if .Values.migrations.create }}{{ "DatabaseMigration " }}{{ end }}
{{- if .Values.observe.create }}{{ "TradeFlow" }}{{ end }}
{{- end }}

{{- define "tradeflow.checkKinds" -}}
{{- $missing := list }}
{{- range $kind := include "tradeflow.kinds" . | trim | splitList " " }}
{{- if and $kind (not ($.Capabilities.APIVersions.Has (printf "tradeflow.dev/v1alpha1/%s" $kind))) }}
{{- $missing = append $missing $kind }}
{{- end }}
{{- end }}
{{- if $missing }}
{{- fail (printf "\n\nThe cluster doesn't know %s.\nInstall the chart tradeflow-operator first, as a release of its own:\n\n  helm install tradeflow-operator charts/tradeflow-operator --namespace tradeflow-system --create-namespace\n\nWithout the operator, switch the resources off: kafkaConnection.create, topics.create, schemas.create, keySet.create,\nmigrations.create and observe.create.\n" (join ", " $missing)) }}
{{- end }}
{{- end }}

{{- /* All find a service by <release>-<service>: its neighbours, its migrations, the keys, the operator. */ -}}
{{- define "tradeflow.checkNames" -}}
{{- $release := .Release.Name }}
{{- if or (gt (len $release) 42) (has $release (list "ledger" "orders" "gateway")) }}
{{- fail (printf "tradeflow: %s can't be the release's name: take one of at most 42 characters that isn't a service's" $release) }}
{{- end }}
{{- range $service := list "ledger" "orders" "gateway" }}
{{- $values := index $.Values $service }}
{{- if or $values.nameOverride $values.fullnameOverride }}
{{- fail (printf "tradeflow: leave %s.nameOverride and fullnameOverride empty: it is found by the name %s-%s" $service $release $service) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tradeflow.hasSchemas" -}}
{{- if and .Values.schemas.create .Values.global.tradeflow.schemaRegistryUrl }}yes{{ end }}
{{- end }}

{{- define "tradeflow.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/part-of: tradeflow
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ include "tradeflow-lib.versionLabel" (index . 1) }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* (list . "name"): the metadata of what the umbrella makes; (list . "name" $subchart): of the version that a service has,
       which may be ahead of the others while a roll-out is under way. */ -}}
{{- define "tradeflow.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "tradeflow.labels" (list $root (ternary $root (last .) (eq (len .) 2))) | nindent 2 }}
{{- end }}

{{- /* Kafka's servers, as a list: said, or cut out of kafka://user:password@host:9092,host:9092?options. */ -}}
{{- define "tradeflow.bootstrapServers" -}}
{{- if .Values.kafkaConnection.bootstrapServers }}
{{- toYaml .Values.kafkaConnection.bootstrapServers }}
{{- else }}
{{- $url := .Values.global.tradeflow.broker.url | required "tradeflow: set kafkaConnection.bootstrapServers, which a Secret with Kafka's URL doesn't tell" }}
{{- regexReplaceAll "^kafka://([^@/]*@)?" $url "" | regexFind "^[^/?]+" | splitList "," | toYaml }}
{{- end }}
{{- end }}

{{- /* What the names of topics and of their subjects begin with: said, or the topic_prefix of the broker's URL. */ -}}
{{- define "tradeflow.topicPrefix" -}}
{{- $option := regexFind "[?&]topic_prefix=[^&]+" .Values.global.tradeflow.broker.url }}
{{- $prefix := .Values.topics.prefix | default (trimPrefix "topic_prefix=" (trimAll "?&" $option)) }}
{{- if not (regexMatch "^[A-Za-z0-9._-]*$" $prefix) }}
{{- fail "tradeflow: the topic_prefix of Kafka's URL has characters that no topic's name may have" }}
{{- end }}
{{- $prefix }}
{{- end }}
