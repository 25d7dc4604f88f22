#!/usr/bin/env bash
# Meshery's gRPC contract, by buf: lints it, compares it with proto/contract.binpb, and its descriptors with those that
# protox has made of it. contract.binpb is what Meshery's clients send today; it changes only when they do. Prints
# `ok NAME` or `FAILED NAME: reason`; exit status 1 when one failed.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
buf=${SAILHAND_CACHE:-$root/.cache}/bin/buf
descriptors=$(mktemp -d)
trap 'rm -rf "$descriptors"' EXIT
area=proto
# shellcheck source=../../support/checks.sh
source "$root/tests/support/checks.sh"

same_descriptors() {
  local options=(--exclude-source-info --as-file-descriptor-set)
  "$buf" build proto "${options[@]}" -o "$descriptors/buf.binpb" &&
    "$buf" build src/bridge/proto/meshes.bin#format=binpb "${options[@]}" -o "$descriptors/protox.binpb" &&
    cmp "$descriptors/buf.binpb" "$descriptors/protox.binpb"
}

if [[ ! -x $buf ]]; then
  echo "FAILED proto: $buf is missing; 'just tools istio' builds it"
  exit 1
fi
cd "$root" || exit 1
check lint "$buf" lint proto
check "no breaking change" "$buf" breaking proto --against proto/contract.binpb
check "the descriptors of protox are those of buf" same_descriptors
exit "$failed"
