#!/usr/bin/env bash
# Checks what `just release` makes, with the programs of a folder (target/debug by default) instead of a release build.
# Prints `ok NAME` or `FAILED NAME: reason`.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
programs=${1:-${CARGO_TARGET_DIR:-$root/target}/debug}
state=$(mktemp -d "${TMPDIR:-/tmp}/sailhand-release-check-XXXXXX")
trap 'rm -rf "$state"' EXIT
export SAILHAND_SNAPSHOT=1
area=release
# shellcheck source=../../tests/support/checks.sh
source "$root/tests/support/checks.sh"

made() {
  DIST=$state/$1 "$here/release.sh" pack linux-amd64 "$programs" && DIST=$state/$1 "$here/release.sh" finish
}

same_bytes() {
  made two && diff -r <(cd "$state/one" && sha256sum -- *.tar.gz *.json *.yaml *.rb) <(cd "$state/two" && sha256sum -- *.tar.gz *.json *.yaml *.rb)
}

unpacked() {
  mkdir "$state/unpacked" && tar -xzf "$state"/one/sailhand-v*-linux-amd64.tar.gz -C "$state/unpacked" &&
    "$state/unpacked/kubectl-sailhand" help >/dev/null && [[ -s $state/unpacked/completions/sailhand.bash ]] || return 1
  local command
  for command in $("$programs/sailhand" help | sed -n 's/^  \([a-z-]*\)  .*/\1/p' | grep -vx help); do
    grep -q '^\.SH SYNOPSIS' "$state/unpacked/man/sailhand-$command.1" || { echo "$command has no manual page"; return 1; }
  done
}

listed() {
  (cd "$state/one" && sha256sum --quiet --check checksums.txt) && [[ $(wc -l <"$state/one/checksums.txt") == 6 ]] ||
    { cat "$state/one/checksums.txt"; return 1; }
}

filled() {
  ! grep -n '@[A-Z]' "$state/one/sailhand.krew.yaml" "$state/one/sailhand.rb" &&
    grep -q "$(grep linux-amd64 "$state/one/checksums.txt" | grep -v analyze | cut -d ' ' -f 1)" "$state/one/sailhand.krew.yaml"
}

sbom() {
  python3 - "$state/one" <<'END'
import glob, json, sys
found = json.load(open(glob.glob(sys.argv[1] + "/*.cdx.json")[0]))
names = {one["name"] for one in found["components"]}
assert {"async-nats", "kube", "sailhand-analysis"} <= names, names
assert "proptest" not in names, "a crate of tests"
known = {one["bom-ref"] for one in found["components"]} | {found["metadata"]["component"]["bom-ref"]}
assert {one["ref"] for one in found["dependencies"]} == known
assert all(set(one["dependsOn"]) <= known for one in found["dependencies"])
END
}

refuses_version() {
  ! SAILHAND_SNAPSHOT="" "$here/release.sh" version v9.9.9
}

# A registry of ours has the image `base:1`; the stage of the same file and `scratch` are none.
pins_images() {
  local port=$((20000 + $$ % 10000)) registry=${REGISTRY_BIN:-${SAILHAND_CACHE:-$root/.cache}/bin/registry} url
  "$registry" -port "$port" >"$state/registry.log" 2>&1 &
  local pid=$! wanted code=1
  url=http://localhost:$port/v2/base/manifests
  if curl --silent --retry 20 --retry-connrefused --retry-delay 1 --output /dev/null "http://localhost:$port/v2/" &&
    curl --silent --fail --output /dev/null --request PUT --data '{"schemaVersion":2,"manifests":[]}' \
      --header 'Content-Type: application/vnd.oci.image.index.v1+json' "$url/1"; then
    wanted=$(curl --silent --head "$url/1" | tr -d '\r' | sed -n 's/^docker-content-digest: //Ip')
    printf 'FROM localhost:%s/base:1 AS build\nRUN true\nFROM build\nFROM scratch\n' "$port" >"$state/Dockerfile"
    python3 "$here/pin_images.py" "$state/Dockerfile" && python3 "$here/pin_images.py" "$state/Dockerfile" &&
      printf 'FROM localhost:%s/base:1@%s AS build\nRUN true\nFROM build\nFROM scratch\n' "$port" "$wanted" |
      diff - "$state/Dockerfile" && [[ -n $wanted ]] &&
      echo "FROM localhost:$port/none:1" >>"$state/Dockerfile" && cp "$state/Dockerfile" "$state/before" &&
      ! python3 "$here/pin_images.py" "$state/Dockerfile" 2>"$state/error" && grep -q "none:1 is not pinned" "$state/error" &&
      diff "$state/before" "$state/Dockerfile" && code=0
  fi
  kill "$pid"
  return "$code"
}

check "archives, SBOM, chart and manifests" made one
check "equal bytes the second time" same_bytes
check "programs, completions and manual pages of the archive" unpacked
check "checksums of all files" listed
check "manifests name the archive" filled
check "SBOM has the crates of the programs" sbom
check "another version is refused" refuses_version
check "base images are pinned by digest" pins_images
exit "$failed"
