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

{{/* Image of all containers of the program. */}}
{{- define "sailhand.image" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* Security context of a pod that reads mounted secrets as the group. */}}
{{- define "sailhand.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "sailhand.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Mounts of the configuration and of a list of secrets (`folder`, `name`). */}}
{{- define "sailhand.mounts" -}}
- { name: config, mountPath: /etc/sailhand/config, readOnly: true }
{{- range . }}
- { name: secret-{{ .folder }}, mountPath: /etc/sailhand/{{ .folder }}, readOnly: true }
{{- end }}
{{- end }}

{{/* Their volumes: dict config (a ConfigMap), secrets. */}}
{{- define "sailhand.volumes" -}}
- name: config
  configMap: { name: {{ .config }} }
{{- range .secrets }}
- name: secret-{{ .folder }}
  secret: { secretName: {{ .name }}, defaultMode: 0440 }
{{- end }}
{{- end }}

{{/* Pod fields of a short command that uses NATS and not Kubernetes: dict root, config (a ConfigMap), secrets, args. */}}
{{- define "sailhand.client" -}}
automountServiceAccountToken: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "sailhand.podSecurity" . | nindent 2 }}
containers:
  - name: sailhand
    {{- include "sailhand.image" .root | nindent 4 }}
    args: {{ toJson (concat .args (list "--config" "/etc/sailhand/config/config.toml")) }}
    securityContext: {{- include "sailhand.containerSecurity" . | nindent 6 }}
    resources:
      requests: { cpu: 20m, memory: 32Mi }
      limits: { memory: 128Mi }
    volumeMounts: {{- include "sailhand.mounts" .secrets | nindent 6 }}
volumes: {{- include "sailhand.volumes" . | nindent 2 }}
{{- end }}
