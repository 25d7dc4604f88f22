#!/usr/bin/env bash
# A real Kubernetes control plane on this machine, with simulated nodes: etcd, API server, controller manager and
# scheduler are the real programs, nodes and pods are played by kwok. For tests and the demo.
#
#   control-plane.sh up DIR [--guard PID] [--nodes N] [--pod-ready-ms MS]
#                                           starts it with its state in DIR; prints progress, the kubeconfig's path last
#   control-plane.sh down DIR               stops it and removes DIR
#   control-plane.sh restart DIR PROCESS    ends one process as a crash does, and starts it again with the same arguments
#   control-plane.sh status DIR             one line per process; fails when one is missing
#
# --guard PID stops and removes it once that process is gone, however it ended.
# Any user can run it, any number of times side by side: ports are free ones, every listener is on 127.0.0.1, and the
# API server is forbidden (by an egress selector without a proxy) to contact pods, nodes or webhooks, so that made-up
# pod addresses never leave the machine. Webhooks given by URL are reached.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${SAILHAND_CACHE:-$(cd "$here/../.." && pwd)/.cache}/bin

pod_cidr=10.211.0.0/16
service_cidr=10.212.0.0/16
first_service_ip=10.212.0.1
processes=(kwok kube-scheduler kube-controller-manager kube-apiserver etcd) # in the order of stopping

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

fail() {
  echo "control plane: $*" >&2
  exit 1
}

# Below the range from which the kernel takes outgoing ports, so that a client cannot take it in between.
free_port() {
  local port
  while :; do
    port=$((10000 + (RANDOM * 32768 + RANDOM) % 22000))
    [[ " $taken " == *" $port "* ]] && continue
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      taken+=" $port"
      found_port=$port
      return
    fi
  done
}
taken=""

# Runs a command in a session of its own, where a terminal's Ctrl-C does not reach it. To be called with `&`.
detached() {
  if command -v setsid >/dev/null; then
    exec setsid "$@"
  fi
  exec "$@"
}

# Starts the program `$1` with the rest as arguments; it outlives this script.
start() {
  local name=$1
  shift
  printf '%s\0' "$@" >"$dir/$name.args"
  detached "$bin/$name" "$@" >>"$dir/$name.log" 2>&1 </dev/null &
  echo $! >"$dir/$name.pid"
}

# Ends the program `$1` as a crash does and starts it again.
restart() {
  local name=$1 args port
  running "$name" || fail "$name is not running in $dir"
  mapfile -d '' -t args <"$dir/$name.args"
  port=$(printf '%s\n' "${args[@]}" | sed -n 's/^--secure-port=//p')
  kill -KILL "$(cat "$dir/$name.pid")"
  # It listens until the last of its threads is gone, and another could not.
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.02; done
  start "$name" "${args[@]}"
  wait_for "$name" 90 "$bin/kubectl" --kubeconfig "$dir/admin.kubeconfig" get --raw /readyz
}

