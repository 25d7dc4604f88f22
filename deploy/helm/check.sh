#!/usr/bin/env bash
# Checks the Helm chart: every template with the default values and with all of them, that the schema of the values refuses
# mistakes, the pods by a real API server, and the alerts with promtool. Prints `ok NAME` or `FAILED NAME: reason`.
set -uo pipefail

chart=$(cd "$(dirname "${BASH_SOURCE[0]}")/sailhand" && pwd)
root=$(cd "$chart/../../.." && pwd)
export PATH=${SAILHAND_CACHE:-$root/.cache}/bin:$PATH
area=chart
# shellcheck source=../../tests/support/checks.sh
source "$root/tests/support/checks.sh"

refuses() {
  local output
  if output=$(helm template sailhand "$chart" "$@" 2>&1); then
    echo "the chart accepts $*"
    return 1
  fi
  [[ $output == *"values don't meet the specifications of the schema"* ]] || { echo "$output"; return 1; }
}

# The API server judges the pods of all templates in a namespace with the PodSecurity level restricted.
restricted() {
  local state output code=0
  state=$(mktemp -d "${TMPDIR:-/tmp}/sailhand-chart-XXXXXX")
  "$root/tests/support/control-plane.sh" up "$state/cluster" --guard $$ >"$state/log" || { cat "$state/log"; return 1; }
  export KUBECONFIG=$state/cluster/admin.kubeconfig
  output=$(
    exec 2>&1
    kubectl create namespace mesh-operator &&
      kubectl label namespace mesh-operator pod-security.kubernetes.io/{enforce,warn}=restricted &&
      kubectl config set-context --current --namespace=mesh-operator &&
      kubectl create namespace shop && kubectl create namespace team-a &&
      helm template sailhand "$chart" --namespace mesh-operator --values "$chart/ci/full-values.yaml" \
        --set monitoring.podMonitor=false,monitoring.alerts=false,autoscaling.enabled=false,dashboard.containers=null \
        --set rbac.createInventoryNamespace=false,rbac.inventoryNamespace=mesh-operator,smiController.rootNamespace=shop |
        kubectl apply --dry-run=server --filename -
  ) || code=1
  "$root/tests/support/control-plane.sh" down "$state/cluster" >/dev/null 2>&1
  rm -rf "$state"
  [[ $code == 0 && $output != *"would violate"* && $output == *"pod/sailhand-test created"* ]] || { echo "$output"; return 1; }
}

check "lint" helm lint --strict "$chart"
check "lint with all values" helm lint --strict "$chart" --values "$chart/ci/full-values.yaml"
check "templates" helm template sailhand "$chart"
check "templates with all values" helm template sailhand "$chart" --values "$chart/ci/full-values.yaml"
check "unknown value is refused" refuses --set dashbord.enabled=true
check "unknown switch is refused" refuses --set clusterRole.meshes=true
check "wrong type is refused" refuses --set-string replicas=two
check "port out of range is refused" refuses --set dashboard.port=70000
check "versions agree" env SAILHAND_SNAPSHOT=1 "$root/deploy/release/release.sh" version
check "pods meet the PodSecurity level restricted" restricted
check "alerts" promtool check rules "$chart/files/alerts.yaml"
check "alerts fire" promtool test rules "$chart/files/alerts.test.yaml"
exit "$failed"
