{{- define "sla-planner.name" -}}
{{- if contains "sla-planner" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-sla-planner" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "sla-planner.selector" -}}
app.kubernetes.io/name: sla-planner
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sla-planner.labels" -}}
{{ include "sla-planner.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "sla-planner.account" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "sla-planner.name" .) }}
{{- else }}{{ required "serviceAccount.name: give the account to run as, or set serviceAccount.create" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "sla-planner.deployment" -}}
{{- required "deployment.name: give the name of the DynamoGraphDeployment to scale, such as --set deployment.name=vllm-disagg" .Values.deployment.name }}
{{- end }}

{{- define "sla-planner.namespace" -}}
{{- .Values.deployment.namespace | default .Release.Namespace }}
{{- end }}

{{- define "sla-planner.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}

{{- define "sla-planner.profile" -}}
{{- if or .Values.profile.prefill .Values.profile.decode }}{{ include "sla-planner.name" . }}-profile
{{- else }}{{ required "profile.configMap: name the ConfigMap of the profile, or give its files" .Values.profile.configMap }}{{ end }}
{{- end }}

{{- /* Options that other parts of the chart rely on, and what to give instead. */ -}}
{{- define "sla-planner.check-settings" -}}
{{- $instead := dict
  "environment" "the chart is for a DynamoGraphDeployment; for anything else see examples/kubernetes/virtual.yaml"
  "dgd_name" "give deployment.name"
  "dgd_namespace" "give deployment.namespace"
  "namespace" "give deployment.dynamoNamespace"
  "profile_results_dir" "give profile.configMap, or the files of the profile"
  "metric_reporting_prometheus_port" "leave it out; probes and monitors ask port 9085" }}
{{- range $name, $mend := $instead }}
{{- if hasKey $.Values.settings $name }}{{ fail (printf "settings.%s: %s" $name $mend) }}{{ end }}
{{- end }}
{{- if and (hasKey .Values.settings "leader_elect") (not .Values.settings.leader_elect) (gt (int .Values.replicas) 1) }}
{{- fail "settings.leader_elect: without it all replicas would scale; leave it out, or set replicas=1" }}
{{- end }}
{{- end }}

{{- define "sla-planner.settings" -}}
{{- include "sla-planner.check-settings" . }}
{{- $placed := dict
  "environment" "kubernetes"
  "dgd_name" (include "sla-planner.deployment" .)
  "dgd_namespace" (include "sla-planner.namespace" .)
  "namespace" (.Values.deployment.dynamoNamespace | default (printf "%s-%s" (include "sla-planner.namespace" .) .Values.deployment.name))
  "profile_results_dir" "/etc/planner/profile"
  "metric_reporting_prometheus_port" 9085
  "leader_elect" true }}
{{- toYaml (merge (deepCopy .Values.settings) $placed) }}
{{- end }}

{{- define "sla-planner.volumes" -}}
- name: settings
  configMap:
    name: {{ include "sla-planner.name" . }}
- name: profile
  configMap:
    name: {{ include "sla-planner.profile" . }}
- name: tmp
  emptyDir: {}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sla-planner.mounts" -}}
- {name: settings, mountPath: /etc/planner/settings, readOnly: true}
- {name: profile, mountPath: /etc/planner/profile, readOnly: true}
- {name: tmp, mountPath: /tmp}
- {name: state, mountPath: /var/lib/planner}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sla-planner.pod-security" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sla-planner.security" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}

{{- define "sla-planner.dgdr-selector" -}}
app.kubernetes.io/name: sla-planner-dgdr
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sla-planner.dgdr-labels" -}}
{{ include "sla-planner.dgdr-selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "sla-planner.dgdr-rules" -}}
- apiGroups: [nvidia.com]
  resources: [dynamographdeploymentrequests]
  verbs: [get, list, watch, patch]
- apiGroups: [nvidia.com]
  resources: [dynamographdeploymentrequests/status]
  verbs: [update]
- apiGroups: [nvidia.com]
  resources: [dynamographdeployments]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [""]
  resources: [serviceaccounts, persistentvolumeclaims]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{- /* Whether there is to be a planner beside a deployment; not where the controller alone is wanted. */ -}}
{{- define "sla-planner.beside" -}}
{{- if or .Values.deployment.name (not .Values.dgdr.enabled) }}yes{{ end }}
{{- end }}