running() {
  local pid
  pid=$(cat "$dir/$1.pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null
}

# Waits until the command after `$1` (a process) and `$2` (seconds) succeeds.
wait_for() {
  local name=$1 end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ! running "$name"; then
      tail -n 20 "$dir/$name.log" >&2
      fail "$name ended while starting; its log is above"
    fi
    if ((SECONDS > end)); then
      tail -n 20 "$dir/$name.log" >&2
      fail "$name is not ready in time; its log is above"
    fi
    sleep 0.05
  done
  echo "  $name ready, $SECONDS s"
}

# A key and a certificate by our own authority: name, subject, extra extension.
certificate() {
  local name=$1 subject=$2 extension=${3:-}
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout "$dir/pki/$name.key" -subj "$subject" -out "$dir/pki/$name.csr" 2>/dev/null
  openssl x509 -req -in "$dir/pki/$name.csr" -CA "$dir/pki/ca.crt" -CAkey "$dir/pki/ca.key" -CAcreateserial \
    -days 30 -out "$dir/pki/$name.crt" \
    -extfile <(printf 'keyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n%s' "$extension") 2>/dev/null
}

kubeconfig() {
  local name=$1 port=$2
  cat >"$dir/$name.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: https://127.0.0.1:$port
    certificate-authority-data: $(base64 <"$dir/pki/ca.crt" | tr -d '\n')
users:
- name: $name
  user:
    client-certificate-data: $(base64 <"$dir/pki/$name.crt" | tr -d '\n')
    client-key-data: $(base64 <"$dir/pki/$name.key" | tr -d '\n')
contexts:
- name: local
  context: {cluster: local, user: $name}
current-context: local
YAML
}

make_credentials() {
  local api_port=$1
  mkdir -m 700 "$dir/pki"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/pki/ca.key" \
    -subj /CN=sailhand-test-ca -days 30 -out "$dir/pki/ca.crt" 2>/dev/null
  certificate apiserver /CN=kube-apiserver \
    "subjectAltName=IP:127.0.0.1,IP:$first_service_ip,DNS:localhost,DNS:kubernetes.default.svc"
  certificate admin /O=system:masters/CN=admin
  certificate controller-manager /CN=system:kube-controller-manager
  certificate scheduler /CN=system:kube-scheduler
  certificate kwok /O=system:masters/CN=kwok
  openssl genrsa -out "$dir/pki/service-accounts.key" 2048 2>/dev/null
  openssl rsa -in "$dir/pki/service-accounts.key" -pubout -out "$dir/pki/service-accounts.pub" 2>/dev/null
  local user
  for user in admin controller-manager scheduler kwok; do
    kubeconfig "$user" "$api_port"
  done
}

# "cluster" is what the API server calls traffic to nodes, pods and services. There is no proxy at this address.
forbid_egress() {
  cat >"$dir/egress.yaml" <<YAML
apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport:
      uds: {udsName: $dir/no-proxy.sock}
YAML
}

nodes_manifest() {
  local i
  for ((i = 1; i <= $1; i++)); do
    cat <<YAML
---
apiVersion: v1
kind: Node
metadata:
  name: node-$i
  annotations: {kwok.x-k8s.io/node: fake}
  labels: {kubernetes.io/hostname: node-$i, kubernetes.io/os: linux, kubernetes.io/arch: amd64}
YAML
  done
}

# Stops everything when process `$1` is gone. Started by `up --guard`.
guard() {
  while kill -0 "$1" 2>/dev/null; do
    [[ -d $dir ]] || exit 0
    sleep 1
  done
  down
}

up() {
  local guarded="" nodes=3 pod_ready_ms=0 name
  while (($#)); do
    case $1 in
      --guard) guarded=$2 ;;
      --nodes) nodes=$2 ;;
      --pod-ready-ms) pod_ready_ms=$2 ;;
      *) usage ;;
    esac
    shift 2
  done
  for name in "${processes[@]}" kubectl; do
    [[ -x $bin/$name ]] || fail "$bin/$name is missing; 'just tools' builds it"
  done
  for name in openssl curl; do
    command -v "$name" >/dev/null || fail "$name is missing on this machine"
  done
  [[ ! -e $dir/etcd.pid ]] || fail "$dir is in use; 'control-plane.sh down $dir' ends it"
  mkdir -p "$dir"
  trap 'stop_processes' ERR
  trap 'code=$?; ((code == 0)) || stop_processes; exit $code' EXIT

  local etcd_port peer_port api_port
  free_port && etcd_port=$found_port
  free_port && peer_port=$found_port
  free_port && api_port=$found_port
  echo "control plane in $dir:"
  start etcd --name local --data-dir "$dir/etcd" --log-level warn --unsafe-no-fsync \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-cluster "local=http://127.0.0.1:$peer_port"
  make_credentials "$api_port"
  forbid_egress
  wait_for etcd 30 curl -fs "http://127.0.0.1:$etcd_port/health"

  start kube-apiserver --etcd-servers="http://127.0.0.1:$etcd_port" \
    --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$api_port" --endpoint-reconciler-type=none \
    --tls-cert-file="$dir/pki/apiserver.crt" --tls-private-key-file="$dir/pki/apiserver.key" \
    --client-ca-file="$dir/pki/ca.crt" --authorization-mode=Node,RBAC --allow-privileged=true \
    --service-cluster-ip-range="$service_cidr" --egress-selector-config-file="$dir/egress.yaml" \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$dir/pki/service-accounts.pub" \
    --service-account-signing-key-file="$dir/pki/service-accounts.key"
  wait_for kube-apiserver 90 curl -fs --cacert "$dir/pki/ca.crt" "https://127.0.0.1:$api_port/readyz"

  # Nobody asks these two over the network, so they open no port.
  start kube-controller-manager --kubeconfig="$dir/controller-manager.kubeconfig" --secure-port=0 --leader-elect=false \
    --use-service-account-credentials=true --service-account-private-key-file="$dir/pki/service-accounts.key" \
    --root-ca-file="$dir/pki/ca.crt" --cluster-signing-cert-file="$dir/pki/ca.crt" \
    --cluster-signing-key-file="$dir/pki/ca.key" --cluster-cidr="$pod_cidr" --allocate-node-cidrs=true \
    --service-cluster-ip-range="$service_cidr" --kube-api-qps=200 --kube-api-burst=400
  start kube-scheduler --kubeconfig="$dir/scheduler.kubeconfig" --secure-port=0 --leader-elect=false \
    --kube-api-qps=200 --kube-api-burst=400
  sed "s/@POD_READY_MS@/$pod_ready_ms/" "$here/kwok-stages.yaml" >"$dir/kwok-stages.yaml"
  start kwok --config="$dir/kwok-stages.yaml" --kubeconfig="$dir/kwok.kubeconfig" \
    --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake --node-ip=127.0.0.1 --cidr="$pod_cidr" \
    --node-lease-duration-seconds=40

  local kubectl=("$bin/kubectl" --kubeconfig "$dir/admin.kubeconfig")
  nodes_manifest "$nodes" | "${kubectl[@]}" apply --server-side -f - >/dev/null
  wait_for kwok 60 "${kubectl[@]}" wait --for=condition=Ready node --all --timeout=5s
  wait_for kube-controller-manager 60 "${kubectl[@]}" -n default get serviceaccount default
  running kube-scheduler || fail "kube-scheduler ended while starting; see $dir/kube-scheduler.log"

  if [[ -n $guarded ]]; then
    detached "${BASH_SOURCE[0]}" guard "$dir" "$guarded" >/dev/null 2>&1 </dev/null &
  fi
  echo "control plane ready after $SECONDS s; its kubeconfig:"
  echo "$dir/admin.kubeconfig"
}

stop_processes() {
  local name pid
  for name in "${processes[@]}"; do
    pid=$(cat "$dir/$name.pid" 2>/dev/null) || continue
    # Nothing in here is worth an orderly end, and an orderly end of the API server takes seconds.
    kill -KILL "$pid" 2>/dev/null || true
    rm -f "$dir/$name.pid"
  done
}

down() {
  [[ -d $dir ]] || fail "$dir does not exist"
  [[ -d $dir/pki || -e $dir/etcd.pid ]] || fail "$dir holds no control plane"
  stop_processes
  rm -rf "$dir"
}

status() {
  local name missing=0
  for name in "${processes[@]}"; do
    if running "$name"; then
      echo "$name running, pid $(cat "$dir/$name.pid"), resident $(($(ps -o rss= -p "$(cat "$dir/$name.pid")") / 1024)) MiB"
    else
      echo "$name not running"
      missing=1
    fi
  done
  return "$missing"
}

(($# >= 2)) || usage
command=$1
dir=$2
shift 2
[[ $dir == /* ]] || dir=$PWD/$dir
case $command in
  up) up "$@" ;;
  down) down ;;
  guard) guard "$@" ;;
  restart) restart "$@" ;;
  status) status ;;
  *) usage ;;
esac
