#!/usr/bin/env bash
# Runs the third-party clients and validators. Each is prepared once; what pip, npm and go print goes to a log.
#
#   run.sh schemas      the files below schemas/, by the AsyncAPI parser and Python's jsonschema
#   run.sh clients      commands through a running worker: SAILHAND_NATS_URL and SAILHAND_TARGET say where
#
# Prints `ok NAME` or `FAILED NAME: reason` for each check; exit status 1 when one failed. Needs python3 (3.10 or newer,
# with venv), node (20 or newer) with npm, and go.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
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
  cd "$here/$1" && npm ci --ignore-scripts --no-audit --no-fund
}

python() {
  if needs python3 && prepare "$prepared/python" "$here/python/requirements.txt" install_python; then
    "$prepared/python/bin/python" "$here/python/$1" || failed=1
  else
    report_failure "python: $1: its packages could not be installed"
  fi
}

node_in() {
  if needs node npm && prepare "$here/$1/node_modules" "$here/$1/package-lock.json" install_node "$1"; then
    node "$here/$1/$2" || failed=1
  else
    report_failure "$1: $2: its packages could not be installed"
  fi
}

go_client() {
  if needs go && (cd "$here/go" && GOWORK=off go build -o "$prepared/go-client" .) >>"$log" 2>&1; then
    (cd "$here/go" && "$prepared/go-client") || failed=1
  else
    tail -n 5 "$log" >&2
    report_failure "go: the client could not be built"
  fi
}

case ${1:-} in
  schemas)
    node_in schemas asyncapi.js
    python contract.py
    ;;
  clients)
    : "${SAILHAND_NATS_URL:?}" "${SAILHAND_TARGET:?}"
    python client.py
    go_client
    node_in javascript client.js
    ;;
  *)
    sed -n '2,8p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
exit "$failed"
