#!/usr/bin/env bash
# Makes the files of a release in the folder `dist`. Equal sources and programs give equal bytes.
#
#   release.sh version [TAG]           prints the version; fails unless Cargo.toml, chart, changelog and TAG agree
#   release.sh pack PLATFORM FOLDER    packs the programs of FOLDER, such as `pack linux-amd64 target/release`
#   release.sh finish                  SBOM, chart, manifests of krew and Homebrew, and checksums of everything in `dist`
#
# SAILHAND_RELEASE_URL is the address of the releases: <URL>/v<VERSION>/<FILE>. DIST names another folder. SAILHAND_SNAPSHOT=1 permits a version that the changelog does not have yet. Completions
# and manual pages come from the program of this machine: SAILHAND_BIN, else that of FOLDER.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dist=${DIST:-$root/dist}
export PATH=$PATH:${SAILHAND_CACHE:-$root/.cache}/bin LC_ALL=C

fail() {
  echo "release: $*" >&2
  exit 1
}

version() {
  local program app chart
  program=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
  app=$(sed -n 's/^appVersion: "\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$root/deploy/helm/sailhand/Chart.yaml")
  chart=$(sed -n 's/^version: "\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$root/deploy/helm/sailhand/Chart.yaml")
  [[ $app == "$program" ]] || fail "Chart.yaml has appVersion $app, Cargo.toml has $program"
  [[ $chart == "$program" ]] || fail "Chart.yaml has version $chart, Cargo.toml has $program"
  [[ -z ${1:-} || $1 == "v$program" ]] || fail "the tag is $1, Cargo.toml has $program"
  [[ -n ${SAILHAND_SNAPSHOT:-} ]] || grep -q "^## \[$program\]" "$root/CHANGELOG.md" ||
    fail "CHANGELOG.md has no section [$program]"
  echo "$program"
}

# An archive whose bytes do not depend on when and by whom it is made: `archive FILE FOLDER`.
archive() {
  local time
  time=$(git -C "$root" log -1 --format=%ct)
  tar --sort=name --mtime="@$time" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -C "$2" -cf - . | gzip -n9 >"$1"
}

pack() {
  local platform=$1 folder=$2 version stage shell program
  version=$(version)
  stage=$(mktemp -d "${TMPDIR:-/tmp}/sailhand-release-XXXXXX")
  trap 'rm -rf "$stage"' RETURN
  mkdir -p "$dist" "$stage/sailhand/completions" "$stage/sailhand-analyze"
  "${SAILHAND_BIN:-$folder/sailhand}" man "$stage/sailhand/man"
  install -m 755 "$folder/sailhand" "$stage/sailhand/sailhand"
  ln -s sailhand "$stage/sailhand/kubectl-sailhand" # `kubectl sailhand`
  for shell in bash zsh fish; do
    "${SAILHAND_BIN:-$folder/sailhand}" completions "$shell" >"$stage/sailhand/completions/sailhand.$shell"
  done
  install -m 755 "$folder/sailhand-analyze" "$stage/sailhand-analyze/sailhand-analyze"
  for program in sailhand sailhand-analyze; do
    install -m 644 "$root/LICENSE" "$root/CHANGELOG.md" "$stage/$program"
    archive "$dist/$program-v$version-$platform.tar.gz" "$stage/$program"
    echo "$dist/$program-v$version-$platform.tar.gz"
  done
}

# Replaces @VERSION@, @URL@ and @SHA256_<PLATFORM>@. Fails for a platform without an archive, unless it is a snapshot.
fill() {
  local text platform file sum
  text=$(<"$1")
  text=${text//@VERSION@/$2}
  text=${text//@URL@/$url}
  for platform in linux-amd64 linux-arm64 darwin-arm64; do
    [[ $text == *"@SHA256_$platform@"* ]] || continue
    file=$dist/sailhand-v$2-$platform.tar.gz
    if [[ -r $file ]]; then
      sum=$(sha256sum "$file" | cut -d ' ' -f 1)
    else
      if [[ -z ${SAILHAND_SNAPSHOT:-} ]]; then
        echo "NOT MADE: $(basename "$1") names $(basename "$file"), which is missing" >&2
        return 1
      fi
      sum=$(printf '0%.0s' {1..64})
    fi
    text=${text//@SHA256_$platform@/$sum}
  done
  printf '%s\n' "$text"
}

finish() {
  local version url=${SAILHAND_RELEASE_URL:-}
  version=$(version)
  [[ -n $url || -n ${SAILHAND_SNAPSHOT:-} ]] || fail "SAILHAND_RELEASE_URL is not set"
  url=${url:-https://example.com/releases}
  mkdir -p "$dist"
  (cd "$root" && cargo metadata --locked --format-version 1) | python3 "$here/sbom.py" >"$dist/sailhand-v$version.cdx.json"
  helm package "$root/deploy/helm/sailhand" --destination "$dist" >/dev/null
  fill "$here/krew.yaml" "$version" >"$dist/sailhand.krew.yaml" || rm "$dist/sailhand.krew.yaml"
  fill "$here/homebrew.rb" "$version" >"$dist/sailhand.rb" || rm "$dist/sailhand.rb"
  (cd "$dist" && rm -f checksums.txt && sha256sum -- * >checksums.tmp && mv checksums.tmp checksums.txt)
  ls -l "$dist"
}

case ${1:-} in
  version) version "${2:-}" ;;
  pack) (($# == 3)) || fail "pack needs a platform and a folder"; pack "$2" "$3" ;;
  finish) finish ;;
  *)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
