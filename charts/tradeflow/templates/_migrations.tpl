{{- /* (list $subchart .Values.migrations): the Pod of a service's migrations goes where the service's own do, and finds the files
       that they find. Not all of them: affinity to other pods would keep it from the nodes of the service's own ones, the
       service's labels and annotations may ask for a sidecar, which never ends, and volumes of other types bind to one node or
       hold tokens. */ -}}
{{- define "tradeflow.migrationPod" -}}
{{- $values := (index . 0).Values }}{{ $migrations := index . 1 }}
{{- $files := fromYaml (include "tradeflow.migrationFiles" $values) }}
{{- with $migrations.podLabels }}
labels: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $migrations.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with ($values.affinity).nodeAffinity }}
affinity:
  nodeAffinity: {{- toYaml . | nindent 4 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- if $files.volumeMounts }}
{{- with ($values.podSecurityContext).fsGroup }}
fsGroup: {{ int64 . }}
{{- end }}
{{ toYaml $files }}
{{- end }}
{{- with $migrations.resources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Of a service's own volumes and mounts those that a DatabaseMigration takes. */ -}}
{{- define "tradeflow.migrationFiles" -}}
{{- $volumes := list }}{{ $names := list }}{{ $mounts := list }}
{{- range $volume := .extraVolumes }}
{{- $taken := or $volume.secret $volume.configMap $volume.projected (hasKey $volume "emptyDir") }}
{{- range ($volume.projected).sources }}
{{- if or .serviceAccountToken .downwardAPI .podCertificate }}{{ $taken = false }}{{ end }}
{{- end }}
{{- if $taken }}
{{- $volumes = append $volumes $volume }}{{ $names = append $names $volume.name }}
{{- end }}
{{- end }}
{{- range .extraVolumeMounts }}
{{- if has .name $names }}{{ $mounts = append $mounts . }}{{ end }}
{{- end }}
{{- dict "volumes" $volumes "volumeMounts" $mounts | toYaml }}
{{- end }}
