{{- define "lookalike.labels" -}}
app.kubernetes.io/name: lookalike
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What selects pods: never the version, which changes. Called with (list $ "component"). */}}
{{- define "lookalike.selector" -}}
app.kubernetes.io/name: lookalike
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Called with (list $ "serving"). */}}
{{- define "lookalike.image" -}}
{{- $root := index . 0 -}}
image: {{ printf "%s/%s:%s" $root.Values.images.registry (index . 1) ($root.Values.images.tag | default $root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ $root.Values.images.pullPolicy }}
{{- end }}

{{- define "lookalike.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # else each start walks through all files of a volume
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Where pods run. Called with serving, prefect or dask. */}}
{{- define "lookalike.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* A folder that goes with its pod. Called with (list "name" "size" "storage class"). */}}
{{- define "lookalike.folder" -}}
- name: {{ index . 0 }}
  {{- if index . 2 }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        storageClassName: {{ index . 2 }}
        resources: {requests: {storage: {{ index . 1 }}}}
  {{- else }}
  emptyDir: {sizeLimit: {{ index . 1 }}}
  {{- end }}
{{- end }}

{{- define "lookalike.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Called with (list $ "name of a Secret"). */}}
{{- define "lookalike.storeEnvironment" -}}
{{- $root := index . 0 -}}
- {name: LOOKALIKE_STORE, value: {{ $root.Values.store.uri | quote }}}
- {name: AWS_DEFAULT_REGION, value: {{ $root.Values.store.region | quote }}}
{{- with $root.Values.store.endpoint }}
- {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- with index . 1 }}
{{- $secret := . }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: {{ . }}}}
{{- end }}
{{- end }}
{{- end }}

{{/* Called with a map: each becomes a variable. */}}
{{- define "lookalike.settings" -}}
{{- range $name, $value := . }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "lookalike.prefectEnvironment" -}}
- {name: PREFECT_API_URL, value: {{ .Values.prefect.apiUrl | quote }}}
- {name: DO_NOT_TRACK, value: "1"}
{{- with .Values.prefect.authSecret }}
- name: PREFECT_API_AUTH_STRING
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: auth-string}}
{{- end }}
{{- end }}

{{/* Whole cores of a request such as 2, "500m" or 1.5: at least one. A process sees the cores of its node, and starts threads for all. */}}
{{- define "lookalike.cores" -}}
{{- $cpu := . | toString -}}
{{- if hasSuffix "m" $cpu -}}
{{- max 1 (ceil (divf (trimSuffix "m" $cpu | float64) 1000) | int) -}}
{{- else -}}
{{- max 1 (ceil (float64 $cpu) | int) -}}
{{- end -}}
{{- end }}

{{/*
The operator changes nothing of a cluster but its number of workers. So there a cluster with other values is another cluster, with
a name of its own.
*/}}
{{- define "lookalike.daskName" -}}
{{ .Release.Name }}-dask
{{- if eq .Values.dask.mode "operator" }}-{{ list .Chart.Version (omit .Values.dask "workers" "autoscaling") .Values.dask.autoscaling.enabled .Values.images .Values.store .Values.prefect.settings .Values.prefect.extraEnv .Values.prefect.extraVolumes .Values.prefect.extraVolumeMounts | toJson | sha256sum | trunc 8 }}{{ end }}
{{- end }}

{{- define "lookalike.schedulerAddress" -}}
tls://{{ include "lookalike.daskName" . }}-scheduler.{{ .Release.Namespace }}.svc:8786
{{- end }}

{{- define "lookalike.daskTls" -}}
- {name: DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION, value: "true"}
- {name: DASK_DISTRIBUTED__COMM__TLS__CA_FILE, value: /etc/dask/ca.crt}
{{- range list "SCHEDULER" "WORKER" "CLIENT" }}
- {name: DASK_DISTRIBUTED__COMM__TLS__{{ . }}__CERT, value: /etc/dask/tls.crt}
- {name: DASK_DISTRIBUTED__COMM__TLS__{{ . }}__KEY, value: /etc/dask/tls.key}
{{- end }}
{{- end }}

{{- define "lookalike.hasBatch" -}}
{{- if .Values.prefect.apiUrl }}yes{{ end }}
{{- end }}

{{/* The pod of a Dask worker, for Deployments and for Dask's operator. */}}
{{- define "lookalike.daskWorkerPod" -}}
serviceAccountName: {{ .Release.Name }}-batch
{{ include "lookalike.podSecurity" . }}
{{- include "lookalike.placement" .Values.dask }}
containers:
  - name: worker
    {{- include "lookalike.image" (list . .Values.dask.image) | nindent 4 }}
    command: [dask, worker]
    args:
      - {{ include "lookalike.schedulerAddress" . }}
      - --nworkers=1
      - --nthreads=1
      - --memory-limit=$(MEMORY_LIMIT)
      - --local-directory=/scratch
      - --dashboard-address=:8790
      {{- if eq .Values.dask.mode "operator" }}
      - --name=$(DASK_WORKER_NAME)
      {{- end }}
    env:
      {{- include "lookalike.storeEnvironment" (list . .Values.store.secrets.batch) | nindent 6 }}
      {{- include "lookalike.daskTls" . | nindent 6 }}
      - {name: TMPDIR, value: /scratch}
      - {name: PYTHON_CPU_COUNT, value: {{ include "lookalike.cores" (.Values.dask.resources.requests).cpu | quote }}}
      # what Dask finds by itself is a part of this: as large as one core's part of the node
      - name: MEMORY_LIMIT
        valueFrom: {resourceFieldRef: {containerName: worker, resource: limits.memory}}
      - {name: DO_NOT_TRACK, value: "1"}
      {{- include "lookalike.settings" .Values.prefect.settings | nindent 6 }}
      {{- with .Values.prefect.extraEnv }}{{ toYaml . | nindent 6 }}{{ end }}
    ports:
      - {name: http-dashboard, containerPort: 8790}
    readinessProbe:
      httpGet: {path: /health, port: http-dashboard}
      periodSeconds: 5
      timeoutSeconds: 5
    livenessProbe:
      httpGet: {path: /health, port: http-dashboard}
      periodSeconds: 20
      timeoutSeconds: 10
      failureThreshold: 6
    resources: {{- toYaml .Values.dask.resources | nindent 6 }}
    {{- include "lookalike.containerSecurity" . | nindent 4 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      - {name: scratch, mountPath: /scratch}
      - {name: dask-tls, mountPath: /etc/dask, readOnly: true}
      {{- with .Values.prefect.extraVolumeMounts }}{{ toYaml . | nindent 6 }}{{ end }}
volumes:
  - name: tmp
    emptyDir: {}
  {{- include "lookalike.folder" (list "scratch" .Values.dask.scratchSize .Values.dask.scratchStorageClass) | nindent 2 }}
  {{- with .Values.prefect.extraVolumes }}{{ toYaml . | nindent 2 }}{{ end }}
  - name: dask-tls
    secret: {secretName: {{ .Values.dask.tlsSecret }}, defaultMode: 288}
{{- end }}

{{/* The pod of the Dask scheduler, as above. */}}
{{- define "lookalike.daskSchedulerPod" -}}
serviceAccountName: {{ .Release.Name }}-batch
{{ include "lookalike.podSecurity" . }}
{{- include "lookalike.placement" .Values.dask }}
containers:
  - name: scheduler
    {{- include "lookalike.image" (list . .Values.dask.image) | nindent 4 }}
    command: [dask, scheduler]
    args: [--protocol=tls, --port=8786, --dashboard-address=:8787]
    env:
      {{- include "lookalike.daskTls" . | nindent 6 }}
      - {name: DO_NOT_TRACK, value: "1"}
      {{- if .Values.dask.autoscaling.enabled }}
      # The operator has no certificate: it asks here, over HTTP, how many workers are wanted and which may go. The last of
      # these routes answers it, the others are Dask's own.
      - name: DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES
        value: >-
          ["distributed.http.scheduler.prometheus", "distributed.http.scheduler.info", "distributed.http.scheduler.json",
          "distributed.http.health", "distributed.http.proxy", "distributed.http.statics", "distributed.http.scheduler.api"]
      {{- end }}
    ports:
      - {name: tcp-comm, containerPort: 8786}
      - {name: http-dashboard, containerPort: 8787}
    readinessProbe:
      httpGet: {path: /health, port: http-dashboard}
      periodSeconds: 5
      timeoutSeconds: 5
    livenessProbe:
      httpGet: {path: /health, port: http-dashboard}
      periodSeconds: 20
      timeoutSeconds: 10
      failureThreshold: 6
    resources:
      requests: {cpu: 500m, memory: 512Mi}
      limits: {memory: 1Gi}
    {{- include "lookalike.containerSecurity" . | nindent 4 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      - {name: dask-tls, mountPath: /etc/dask, readOnly: true}
volumes:
  - name: tmp
    emptyDir: {}
  - name: dask-tls
    secret: {secretName: {{ .Values.dask.tlsSecret }}, defaultMode: 288}
{{- end }}
