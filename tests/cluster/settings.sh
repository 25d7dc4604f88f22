# Sourced by the scripts beside it: where things lie, which addresses the node has, and how to get into it.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SAILHAND_CACHE:-$(cd "$here/../.." && pwd)/.cache}
bin=$cache/bin
parts=$cache/node-parts # what is put together once: Debian packages, Envoy, images
root=$parts/debian      # the packages' files
libraries=$root/usr/lib/x86_64-linux-gnu
state=${SAILHAND_NODE:-$cache/node} # of the running node; `down` removes it

node_ip=10.199.0.2
dns_ip=10.96.0.10
service_cidr=10.96.0.0/16
pod_cidr=10.244.0.0/24
api_port=26443
etcd_port=22379
containerd_socket=$state/containerd.sock
controllers=(cpu cpuacct cpuset memory devices freezer blkio pids systemd)
cgroup=sailhand-node-$(cksum <<<"$state" | cut -d' ' -f1)

# Everything the node runs finds the packages' programs; iptables finds its extensions.
export PATH=$parts/xtables:$bin:$root/usr/sbin:$root/usr/bin:$root/sbin:$PATH
export XTABLES_LIBDIR=$libraries/xtables
export KUBECONFIG=$state/admin.kubeconfig

fail() {
  echo "node: $*" >&2
  exit 1
}

# Runs a command in the node's namespaces.
in_node() {
  KUBECONFIG=$state/inside.kubeconfig nsenter -t "$(cat "$state/init.pid")" -m -n -p -i -u -- "$@"
}

# Asks a question every 0.2 s until the answer is yes; `$1` says what for, `$2` how many seconds at most.
await() {
  local what=$1 most=$2 end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || fail "$what: not within $most s; see $state/log"
    sleep 0.2
  done
}
