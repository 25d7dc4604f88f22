#!/usr/bin/env bash
# The Helm chart on a real node: NATS with the accounts of deploy/nats, the topology by the chart's Job, workers,
# dashboard, gateway and bridge in a namespace with the PodSecurity level `restricted`, `helm test`, a command from inside the
# cluster, and one over HTTP.
# Prints `ok NAME` or `FAILED NAME: reason`.
#
# Needs the running node of `just cluster-up`, `cargo build` and `just tools istio`. SAILHAND_E2E_KUBECONFIG names another
# cluster, whose nodes must have the images localhost/sailhand:1 and localhost/nats:1.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
sailhand=${SAILHAND_BIN:-${CARGO_TARGET_DIR:-$project/target}/debug/sailhand}
chart=$project/deploy/helm/sailhand
# shellcheck source=../cluster/settings.sh
source "$project/tests/cluster/settings.sh"
export KUBECONFIG=${SAILHAND_E2E_KUBECONFIG:-$KUBECONFIG}
namespace=sailhand-chart
token=0123456789abcdef0123456789abcdef
work=$(mktemp -d "${TMPDIR:-/tmp}/sailhand-chart-XXXXXX")
area="chart on a node"
# shellcheck source=../support/checks.sh
source "$project/tests/support/checks.sh"

clean_up() {
  helm uninstall sailhand --namespace "$namespace" --wait --timeout 1m >/dev/null 2>&1
  kubectl delete namespace "$namespace" sailhand-chart-work --ignore-not-found --timeout 1m >/dev/null 2>&1
  rm -rf "$work"
}
trap clean_up EXIT

images() {
  [[ -z ${SAILHAND_E2E_KUBECONFIG:-} ]] || return 0
  python3 "$project/tests/cluster/assemble_image.py" "$work/sailhand.tar" localhost/sailhand:1 --user 65532:65532 \
    --entrypoint '["/usr/local/bin/sailhand"]' --ldd "$sailhand" "$sailhand:/usr/local/bin/sailhand:0755" || return 1
  python3 "$project/tests/cluster/assemble_image.py" "$work/nats.tar" localhost/nats:1 --user 65532:65532 \
    --entrypoint '["/nats-server"]' "$bin/nats-server:/nats-server:0755" || return 1
  local image
  for image in sailhand nats; do
    "$project/tests/cluster/cluster" exec ctr -a "$containerd_socket" -n k8s.io images import "$work/$image.tar" || return 1
    rm "$work/$image.tar"
  done
}

