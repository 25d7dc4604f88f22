#!/usr/bin/env bash
# Certificates and kubeconfigs of the node's programs, valid for two days: the node does not live longer.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

pki=$state/pki
mkdir -p "$pki"
cd "$pki"

certificate() {
  local name=$1 subject=$2 names=${3:-}
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$name.key" -out "$name.csr" -subj "$subject" 2>/dev/null
  {
    echo "keyUsage=digitalSignature,keyEncipherment"
    echo "extendedKeyUsage=clientAuth,serverAuth"
    [[ -z $names ]] || echo "subjectAltName=$names"
  } >"$name.ext"
  openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$name.crt" -days 2 -extfile "$name.ext" 2>/dev/null
  rm "$name.csr" "$name.ext"
}

kubeconfig() {
  local name=$1 server=$2 out=$3
  cat >"$out" <<END
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "$server", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $name, user: {client-certificate-data: $(base64 -w0 "$name.crt"), client-key-data: $(base64 -w0 "$name.key")}}]
contexts: [{name: node, context: {cluster: node, user: $name}}]
current-context: node
END
}

if [[ ${1:-} == relay ]]; then
  kubeconfig admin "https://127.0.0.1:$2" "$KUBECONFIG"
  exit
fi

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=sailhand-node 2>/dev/null
openssl genrsa -out accounts.key 2048 2>/dev/null
openssl rsa -in accounts.key -pubout -out accounts.pub 2>/dev/null
service=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
certificate apiserver /CN=kube-apiserver "$service,IP:127.0.0.1,IP:$node_ip,IP:10.96.0.1"
certificate admin /O=system:masters/CN=admin
certificate controllers /CN=system:kube-controller-manager
certificate scheduler /CN=system:kube-scheduler
certificate proxy /CN=system:kube-proxy
certificate kubelet /O=system:nodes/CN=system:node:node1 "DNS:node1,IP:$node_ip,IP:127.0.0.1"
for name in controllers scheduler proxy kubelet; do
  kubeconfig "$name" "https://$node_ip:$api_port" "$state/$name.kubeconfig"
done
kubeconfig admin "https://$node_ip:$api_port" "$state/inside.kubeconfig"
