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
