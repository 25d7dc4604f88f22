#!/usr/bin/env bash
# Starts the node: its namespaces, containerd with the images, Kubernetes, DNS, and the way in from the host.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

pki=$state/pki
log=$state/log

say() {
  echo "  $*, $SECONDS s"
}

# Starts a program of the node; it outlives this script and ends with the node.
start() {
  local name=$1
  shift
  setsid nsenter -t "$(cat "$state/init.pid")" -m -n -p -i -u -- "$@" >"$log/$name.log" 2>&1 </dev/null &
}

kubectl_in_node() {
  in_node kubectl "$@"
}

namespaces() {
  local controller unshare_pid
  for controller in "${controllers[@]}"; do
    mkdir -p "/sys/fs/cgroup/$controller/$cgroup"
  done
  # A new group of this controller is empty, and takes no process.
  for name in cpuset.cpus cpuset.mems; do
    cat "/sys/fs/cgroup/cpuset/$name" >"/sys/fs/cgroup/cpuset/$cgroup/$name"
  done
  setsid unshare -m -n -p -i -u --fork --kill-child --mount-proc --propagation private \
    bash "$here/node.sh" >"$log/node.log" 2>&1 </dev/null &
  unshare_pid=$!
  await "namespaces" 10 test -e "$state/init.ready"
  pgrep -P "$unshare_pid" >"$state/init.pid"
}

containers() {
  start containerd env LD_LIBRARY_PATH="$libraries" containerd -c "$state/containerd.toml"
  await "containerd" 20 in_node ctr -a "$containerd_socket" version
  local image
  for image in "$parts"/images/*.tar; do
    in_node ctr -a "$containerd_socket" -n k8s.io images import "$image" >>"$log/images.log" 2>&1
  done
}

control_plane() {
  start etcd etcd --name node --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls http://127.0.0.1:22380 --initial-advertise-peer-urls http://127.0.0.1:22380 \
    --initial-cluster node=http://127.0.0.1:22380
  start kube-apiserver kube-apiserver --etcd-servers="http://127.0.0.1:$etcd_port" --bind-address=0.0.0.0 \
    --advertise-address="$node_ip" --secure-port="$api_port" --tls-cert-file="$pki/apiserver.crt" \
    --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" --authorization-mode=Node,RBAC \
    --service-cluster-ip-range="$service_cidr" --allow-privileged=true \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$pki/accounts.pub" --service-account-signing-key-file="$pki/accounts.key" \
    --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --enable-admission-plugins=NodeRestriction --endpoint-reconciler-type=lease
  await "the API server" 60 kubectl_in_node get --raw /readyz
  start kube-controller-manager kube-controller-manager --kubeconfig="$state/controllers.kubeconfig" \
    --root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/accounts.key" \
    --use-service-account-credentials=true --cluster-signing-cert-file="$pki/ca.crt" \
    --cluster-signing-key-file="$pki/ca.key" --leader-elect=false --secure-port=26257 --allocate-node-cidrs=true \
    --cluster-cidr=10.244.0.0/16 --service-cluster-ip-range="$service_cidr" --node-cidr-mask-size=24
  start kube-scheduler kube-scheduler --kubeconfig="$state/scheduler.kubeconfig" --leader-elect=false --secure-port=26259
}

node() {
  start kubelet kubelet --config="$state/kubelet.yaml" --kubeconfig="$state/kubelet.kubeconfig" \
    --root-dir="$state/kubelet" --hostname-override=node1 --node-ip="$node_ip" --v=2
  start kube-proxy env LD_LIBRARY_PATH="$libraries" kube-proxy --config="$state/kube-proxy.yaml" --v=2
  await "the node's registration" 30 kubectl_in_node get node node1
  kubectl_in_node apply -f "$here/coredns.yaml" >"$log/coredns.log"
  kubectl_in_node wait --for=condition=Ready node/node1 --timeout=60s >/dev/null
  kubectl_in_node -n kube-system rollout status deployment/coredns --timeout=60s >/dev/null
}

relay() {
  setsid python3 "$here/relay.py" "$(cat "$state/init.pid")" "$node_ip" "$api_port" "$state/relay.port" \
    >"$log/relay.log" 2>&1 </dev/null &
  echo $! >"$state/relay.pid"
  await "the relay" 10 test -e "$state/relay.port"
  "$here/pki.sh" relay "$(cat "$state/relay.port")"
  await "the API server from the host" 10 kubectl get --raw /readyz
}

echo "node in $state:"
"$here/pki.sh"
"$here/config.sh"
namespaces
containers
say "containerd and its images ready"
control_plane
say "control plane ready"
node
say "node and DNS ready"
relay
touch "$state/ready"
echo "node ready after $SECONDS s; its kubeconfig:"
