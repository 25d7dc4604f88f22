#!/usr/bin/env bash
# Puts the real servers and tools that the demo and the tests run against into <repo>/.cache/bin (or
# $SAILHAND_CACHE/bin).
#
#   build.sh            the servers of the demo and of most tests: nats-server and a Kubernetes control plane
#   build.sh nats       only nats-server
#   build.sh charts     these servers, and helm, which renders Istio's charts
#   build.sh istio      these, and an OCI registry, istioctl, istiod, programs of ours around Istio's analyzers and
#                       Flux's server-side apply, Prometheus with its promtool, the Prometheus Operator, VictoriaMetrics,
#                       a double of Grafana, and buf and ghz for the bridge's gRPC
#   build.sh node       all of these, and what a real node and its mesh run
#   build.sh lint       only what `just check` needs: a linter of the CI workflows
#
# Each is built from a Go module whose version is pinned by the go.mod beside this file. A binary that is already on
# this machine (in $KUBEBUILDER_ASSETS or PATH) and has a fitting version is linked instead of being built:
#   nats-server 2.15.x, etcd 3.6.x, Kubernetes 1.34.x, kwok 0.8.x, helm 4.2.x
# The minor version must be the pinned one: the tests rely on what exactly these releases do.
#
# A second run does nothing. A changed go.mod or build flag rebuilds what it describes. SAILHAND_TOOLS_BUILD=1 ignores
# what is on the machine. SAILHAND_TOOLS_DONE names a folder that gets a file built-NAME when NAME is there. Needs bash, go, openssl and curl (the last two for the control plane).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SAILHAND_CACHE:-$(cd "$here/../.." && pwd)/.cache}
bin=$cache/bin
stamps=$cache/stamps
logs=$cache/log

kubernetes_version=1.34.4
kubernetes_flags="-X k8s.io/component-base/version.gitVersion=v$kubernetes_version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"

istio_commit=eed52ebb66ad # of 2026-08-27, between 1.30 and 1.31: the newest that the module proxy serves
istio_version=1.31.0-alpha.$istio_commit
istio_flags="-X istio.io/istio/pkg/version.buildVersion=$istio_version -X istio.io/istio/pkg/version.buildGitRevision=$istio_commit -X istio.io/istio/pkg/version.buildStatus=Clean -X istio.io/istio/pkg/version.buildTag=$istio_version"

prometheus_version=3.10.0 # the one that the addon pins; its Go module is v0.310.0
# Of all that it can discover, Kubernetes. Without its web pages.
prometheus_tags=netgo,remove_all_sd,enable_kubernetes_sd
prometheus_flags="-X github.com/prometheus/common/version.Version=$prometheus_version"

prometheus_operator_flags="-X github.com/prometheus/common/version.Version=0.85.0"

