#!/usr/bin/env bash
# Puts the images together that the node runs, one archive each, from the programs in the cache: nothing is pulled.
# A second run does nothing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

images=$parts/images
stamp=$images/stamp
hub=localhost/istio

made_from() {
  cat "$here/images.sh" "$here/assemble_image.py"
  stat -L -c '%n %s %Y' "$bin"/{pause,contract-workload,coredns,pilot-discovery,pilot-agent,echo-server,echo-client,envoy,prometheus} "$parts"/*.stamp
}

assemble() {
  python3 "$here/assemble_image.py" "$images/$1.tar" "${@:2}"
}

# A busybox for those who look into a container, and for `sleep`.
with_shell=(--busybox "$root/bin/busybox")

istio() {
  local module settings=()
  module=$(cd "$here/../tools/kubernetes-clients" && go list -m -f '{{.Dir}}' istio.io/istio)
  # Upstream's Envoy has not Istio's own filters. Said here and not in the charts' values, so that charts stay as they
  # are, but for hub and tag.
  for name in PILOT_ENABLE_ALPN_FILTER=false PILOT_ENABLE_METADATA_EXCHANGE=false PILOT_DISABLE_MX_ALPN=true \
    PILOT_ENABLE_TELEMETRY_LABEL=false; do
    settings+=(--env "$name")
  done
  assemble pilot "$hub/pilot:1.30.3,$hub/pilot:1.28.10,$hub/pilot:1.24.6" "${with_shell[@]}" --user 1337:1337 \
    --entrypoint '["/usr/local/bin/pilot-discovery"]' "${settings[@]}" \
    "$bin/pilot-discovery:/usr/local/bin/pilot-discovery:0755"

  local links=() family kind backend sbin=$root/usr/sbin
  for family in "" 6; do
    for kind in "" -save -restore; do
      for backend in "" -nft; do
        links+=(--link "/usr/sbin/ip${family}tables$backend$kind=xtables-nft-multi")
      done
    done
  done
  LD_LIBRARY_PATH=$libraries assemble proxyv2 "$hub/proxyv2:1.30.3,$hub/proxyv2:1.28.10,$hub/proxyv2:1.24.6" \
    "${with_shell[@]}" --entrypoint '["/usr/local/bin/pilot-agent"]' \
    --env ISTIO_META_ISTIO_PROXY_SHA=vanilla-envoy --env CLOUD_PLATFORM=none \
    --dir /etc/istio/proxy:0777:1337 --dir /var/lib/istio/data:0777:1337 --dir /var/run/secrets:0755:0 \
    --ldd "$bin/envoy" --ldd "$sbin/xtables-nft-multi" --ldd "$sbin/nft" --ldd "$(command -v ip)" "${links[@]}" \
    "$sbin/xtables-nft-multi:/usr/sbin/xtables-nft-multi:0755" "$sbin/nft:/usr/sbin/nft:0755" \
    "$(command -v ip):/usr/sbin/ip:0755" "$libraries/xtables:/usr/lib/x86_64-linux-gnu/xtables" \
    "$module/tools/packaging/common/envoy_bootstrap.json:/var/lib/istio/envoy/envoy_bootstrap_tmpl.json:0644" \
    "$bin/pilot-agent:/usr/local/bin/pilot-agent:0755" "$bin/envoy:/usr/local/bin/envoy:0755"
}

# Istio's echo server and client, and under Bookinfo's names, where each tells its version and calls nobody.
echoes() {
  local service bookinfo=()
  for service in productpage-v1 details-v1 ratings-v1 reviews-v1 reviews-v2 reviews-v3; do
    bookinfo+=(--also "$hub/examples-bookinfo-$service:1.20.3"
      "[\"/usr/local/bin/server\",\"--port\",\"9080\",\"--version\",\"${service##*-}\"]")
  done
  assemble echo localhost/echo:1 "${with_shell[@]}" --user 1000:1000 --entrypoint '["/usr/local/bin/server"]' \
    "${bookinfo[@]}" "$bin/echo-server:/usr/local/bin/server:0755" "$bin/echo-client:/usr/local/bin/client:0755"
}

# The image that the suite of Gateway API names; its own is this echo server with a certificate.
gateway_api_echo() {
  local certificate=$parts/echo
  mkdir -p "$certificate"
  [[ -s $certificate/tls.crt ]] ||
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=echo \
      -keyout "$certificate/tls.key" -out "$certificate/tls.crt" 2>/dev/null
  assemble gateway-api-echo registry.k8s.io/gateway-api/echo-advanced:v1.5.1 "${with_shell[@]}" --user 1000:1000 \
    --entrypoint '["/usr/local/bin/server"]' "$certificate/tls.crt:/cert.crt:0644" "$certificate/tls.key:/cert.key:0644" \
    "$bin/echo-server:/usr/local/bin/server:0755" "$bin/echo-client:/usr/local/bin/client:0755"
}

wanted=$(made_from | cksum)
[[ $(cat "$stamp" 2>/dev/null) == "$wanted" ]] && exit 0
echo "node: images"
rm -rf "$images" && mkdir -p "$images"
assemble pause registry.k8s.io/pause:3.10 --user 65535:65535 --entrypoint '["/pause"]' "$bin/pause:/pause:0755"
assemble coredns localhost/coredns:1 --entrypoint '["/coredns"]' "$bin/coredns:/coredns:0755"
istio
echoes
gateway_api_echo
assemble contract-workload localhost/learn-layer5:1 --user 65535:65535 --entrypoint '["/workload"]' \
  "$bin/contract-workload:/workload:0755"
assemble prometheus localhost/prom/prometheus:v3.10.0 --user 65534:65534 --entrypoint '["/bin/prometheus"]' \
  "$bin/prometheus:/bin/prometheus:0755"
echo "$wanted" >"$stamp"
