# Istio in the demo: finds its charts, and does istiod's part for the webhooks. Sourced by run.sh.
# shellcheck shell=bash

istio_version=1.30.3
public_charts=https://istio-release.storage.googleapis.com/charts

# Sets $charts to the source of Istio's charts; fails with the reason in $without if they are not available.
find_charts() {
  charts_can_be_had || return 1
  if [[ -n $building ]]; then need helm; fi
  [[ -x $cache/bin/helm ]] || {
    without="$cache/bin/helm is missing; 'tests/tools/build.sh charts' makes it"
    return 1
  }
}

charts_can_be_had() {
  local folder=${SAILHAND_CHARTS:-} chart pin missing=""
  if [[ -n $folder ]]; then
    charts=$folder
    [[ -r $folder/istio-$istio_version/base/Chart.yaml || -r $folder/$istio_version/base/Chart.yaml ||
      -r $folder/base-$istio_version.tgz ]] && return 0
    without="SAILHAND_CHARTS: $folder has no charts of Istio $istio_version (istio-$istio_version/base and so on)"
    return 1
  fi
  charts=$public_charts
  # Workers cache charts in folders named by a hash of their source.
  for chart in base istiod; do
    pin=$(printf '%s' "$charts $chart $istio_version" | openssl dgst -sha256 -r)
    [[ -s $cache/charts/pins/${pin%% *} ]] || missing=$chart
  done
  [[ -n $missing ]] || return 0
  curl -fsIL --max-time 10 "$charts/index.yaml" >/dev/null 2>&1 && return 0
  without="$charts is not reached, and $cache/charts has not kept any; SAILHAND_CHARTS names a folder with istio-$istio_version/base and so on"
  return 1
}

# Simulated nodes run no containers, so the demo does istiod's part: it writes the CA bundle into the webhooks. Ends with
# the demo.
stand_in_for_istiod() {
  local name count index patch
  while sleep 0.2; do
    for name in $(kubectl get mutatingwebhookconfigurations -o name); do
      [[ -z $(kubectl get "$name" -o 'jsonpath={.webhooks[0].clientConfig.caBundle}') ]] || continue
      count=$(kubectl get "$name" -o 'jsonpath={range .webhooks[*]}x{end}') || continue
      patch=""
      for ((index = 0; index < ${#count}; index++)); do
        patch+="{\"op\":\"add\",\"path\":\"/webhooks/$index/clientConfig/caBundle\",\"value\":\"$(printf 'a certificate' | openssl base64)\"},"
      done
      kubectl patch "$name" --field-manager pilot-discovery --type json --patch "[${patch%,}]" || true
    done
  done
}