# Programs on Kubernetes' client libraries share the go.mod of kubernetes-clients: at one version of everything these
# libraries are compiled once. helm 4.2 is the newest on the version that kwok and Istio have.
# name | folder of its go.mod | package | fitting versions (none: always built) | how to ask for it | extra linker flags |
# build tags
tools=(
  "nats-server|nats|github.com/nats-io/nats-server/v2|2.15|--version|"
  "etcd|etcd|go.etcd.io/etcd/server/v3|3.6|--version|"
  "kwok|kubernetes-clients|sigs.k8s.io/kwok/cmd/kwok|0.8|--version|"
  "kubectl|kubernetes|k8s.io/kubernetes/cmd/kubectl|1.34|version --client|$kubernetes_flags"
  "kube-scheduler|kubernetes|k8s.io/kubernetes/cmd/kube-scheduler|1.34|--version|$kubernetes_flags"
  "kube-controller-manager|kubernetes|k8s.io/kubernetes/cmd/kube-controller-manager|1.34|--version|$kubernetes_flags"
  "kube-apiserver|kubernetes|k8s.io/kubernetes/cmd/kube-apiserver|1.34|--version|$kubernetes_flags"
)
chart_tools=(
  "helm|kubernetes-clients|helm.sh/helm/v4/cmd/helm|4.2|version|-X helm.sh/helm/v4/internal/version.version=v4.2.2"
)
istio_tools=(
  "istioctl|kubernetes-clients|istio.io/istio/istioctl/cmd/istioctl|||$istio_flags"
  "istio-analyzers|kubernetes-clients|./istio-analyzers|||"
  "flux-ssa|kubernetes-clients|./flux-ssa|||"
  "grafana-double|grafana|.|||"
  "buf|buf|github.com/bufbuild/buf/cmd/buf|||"
  "ghz|ghz|github.com/bojand/ghz/cmd/ghz|||"
  "registry|registry|github.com/google/go-containerregistry/cmd/registry|||"
  "pilot-discovery|kubernetes-clients|istio.io/istio/pilot/cmd/pilot-discovery|||$istio_flags"
  "promtool|prometheus|github.com/prometheus/prometheus/cmd/promtool|||$prometheus_flags|$prometheus_tags"
  "prometheus|prometheus|github.com/prometheus/prometheus/cmd/prometheus|||$prometheus_flags|$prometheus_tags"
  "prometheus-operator|prometheus-operator|github.com/prometheus-operator/prometheus-operator/cmd/operator|||$prometheus_operator_flags"
  "victoria-metrics|victoria-metrics|github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics|||"
)
node_tools=(
  "kubelet|kubernetes|k8s.io/kubernetes/cmd/kubelet|1.34|--version|$kubernetes_flags"
  "kube-proxy|kubernetes|k8s.io/kubernetes/cmd/kube-proxy|1.34|--version|$kubernetes_flags"
  "pilot-agent|kubernetes-clients|istio.io/istio/pilot/cmd/pilot-agent|||$istio_flags"
  "echo-server|kubernetes-clients|istio.io/istio/pkg/test/echo/cmd/server|||"
  "echo-client|kubernetes-clients|istio.io/istio/pkg/test/echo/cmd/client|||"
  "coredns|kubernetes-clients|./coredns|||"
  "gateway-api-conformance|kubernetes-clients|sigs.k8s.io/gateway-api/conformance|||"
)

lint_tools=(
  "actionlint|actionlint|github.com/rhysd/actionlint/cmd/actionlint|||"
)

