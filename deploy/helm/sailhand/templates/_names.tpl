{{- define "sailhand.name" -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "sailhand.selector" -}}
app.kubernetes.io/name: sailhand
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sailhand.labels" -}}
{{ include "sailhand.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "sailhand.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "sailhand.name" .) }}
{{- end }}

{{/* Binds a ClusterRole to the worker: in rbac.namespaces if the role is for objects of namespaces, else in the cluster. */}}
{{- define "sailhand.bindings" -}}
{{- $root := .root }}
{{- $role := .role }}
{{- if and .isNamespaced $root.Values.rbac.namespaces }}
{{- range $root.Values.rbac.namespaces }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $role }}
  namespace: {{ . }}
  labels: {{- include "sailhand.labels" $root | nindent 4 }}
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $role }} }
subjects:
  - { kind: ServiceAccount, name: {{ include "sailhand.serviceAccount" $root }}, namespace: {{ $root.Release.Namespace }} }
{{- end }}
{{- else }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $role }}
  labels: {{- include "sailhand.labels" $root | nindent 4 }}
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $role }} }
subjects:
  - { kind: ServiceAccount, name: {{ include "sailhand.serviceAccount" $root }}, namespace: {{ $root.Release.Namespace }} }
{{- end }}
{{- end }}
