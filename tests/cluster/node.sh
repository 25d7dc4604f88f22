#!/usr/bin/env bash
# Process 1 of the node, in mount, network, process, IPC and host name namespaces of its own.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

mount --make-rshared /
hostname node1
# What the kubelet and others write below /var stays in the node's own folder.
mkdir -p "$state/var" "$state/var.work"
mount -t overlay overlay -o "lowerdir=/var,upperdir=$state/var,workdir=$state/var.work" /var
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/netns /run/settings
# The kubelet wants these settings of the kernel. It is shown the values, and the machine keeps its own.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=/run/settings/${setting//[\/=]/_}
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done
# A pair of interfaces with both ends in here, and no default route: nothing leaves.
ip link set lo up
ip link add eth0 type veth peer name eth0peer
ip address add "$node_ip/24" dev eth0
ip link set eth0 up
ip link set eth0peer up
ip route add "$service_cidr" dev eth0 # so that the node's own programs reach Services
sysctl -qw net.ipv4.ip_forward=1
sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
touch "$state/init.ready"
# Reaps what it inherits, for ever.
trap : TERM
while :; do
  sleep 1d &
  wait $! || true
done
