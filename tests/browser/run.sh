#!/usr/bin/env bash
# The dashboard in a real browser. Prints `ok NAME` or `FAILED NAME: reason` for each check. Status 77 where there is no
# Chromium, or no node with npm: then nothing was checked.
#
#   run.sh              all checks
#   run.sh figures      measures first paint, delay, memory and weight with 50,000 runs
#
# Uses the control plane of SAILHAND_TEST_KUBECONFIG, else starts one. Needs `just tools istio` and `cargo build`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SAILHAND_CACHE:-$(cd "$here/../.." && pwd)/.cache}
mkdir -p "$cache/log"

for name in chromium chromium-browser google-chrome; do
  CHROMIUM=${CHROMIUM:-$(command -v "$name" || true)}
done
export CHROMIUM
if [[ -z $CHROMIUM ]]; then
  echo "there is no Chromium on this machine; on Debian: apt-get install chromium"
  exit 77
fi
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "node and npm are missing on this machine"
  exit 77
fi

stamp=$(cksum <"$here/package-lock.json")
if [[ $(cat "$here/node_modules/.made-from" 2>/dev/null) != "$stamp" ]]; then
  if ! (cd "$here" && npm ci --ignore-scripts --no-audit --no-fund) >"$cache/log/browser-prepare.log" 2>&1; then
    tail -n 5 "$cache/log/browser-prepare.log"
    echo "FAILED browser: its packages could not be installed"
    exit 1
  fi
  echo "$stamp" >"$here/node_modules/.made-from"
fi
exec node "$here/${1:-pages}.js"