nats() {
  local user secrets=()
  kubectl create namespace "$namespace" &&
    kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted || return 1
  for user in $(grep -o "SAILHAND_[A-Z]*_PASSWORD" "$project/deploy/nats/accounts.conf" | sed "s/SAILHAND_//; s/_PASSWORD//"); do
    secrets+=("--from-literal=SAILHAND_${user}_PASSWORD=${user}password")
  done
  kubectl -n "$namespace" create secret generic nats-passwords "${secrets[@]}" &&
    kubectl -n "$namespace" create configmap nats --from-file="$project/deploy/nats/accounts.conf" \
      --from-literal=nats.conf=$'jetstream { store_dir: "/data", max_file_store: 20GB }\ninclude "accounts.conf"\n' &&
    kubectl -n "$namespace" create secret generic sailhand-nats --from-literal=password=WORKERpassword &&
    kubectl -n "$namespace" create secret generic sailhand-nats-admin --from-literal=password=ADMINpassword &&
    kubectl -n "$namespace" create secret generic sailhand-dashboard-nats --from-literal=password=OPERATORpassword &&
    kubectl -n "$namespace" create secret generic sailhand-gateway-nats --from-literal=password=GATEWAYpassword &&
    kubectl -n "$namespace" create secret generic sailhand-gateway-tokens --from-literal=ci="$token" &&
    kubectl -n "$namespace" create secret generic sailhand-bridge-nats --from-literal=password=BRIDGEpassword || return 1
  kubectl -n "$namespace" apply -f - <<'END' || return 1
apiVersion: v1
kind: Service
metadata: { name: nats }
spec: { selector: { app: nats }, ports: [{ port: 4222 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: nats }
spec:
  selector: { matchLabels: { app: nats } }
  template:
    metadata: { labels: { app: nats } }
    spec:
      securityContext: { runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: { type: RuntimeDefault } }
      containers:
        - name: nats
          image: localhost/nats:1
          imagePullPolicy: Never
          args: [--config, /config/nats.conf]
          envFrom: [{ secretRef: { name: nats-passwords } }]
          readinessProbe: { tcpSocket: { port: 4222 }, periodSeconds: 1 }
          securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
          volumeMounts: [{ name: config, mountPath: /config }, { name: data, mountPath: /data }]
      volumes: [{ name: config, configMap: { name: nats } }, { name: data, emptyDir: {} }]
END
  kubectl -n "$namespace" rollout status deployment/nats --timeout 1m
}

values() {
  local url=nats://nats.$namespace.svc:4222
  cat <<END
image: { repository: localhost/sailhand, tag: "1", pullPolicy: Never }
replicas: 1
networkPolicy: { apiServerPorts: [443, 6443, $api_port] }
rbac: { inventoryNamespace: $namespace, createInventoryNamespace: false }
clusterRole:
  rules:
    - { apiGroups: [""], resources: [configmaps, namespaces], verbs: [get, list, create, patch, delete] }
config: |
  [nats]
  url = ["$url"]
  user = "worker"
  password_file = "/etc/sailhand/nats/password"
  [health]
  listen = "0.0.0.0:8321"
  [targets.local]
  inventory_namespace = "$namespace"
  [targets.dev] # the target for which deploy/nats permits commands of the gateway
  inventory_namespace = "$namespace"
topology:
  enabled: true
  config: |
    [nats]
    url = ["$url"]
    user = "admin"
    password_file = "/etc/sailhand/nats/password"
dashboard:
  enabled: true
  config: |
    [nats]
    url = ["$url"]
    user = "operator"
    password_file = "/etc/sailhand/nats/password"
    inbox_prefix = "_INBOX_operator"
    [dashboard]
    listen = "0.0.0.0:8322"
    identity_header = "X-Forwarded-User"
    trusted_proxies = ["127.0.0.1/32"]
    allow_actions = true
gateway:
  enabled: true
  replicas: 1
  config: |
    [nats]
    url = ["$url"]
    user = "gateway"
    password_file = "/etc/sailhand/nats/password"
    inbox_prefix = "_INBOX_gateway"
    [gateway]
    listen = "0.0.0.0:8323"
    [gateway.principals.ci]
    token_file = "/etc/sailhand/tokens/ci"
    verbs = ["ping"]
    targets = ["dev"]
    source_prefix = "/ci/"
bridge:
  enabled: true
  config: |
    [nats]
    url = ["$url"]
    user = "bridge"
    password_file = "/etc/sailhand/nats/password"
    inbox_prefix = "_INBOX_bridge"
    [bridge.targets.local]
    server = ["https://kubernetes.default.svc"]
    server_only = true
END
}

install_chart() {
  values >"$work/values.yaml"
  helm upgrade --install sailhand "$chart" --namespace "$namespace" --values "$work/values.yaml" --wait --timeout 2m ||
    { kubectl -n "$namespace" get pods,jobs; kubectl -n "$namespace" logs -l app.kubernetes.io/instance=sailhand --prefix --tail 5; return 1; }
}

# A Job with the dashboard's user, which is the operator.
send_command() {
  kubectl -n "$namespace" apply -f - <<END || return 1
apiVersion: batch/v1
kind: Job
metadata: { name: command }
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      securityContext: { runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: { type: RuntimeDefault } }
      containers:
        - name: sailhand
          image: localhost/sailhand:1
          imagePullPolicy: Never
          args: [submit, config.apply, --config, /etc/sailhand/config/config.toml, --target, local, -p, name=inside, -p,
            namespace=sailhand-chart-work, -p, create_namespace=true, -p,
            "manifest={apiVersion: v1, kind: ConfigMap, metadata: {name: inside}, data: {from: cluster}}", --wait]
          securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
          volumeMounts:
            - { name: config, mountPath: /etc/sailhand/config }
            - { name: password, mountPath: /etc/sailhand/nats }
      volumes:
        - { name: config, configMap: { name: sailhand-dashboard } }
        - { name: password, secret: { secretName: sailhand-dashboard-nats, defaultMode: 0440 } }
END
  kubectl -n "$namespace" wait --for=condition=complete job/command --timeout 1m ||
    { kubectl -n "$namespace" logs job/command; return 1; }
  [[ $(kubectl -n sailhand-chart-work get configmap inside -o 'jsonpath={.data.from}') == cluster ]]
}

# `forwarded DEPLOYMENT PORT` leaves the local address in $base. Ends with the subshell that `check` runs a check in.
forwarded() {
  local port=1$2 try
  base=http://127.0.0.1:$port
  kubectl -n "$namespace" port-forward "deployment/$1" "$port:$2" >"$work/forward.log" 2>&1 &
  forward=$!
  trap 'kill "$forward" 2>/dev/null' EXIT
  for ((try = 0; try < 100; try++)); do
    curl -fs "$base/livez" >/dev/null && return
    sleep 0.1
  done
  cat "$work/forward.log"
  return 1
}

# A connection that `port-forward` makes comes from 127.0.0.1 inside the pod, as that of a proxy in the same pod.
pages() {
  forwarded sailhand-dashboard 8322 || return 1
  [[ $(curl -s -o /dev/null -w '%{http_code}' "$base/runs") == 401 ]] || { echo "without an identity the page is not refused"; return 1; }
  curl -fs -H 'X-Forwarded-User: jane' "$base/runs" | grep -q config.apply || { cat "$work/forward.log"; echo "the run is not listed"; return 1; }
}

command_over_http() {
  local event='{"specversion":"1.0","type":"io.meshery.istio.command.ping.v1","source":"/ci/chart","id":"1","subject":"dev","data":{"echo":"by HTTP"}}'
  local sent place
  forwarded sailhand-gateway 8323 || return 1
  sent=$(curl -fsS "$base/v1/events" -H "Authorization: Bearer $token" -H 'Content-Type: application/cloudevents+json' -d "$event") || return 1
  place=$(sed -n 's/.*"location":"\([^"]*\)".*/\1/p' <<<"$sent")
  curl -fsS "$base$place?wait=30s" -H "Authorization: Bearer $token" | grep -q '"echo":"by HTTP"'
}

upgrade() {
  local before
  before=$(kubectl -n "$namespace" get pods -l app.kubernetes.io/name=sailhand -o name)
  install_chart && [[ $(kubectl -n "$namespace" get pods -l app.kubernetes.io/name=sailhand -o name) == "$before" ]]
}

check "images" images && check "NATS with the accounts" nats && check "installation" install_chart &&
  check "helm test" helm test sailhand --namespace "$namespace" --timeout 1m
((failed)) || check "a command from inside the cluster" send_command
((failed)) || check "pages of the dashboard" pages
((failed)) || check "a command over HTTP through the gateway" command_over_http
((failed)) || check "an upgrade without changes restarts nothing" upgrade
((failed)) || check "uninstallation" helm uninstall sailhand --namespace "$namespace" --wait --timeout 1m
exit "$failed"
