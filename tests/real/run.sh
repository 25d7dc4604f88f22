#!/usr/bin/env bash
# The checks on a real cluster: the one that SAILHAND_E2E_KUBECONFIG names, whose nodes must have the images of
# tests/cluster/images.sh, or else a node of our own. Where neither can be had, says loudly what was not checked, and
# fails when CI is set.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

unchecked() {
  echo "NOT CHECKED on a real cluster: $*" >&2
  [[ -z ${CI:-} ]] || exit 1
  exit 77
}

[[ -d ${SAILHAND_SHARED:-$root/../shared}/charts ]] ||
  unchecked "Istio's charts are not there; SAILHAND_SHARED names the folder that has them in charts/"

if [[ -n ${SAILHAND_E2E_KUBECONFIG:-} ]]; then
  export KUBECONFIG=$SAILHAND_E2E_KUBECONFIG
else
  [[ $(uname -sm) == "Linux x86_64" && $EUID == 0 && -d /sys/fs/cgroup/cpuset ]] ||
    unchecked "a node of our own takes root on Linux with cgroup v1; SAILHAND_E2E_KUBECONFIG names another cluster"
  "$root/tests/cluster/cluster" up --guard $$
  trap '"$root/tests/cluster/cluster" down' EXIT
  export KUBECONFIG=${SAILHAND_NODE:-${SAILHAND_CACHE:-$root/.cache}/node}/admin.kubeconfig
fi
code=0
if ((!$#)) || [[ " $* " == *chart* ]]; then "$here/chart.sh" || code=1; fi
python3 "$here/mesh.py" "$@" || code=1
exit "$code"
