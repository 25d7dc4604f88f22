#!/usr/bin/env bash
# Runs the third-party clients and validators. Each is prepared once; what pip, npm and go print goes to a log.
#
#   run.sh schemas      the files below schemas/, by the AsyncAPI parser and Python's jsonschema; the types and the
#                       packages of clients/; Meshery's gRPC contract, by buf
#   run.sh prepare      installs and builds what the other parts need, which they do too
#   run.sh clients      commands through a running worker, gateway and bridge: SAILHAND_NATS_URL, SAILHAND_TARGET,
#                       SAILHAND_GATEWAY_URL, SAILHAND_GATEWAY_TOKEN, SAILHAND_BRIDGE and SAILHAND_BRIDGE_KUBECONFIG say where
#   run.sh grafana      what dashboard.apply has written to the double of Grafana at SAILHAND_GRAFANA, with
#                       SAILHAND_GRAFANA_TOKEN: by grafana-client, the foundation SDK and @grafana/schema
#   run.sh meshery      all operations of Meshery through a running bridge: SAILHAND_BRIDGE, SAILHAND_BRIDGE_KUBECONFIG, and
#                       SAILHAND_MESHERY for the double of Meshery's HTTP endpoints
#
# Prints `ok NAME` or `FAILED NAME: reason` for each check; exit status 1 when one failed. Needs python3 (3.10 or newer,
# with venv), node (20 or newer) with npm, and go.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
packages=$(cd "$here/../../clients" && pwd)
cache=${SAILHAND_CACHE:-$(cd "$here/../.." && pwd)/.cache}
prepared=$cache/clients
mkdir -p "$prepared" "$cache/log"
log=$cache/log/clients-prepare.log
failed=0

report_failure() {
  echo "FAILED $1"
  failed=1
}

# Fills the folder `$1` from the file `$2` with the command after them, unless that was done already.
prepare() {
  local folder=$1 source=$2 stamp
  shift 2
  stamp=$(cksum <"$source")
  [[ $(cat "$folder/.made-from" 2>/dev/null) == "$stamp" ]] && return
  if ! "$@" >>"$log" 2>&1; then
    tail -n 5 "$log" >&2
    return 1
  fi
  echo "$stamp" >"$folder/.made-from"
}

needs() {
  local program
  for program in "$@"; do
    if ! command -v "$program" >/dev/null; then
      echo "$program is missing on this machine" >&2
      return 1
    fi
  done
}

install_python() {
  python3 -m venv --clear "$prepared/python" &&
    "$prepared/python/bin/python" -m pip install --disable-pip-version-check --quiet -r "$here/python/requirements.txt"
}

install_node() {
  cd "$1" && npm ci --ignore-scripts --no-audit --no-fund
}

# The package of clients/typescript, which the JavaScript client installs.
build_typescript() {
  needs node npm && prepare "$packages/typescript/node_modules" "$packages/typescript/package-lock.json" \
    install_node "$packages/typescript" && (cd "$packages/typescript" && npm run --silent build) >>"$log" 2>&1
}

generated_types() {
  local output
  if output=$(python3 "$packages/generate.py" --check); then
    echo "ok clients: the types are those of the schemas"
  else
    report_failure "clients: $output"
  fi
}

# Whether a package to be published has these files; the list of its files comes on standard input.
has_files() {
  local package=$1 files name missing=""
  files=$(cat)
  shift
  for name in "$@"; do
    [[ $files == *"$name"* ]] || missing+=" $name"
  done
  if [[ -z $missing ]]; then
    echo "ok clients: the package for $package is complete"
  else
    report_failure "clients: the package for $package lacks$missing: ${files:0:500}"
  fi
}

