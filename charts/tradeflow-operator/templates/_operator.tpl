{{- define "tradeflow-operator.facts" -}}
envPrefix: TRADEFLOW_OPERATOR_
ports: {http: 8084}
{{- end }}

{{- define "tradeflow-operator.env" -}}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_OPERATOR_LEASE_NAME" (.Values.settings.lease_name | default (include "tradeflow-lib.fullname" .))) | trim }}
{{ include "tradeflow-lib.variable" (list "TRADEFLOW_OPERATOR_NAMESPACES" .Values.namespaces) | trim }}
{{- /* Helm keeps what it caches where it may write. */}}
{{ include "tradeflow-lib.variable" (list "HOME" "/tmp") | trim }}
{{- range $name, $value := omit .Values.settings "lease_name" }}
{{ include "tradeflow-lib.variable" (list (printf "TRADEFLOW_OPERATOR_%s" (upper $name)) $value) | trim }}
{{- end }}
{{- end }}

{{- /* What the kinds need, in each namespace that is served. */ -}}
{{- define "tradeflow-operator.rules" -}}
- apiGroups: [tradeflow.dev]
  resources: ["*"]
  # patch: finalizers, where deleting a resource has to delete something outside of Kubernetes.
  verbs: [get, list, watch, patch]
- apiGroups: [tradeflow.dev]
  resources: ["*/status"]
  verbs: [get, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
# By name: a Secret that a resource names, or that was made for one. None can be listed or deleted.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, create, update, patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, create, delete]
# What a migration's Job said, which its Pod's status has.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# The gateway's replicas, which are asked whether they know a new key; how far the platform is.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get]
{{- end }}

{{- /* What the umbrella chart has, for Helm to write. Nobody can be given rights beyond these. */ -}}
{{- define "tradeflow-operator.platformRules" -}}
- apiGroups: [tradeflow.dev]
  resources: ["*"]
  verbs: [create, update, delete]
- apiGroups: [""]
  # Secrets are Helm's own records too, which it lists by their label.
  resources: [secrets, configmaps, services, serviceaccounts, pods]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [apps]
  resources: [deployments, replicasets]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors, prometheusrules]
  verbs: [get, list, watch, create, update, patch, delete]
{{- end }}

{{- define "tradeflow-operator.subject" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "tradeflow-lib.serviceAccountName" . | quote }}
    namespace: {{ .Release.Namespace }}
{{- end }}
