#!/usr/bin/env bash
# The third-party clients against the real thing: starts a nats-server, a worker, a gateway and a bridge, then runs
# clients/run.sh.
#
# On a control plane of its own: what the clients expect is true of a cluster without Istio's kinds, and the one that the
# other tests share has them. Needs `just tools` and a built worker (`cargo build`; $SAILHAND_BIN names another one).
# Prints what clients/run.sh prints.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
cache=${SAILHAND_CACHE:-$root/.cache}
sailhand=${SAILHAND_BIN:-${CARGO_TARGET_DIR:-$root/target}/debug/sailhand}
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

[[ -x $sailhand ]] || fail "$sailhand is missing; cargo build makes it"
[[ -x $cache/bin/nats-server ]] || fail "$cache/bin/nats-server is missing; 'just tools' builds it"
start_nats
kubeconfig=$("$here/support/control-plane.sh" up "$state-control-plane" --guard $$ | tail -n 1)

export SAILHAND__NATS__URL="[\"$nats_url\"]" SAILHAND__HEALTH__LISTEN=127.0.0.1:0
printf '[targets.dev]\nkubeconfig = "%s"\n' "$kubeconfig" >"$state/config.toml"
"$sailhand" topology apply >"$state/topology.log" 2>&1 || { cat "$state/topology.log" >&2; fail "topology apply"; }
export SAILHAND_GATEWAY_TOKEN=0123456789abcdef-clients
printf '%s\n' "$SAILHAND_GATEWAY_TOKEN" >"$state/token"
printf '[gateway]\nlisten = "127.0.0.1:0"\n[gateway.principals.clients]\ntoken_file = "%s"\nverbs = ["*"]\ntargets = ["dev"]
source_prefix = "/clients/"\n' "$state/token" >"$state/gateway.toml"
"$sailhand" gateway --config "$state/gateway.toml" >"$state/gateway.log" 2>&1 &
started=("$!" "${started[@]}")
for ((try = 0; try < 200; try++)); do
  SAILHAND_GATEWAY_URL=$(grep -Eo 'http://[0-9.]+:[0-9]+' "$state/gateway.log" | head -n 1) && break
  sleep 0.1
done
[[ $SAILHAND_GATEWAY_URL ]] || { cat "$state/gateway.log" >&2; fail "the gateway did not start"; }
export SAILHAND_GATEWAY_URL

export SAILHAND_BRIDGE_KUBECONFIG=$kubeconfig
"$cache/bin/kubectl" --kubeconfig "$kubeconfig" create namespace meshery-client >"$state/kubectl.log"
"$cache/bin/kubectl" --kubeconfig "$kubeconfig" create namespace grpcio-client >>"$state/kubectl.log"
printf '[bridge]\nlisten = "127.0.0.1:0"\noperations = ["label-namespace"]\n' >"$state/bridge.toml"
"$sailhand" bridge match --target dev <"$kubeconfig" >>"$state/bridge.toml"
"$sailhand" bridge --config "$state/bridge.toml" >"$state/bridge.log" 2>&1 &
started=("$!" "${started[@]}")
for ((try = 0; try < 200; try++)); do
  SAILHAND_BRIDGE=$(sed -n 's/^Bridge at //p' "$state/bridge.log") && [[ $SAILHAND_BRIDGE ]] && break
  sleep 0.1
done
[[ $SAILHAND_BRIDGE ]] || { cat "$state/bridge.log" >&2; fail "the bridge did not start"; }
export SAILHAND_BRIDGE
"$sailhand" worker --config "$state/config.toml" >"$state/worker.log" 2>&1 &
worker=$!
started=("$worker" "${started[@]}")

code=0
SAILHAND_NATS_URL=$nats_url SAILHAND_TARGET=dev "$here/clients/run.sh" clients || code=$?
kill -0 "$worker" 2>/dev/null || { code=1; echo "FAILED third-party clients: the worker ended by itself"; }
((code == 0)) || { echo "the worker's last lines:"; tail -n 40 "$state/worker.log"; } >&2
exit "$code"