# What is published: built as for its registry, not the sources.
packages_are_complete() {
  local built
  built=$(mktemp -d)
  prepare_python && "$prepared/python/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps \
    --wheel-dir "$built" "$packages/python" >>"$log" 2>&1
  python3 -m zipfile -l "$built"/*.whl 2>&1 |
    has_files Python sailhand_client/_types.py sailhand_client/py.typed licenses/LICENSE METADATA
  rm -rf "$built" "$packages/python/build" "$packages/python/src/"*.egg-info
  build_typescript
  (cd "$packages/typescript" && npm pack --dry-run --json 2>>"$log") |
    has_files TypeScript dist/index.js dist/index.d.ts dist/nats.js README.md LICENSE
  (cd "$packages/go" && GOWORK=off go vet ./... 2>&1 && ls) | has_files Go LICENSE README.md types.go http nats
}

python() {
  if needs python3 && prepare "$prepared/python" "$here/python/requirements.txt" install_python; then
    PYTHONPATH=$packages/python/src "$prepared/python/bin/python" "$here/python/$1" || failed=1
  else
    report_failure "python: $1: its packages could not be installed"
  fi
}

# Runs a script of a folder with the arguments after it.
node_in() {
  local folder=$1 script=$2
  shift 2
  if needs node npm && prepare "$here/$folder/node_modules" "$here/$folder/package-lock.json" install_node "$here/$folder"; then
    node "$here/$folder/$script" "$@" || failed=1
  else
    report_failure "$folder: $script: its packages could not be installed"
  fi
}

# Builds the program of a folder.
build_go() {
  needs go && (cd "$here/$1" && GOWORK=off go build -o "$prepared/$1-client" .) >>"$log" 2>&1
}

# Builds the program of a folder and runs it there.
go_client() {
  if build_go "$1"; then
    (cd "$here/$1" && "$prepared/$1-client") || failed=1
  else
    tail -n 5 "$log" >&2
    report_failure "$1: the client could not be built"
  fi
}

install_grpc_tools() {
  needs go && (cd "$here/meshery" && GOWORK=off GOBIN=$prepared go install tool) >>"$log" 2>&1
}

# Tools that nobody here wrote, against the bridge. The load generator judges answers, not times.
grpc_tools() {
  local output
  if ! install_grpc_tools; then
    tail -n 5 "$log" >&2
    report_failure "grpcurl and grpc-health-probe could not be built"
    return
  fi
  if output=$("$prepared/grpc-health-probe" -addr "$SAILHAND_BRIDGE" -service meshes.MeshService 2>&1); then
    echo "ok grpc-health-probe"
  else
    report_failure "grpc-health-probe: $output"
  fi
  output=$("$prepared/grpcurl" -plaintext "$SAILHAND_BRIDGE" list 2>&1)
  if [[ $output == *meshes.AdapterService*meshes.MeshService* ]]; then
    echo "ok grpcurl: list"
  else
    report_failure "grpcurl: list: $output"
  fi
  output=$("$prepared/grpcurl" -plaintext "$SAILHAND_BRIDGE" meshes.MeshService/ComponentInfo 2>&1)
  if [[ $output == *'"name": "ISTIO"'* ]]; then
    echo "ok grpcurl: ComponentInfo"
  else
    report_failure "grpcurl: ComponentInfo: $output"
  fi
  output=$("$cache/bin/ghz" --insecure --call meshes.MeshService/SupportedOperations -d '{}' -n 2000 -c 16 \
    --connections 4 "$SAILHAND_BRIDGE" 2>&1)
  if [[ $output == *'[OK]   2000 responses'* ]]; then
    echo "ok ghz: 2,000 calls of 16 clients"
  else
    report_failure "ghz: $output"
  fi
}

# Runs each function or command in the background at the same time, and prints what they print, one after the other.
at_once() {
  local pids=() outputs=() output step index
  for step in "$@"; do
    output=$(mktemp)
    # shellcheck disable=SC2086  # a step is a function and its arguments
    (failed=0; $step; exit "$failed") >"$output" &
    pids+=("$!")
    outputs+=("$output")
  done
  for index in "${!pids[@]}"; do
    wait "${pids[index]}" || failed=1
    cat "${outputs[index]}"
    rm "${outputs[index]}"
  done
}

javascript() {
  if build_typescript; then
    # The installed copy is of the current sources.
    rm -rf "$here/javascript/node_modules/@sailhand" "$here/javascript/node_modules/.made-from"
    node_in javascript client.js
  else
    tail -n 5 "$log" >&2
    report_failure "javascript: clients/typescript could not be built"
  fi
}

python_clients() {
  python client.py
  python bridge.py
}

# Installs and builds what the clients need, without a word: each client says what is missing.
prepare_python() {
  prepare "$prepared/python" "$here/python/requirements.txt" install_python
}

prepare_node() {
  prepare "$here/double/node_modules" "$here/double/package-lock.json" install_node "$here/double"
  prepare "$here/grafana/node_modules" "$here/grafana/package-lock.json" install_node "$here/grafana"
  build_typescript
}

prepare_go() {
  build_go go
  build_go meshery
  install_grpc_tools
}

# The dashboards that Grafana has, with what it has added, and the one of the chart.
grafana_checks() {
  local SAILHAND_DASHBOARDS
  SAILHAND_DASHBOARDS=$(mktemp -d)
  export SAILHAND_DASHBOARDS
  python grafana.py
  cp "$here/../../deploy/helm/sailhand/files/grafana.json" "$SAILHAND_DASHBOARDS/chart.json"
  "$cache/bin/grafana-double" check "$SAILHAND_DASHBOARDS"/*.json || failed=1
  node_in grafana schema.js "$SAILHAND_DASHBOARDS"/*.json
  rm -rf "$SAILHAND_DASHBOARDS"
}

case ${1:-} in
  schemas)
    node_in schemas asyncapi.js
    python contract.py
    generated_types
    packages_are_complete
    "$here/../tools/proto/check.sh" || failed=1
    ;;
  prepare) at_once prepare_python prepare_node prepare_go ;;
  clients)
    : "${SAILHAND_NATS_URL:?}" "${SAILHAND_TARGET:?}" "${SAILHAND_GATEWAY_URL:?}" "${SAILHAND_GATEWAY_TOKEN:?}"
    : "${SAILHAND_BRIDGE:?}" "${SAILHAND_BRIDGE_KUBECONFIG:?}"
    at_once python_clients "go_client go" javascript grpc_tools
    ;;
  grafana)
    : "${SAILHAND_GRAFANA:?}" "${SAILHAND_GRAFANA_TOKEN:?}"
    grafana_checks
    ;;
  meshery)
    : "${SAILHAND_BRIDGE:?}" "${SAILHAND_BRIDGE_KUBECONFIG:?}" "${SAILHAND_MESHERY:?}"
    go_client meshery
    ;;
  *)
    sed -n '2,16p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
exit "$failed"