check_prerequisites() {
  local missing=() need
  for need in go openssl curl; do
    command -v "$need" >/dev/null || missing+=("$need")
  done
  if ((${#missing[@]})); then
    echo "missing on this machine: ${missing[*]}" >&2
    echo "  go 1.24 or newer builds the servers (https://go.dev/doc/install), openssl makes the test certificates, curl asks the servers whether they are ready" >&2
    exit 1
  fi
}

# The first thing that looks like a version in what `$1 $2...` prints.
version_of() {
  local file=$1
  shift
  "$file" "$@" 2>/dev/null | grep -Eo '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1 || true
}

# Prints the path of a fitting binary that is already on this machine.
on_this_machine() {
  local name=$1 fitting=$2 ask=$3 folder version
  [[ ${SAILHAND_TOOLS_BUILD:-} == 1 || -z $fitting ]] && return 1
  local folders
  IFS=: read -ra folders <<<"${KUBEBUILDER_ASSETS:-}:$PATH"
  for folder in "${folders[@]}"; do
    [[ -n $folder && $folder != "$bin" && -x $folder/$name ]] || continue
    # shellcheck disable=SC2086  # the question may be two words
    version=$(version_of "$folder/$name" $ask)
    if [[ $version == "$fitting".* ]]; then
      echo "$folder/$name"
      return 0
    fi
  done
  return 1
}

# What a finished tool was made from; differs when it must be made again.
recipe_of() {
  local folder=$1 package=$2 flags=$3 tags=$4
  { cat "$here/$folder/go.mod" "$here/$folder/go.sum"; echo "$package $flags${tags:+ $tags}"; own_sources "$folder" "$package"; } | cksum
}

# The text of a package of our own, which no go.mod pins.
own_sources() {
  [[ $2 != .* ]] || cat "$here/$1/$2"/*.go
}

# Builds one tool; on a terminal its line shows the seconds going by.
build() {
  local name=$1 folder=$2 package=$3 flags=$4 tags=$5 label=$6 started=$SECONDS pid go=(go build)
  [[ $name != *-conformance ]] || go=(go test -c) # a suite of tests is run as a program
  (
    cd "$here/$folder"
    CGO_ENABLED=0 GOWORK=off exec "${go[@]}" -trimpath -tags "$tags" -ldflags "-s -w $flags" -o "$bin/.$name.new" "$package"
  ) >"$logs/build-$name.log" 2>&1 &
  pid=$!
  # A signal to this script reaches no job in the background.
  trap 'kill "$pid" 2>/dev/null; exit 143' INT TERM
  if [[ -t 1 ]]; then
    while kill -0 "$pid" 2>/dev/null; do
      printf '\r%s building, %d s ' "$label" $((SECONDS - started))
      sleep 1
    done
    printf '\r'
  else
    echo "$label building"
  fi
  if ! wait "$pid"; then
    echo "$label failed; the last lines of $logs/build-$name.log:" >&2
    tail -n 20 "$logs/build-$name.log" >&2
    exit 1
  fi
  trap - INT TERM
  mv "$bin/.$name.new" "$bin/$name"
  echo "$label built in $((SECONDS - started)) s"
}

# The demo starts each server as soon as it is there.
announce() {
  [[ -z ${SAILHAND_TOOLS_DONE:-} ]] || touch "$SAILHAND_TOOLS_DONE/built-$1"
}

main() {
  case ${1:-} in
    '') ;;
    nats) tools=("${tools[0]}") ;;
    charts) tools+=("${chart_tools[@]}") ;;
    istio) tools+=("${chart_tools[@]}" "${istio_tools[@]}") ;;
    node) tools+=("${chart_tools[@]}" "${istio_tools[@]}" "${node_tools[@]}") ;;
    lint) tools=("${lint_tools[@]}") ;;
    *)
      echo "there is no group of tools '$1'" >&2
      exit 2
      ;;
  esac
  check_prerequisites
  mkdir -p "$bin" "$stamps" "$logs"
  local wanted=() line name folder package fitting ask flags tags recipe
  for line in "${tools[@]}"; do
    IFS='|' read -r name folder package fitting ask flags tags <<<"$line"
    recipe=$(recipe_of "$folder" "$package" "$flags" "$tags")
    if [[ ! -x $bin/$name || $(cat "$stamps/$name" 2>/dev/null) != "$recipe" ]]; then
      wanted+=("$line")
    else
      announce "$name"
    fi
  done
  if ((${#wanted[@]} == 0)); then
    echo "tools: all ${#tools[@]} are in $bin"
    return
  fi

  echo "tools: ${#wanted[@]} of ${#tools[@]} to prepare in $bin; from empty caches those of the demo take about 12 CPU minutes, and those of all groups more than twice that"
  local i found label left
  for i in "${!wanted[@]}"; do
    IFS='|' read -r name folder package fitting ask flags tags <<<"${wanted[i]}"
    left=$((${#wanted[@]} - i - 1))
    label="  [$((i + 1))/${#wanted[@]}, then $left left, $SECONDS s so far] $name"
    rm -f "$bin/$name"
    if found=$(on_this_machine "$name" "$fitting" "$ask"); then
      ln -s "$found" "$bin/$name"
      echo "$label: uses $found"
    else
      build "$name" "$folder" "$package" "$flags" "$tags" "$label"
    fi
    recipe_of "$folder" "$package" "$flags" "$tags" >"$stamps/$name"
    announce "$name"
  done
  echo "tools: ready after $SECONDS s"
}

main "$@"
