#!/usr/bin/env bash
# The third-party clients against the real thing: starts a nats-server, a worker, a gateway, a bridge, a double of
# Meshery's HTTP endpoints and one of Grafana's, then runs clients/run.sh.
#
# On a control plane of its own: what the clients expect is true of a cluster without Istio's kinds, and the one that the
# other tests share has them. At last, Meshery's operations install Istio there. Needs `just tools` and a built worker (`cargo build`; $SAILHAND_BIN names another one).
# Prints what clients/run.sh prints.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
cache=${SAILHAND_CACHE:-$root/.cache}
sailhand=${SAILHAND_BIN:-${CARGO_TARGET_DIR:-$root/target}/debug/sailhand}
# shellcheck source=deploy/demo/istio.sh
source "$root/deploy/demo/istio.sh" # stand_in_for_istiod
state=$(mktemp -d "${TMPDIR:-/tmp}/sailhand-clients-XXXXXX")
started=()

clean_up() {
  local pid
  for pid in ${started[@]+"${started[@]}"}; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$state"
}
trap clean_up EXIT

fail() {
  echo "FAILED third-party clients: $*"
  exit 1
}

start_nats() {
  local try
  "$cache/bin/nats-server" --addr 127.0.0.1 --port -1 --jetstream --store_dir "$state/store" \
    --ports_file_dir "$state" >"$state/nats.log" 2>&1 &
  started+=($!)
  for ((try = 0; try < 200; try++)); do
    nats_url=$(grep -Eo 'nats://[0-9.]+:[0-9]+' "$state"/*.ports 2>/dev/null | head -n 1) && return
    sleep 0.1
  done
  cat "$state/nats.log" >&2
  fail "nats-server did not start"
}

# Waits until a line of the file `$2` has the pattern `$3`, and exports what it matches as the variable `$1`.
await() {
  local try found
  for ((try = 0; try < 300; try++)); do
    if found=$(grep -o -m 1 "$3" "$2"); then
      export "$1=$found"
      return
    fi
    sleep 0.1
  done
  cat "$2" >&2
  fail "$(basename "$2" .log) did not start"
}

[[ -x $sailhand ]] || fail "$sailhand is missing; cargo build makes it"
[[ -x $cache/bin/nats-server ]] || fail "$cache/bin/nats-server is missing; 'just tools' builds it"
"$here/clients/run.sh" prepare >"$state/prepare.log" 2>&1 &
preparing=$!
start_nats
kubeconfig=$("$here/support/control-plane.sh" up "$state-control-plane" --guard $$ | tail -n 1)

export SAILHAND__NATS__URL="[\"$nats_url\"]" SAILHAND__HEALTH__LISTEN=127.0.0.1:0
charts=${SAILHAND_CHARTS:-${SAILHAND_SHARED:-$root/../shared}/charts}
printf '[targets.dev]\nkubeconfig = "%s"\n[charts]\nsource = "%s"\nhelm = "%s"\n' "$kubeconfig" "$charts" \
  "$cache/bin/helm" >"$state/config.toml"
"$sailhand" topology apply >"$state/topology.log" 2>&1 || { cat "$state/topology.log" >&2; fail "topology apply"; }
export SAILHAND_GATEWAY_TOKEN=0123456789abcdef-clients
printf '%s\n' "$SAILHAND_GATEWAY_TOKEN" >"$state/token"
printf '[gateway]\nlisten = "127.0.0.1:0"\n[gateway.principals.clients]\ntoken_file = "%s"\nverbs = ["*"]\ntargets = ["dev"]
source_prefix = "/clients/"\n' "$state/token" >"$state/gateway.toml"
"$sailhand" gateway --config "$state/gateway.toml" >"$state/gateway.log" 2>&1 &
started=("$!" "${started[@]}")
await SAILHAND_GATEWAY_URL "$state/gateway.log" 'http://[0-9.]*:[0-9]*'
wait "$preparing" || true # each client says what it lacks

node "$here/clients/double/server.js" >"$state/meshery.log" 2>&1 &
started=("$!" "${started[@]}")
await SAILHAND_MESHERY "$state/meshery.log" '^http://[0-9.]*:[0-9]*$'

export SAILHAND_BRIDGE_KUBECONFIG=$kubeconfig
for name in meshery-client meshery-apps grpcio-client; do
  "$cache/bin/kubectl" --kubeconfig "$kubeconfig" create namespace "$name" >>"$state/kubectl.log"
done
# Nothing waits for readiness: pods of the gateway need an injection webhook that answers, which no simulated node runs.
# Without a data plane, the conformance run is simulated.
cat >"$state/bridge.toml" <<TOML
[bridge]
listen = "127.0.0.1:0"
operations = ["istio", "istio:delete", "label-namespace", "prometheus-addon", "grafana-addon", "kiali-addon",
  "jaeger-addon", "zipkin-addon", "istio-vet", "deny-all-policy-operation", "strict-mtls-policy-operation",
  "mutual-mtls-policy-operation", "disable-mtls-policy-operation", "bookinfo", "httpbin", "custom", "smi_conformance"]
wait = "0s"
conformance_driver = "simulated"
[bridge.meshery]
url = "$SAILHAND_MESHERY"
TOML
"$sailhand" bridge match --target dev <"$kubeconfig" >>"$state/bridge.toml"
"$sailhand" bridge --config "$state/bridge.toml" >"$state/bridge.log" 2>&1 &
started=("$!" "${started[@]}")
await SAILHAND_BRIDGE "$state/bridge.log" '^Bridge at .*'
SAILHAND_BRIDGE=${SAILHAND_BRIDGE#Bridge at }
"$sailhand" worker --config "$state/config.toml" >"$state/worker.log" 2>&1 &
worker=$!
started=("$worker" "${started[@]}")

# It ends with its standard input, which this script holds open.
mkfifo "$state/grafana-input"
exec 9<>"$state/grafana-input"
"$cache/bin/grafana-double" serve <"$state/grafana-input" 9>&- >"$state/grafana.log" 2>&1 &
started=("$!" "${started[@]}")
await SAILHAND_GRAFANA "$state/grafana.log" '127[0-9.]*:[0-9]*$'
export SAILHAND_GRAFANA_TOKEN=0123456789abcdef-grafana
printf '%s\n' "$SAILHAND_GRAFANA_TOKEN" >"$state/grafana-token"
curl -fsS "http://$SAILHAND_GRAFANA/control/settings" >/dev/null -d @- <<JSON
{"apis": ["v1beta1", "v1"], "anonymous": "None", "accounts": [{"token": "$SAILHAND_GRAFANA_TOKEN", "role": "Admin"}]}
JSON
cat >"$state/boards.toml" <<TOML
[targets.dev]
kubeconfig = "$kubeconfig"
[targets.dev.connections.boards]
kind = "grafana"
url = "http://$SAILHAND_GRAFANA"
[targets.dev.connections.boards.credentials]
bearer_token_file = "$state/grafana-token"
[targets.dev.connections.mesh]
kind = "prometheus"
url = "http://prometheus.example:9090"
TOML
"$sailhand" run dashboard.apply --config "$state/boards.toml" -t dev -p grafana=boards -p prometheus=mesh \
  >"$state/boards.log" 2>&1 || { cat "$state/boards.log" >&2; fail "dashboard.apply"; }

code=0
"$here/clients/run.sh" grafana || code=$?
SAILHAND_NATS_URL=$nats_url SAILHAND_TARGET=dev "$here/clients/run.sh" clients || code=$?
if [[ -e $charts/istio-1.30.3/base/Chart.yaml ]]; then
  kubectl() {
    "$cache/bin/kubectl" --kubeconfig "$kubeconfig" "$@"
  }
  stand_in_for_istiod >"$state/istiod.log" 2>&1 &
  started=("$!" "${started[@]}")
  "$here/clients/run.sh" meshery || code=$?
elif [[ ${CI:-} ]]; then
  code=1
  echo "FAILED meshery: $charts has no charts of Istio 1.30.3; SAILHAND_CHARTS names a folder that has them"
else
  echo "NOT RUN: meshery: $charts has no charts of Istio 1.30.3; SAILHAND_CHARTS names a folder that has them"
fi
kill -0 "$worker" 2>/dev/null || { code=1; echo "FAILED third-party clients: the worker ended by itself"; }
((code == 0)) || { echo "the worker's last lines:"; tail -n 40 "$state/worker.log"; } >&2
exit "$code"
