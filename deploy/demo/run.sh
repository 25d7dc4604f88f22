#!/usr/bin/env bash
# The demo: the analysis finds an error in manifests; commands go through a real nats-server; two workers write to a real
# Kubernetes API server; one of them is killed, and each command still has exactly one result. A dashboard shows it.
# Takes about a minute. Exits with a status other than 0 if a step fails.
#
#   run.sh            on a terminal everything runs until Enter is pressed
#   run.sh --build    builds what it needs while it runs, in the order in which it needs it
#   run.sh --yes      does not ask before it uses the cluster of $SAILHAND_KUBECONFIG
#
# With SAILHAND_KUBECONFIG it uses that cluster (its current context) instead of a local one, and afterwards deletes
# its objects there; Istio is installed into a local cluster only. Its charts come from the folder SAILHAND_CHARTS, from
# the cache, or from Istio's public repository; without them the demo skips Istio.
# Without --build it needs the files of `just tools charts` and `cargo build --workspace`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${SAILHAND_CACHE:-$root/.cache}
programs=${CARGO_TARGET_DIR:-$root/target}/debug
control_plane=$root/tests/support/control-plane.sh
logs=$cache/log/demo
cd "$root"
# shellcheck source=deploy/demo/stage.sh
source "$here/stage.sh"
# shellcheck source=deploy/demo/build.sh
source "$here/build.sh"
# shellcheck source=../../tests/support/kill_tree.sh
source "$root/tests/support/kill_tree.sh"
# shellcheck source=deploy/demo/files.sh
source "$here/files.sh"
# shellcheck source=deploy/demo/istio.sh
source "$here/istio.sh"

# All objects of the demo are in these namespaces, so that it can always delete them.
namespaces=(sailhand-demo sailhand-demo-bookinfo sailhand-demo-boutique sailhand-demo-system)
definition=boats.demo.sailhand.example
nodes=(node-1 node-2 node-3)

own_cluster=${SAILHAND_KUBECONFIG:-}
agreed=""
made_in_own_cluster=""
state=""
charts="" without=""
sent=0 # commands

# Environment variables of another sailhand must not apply.
for name in "${!SAILHAND__@}"; do unset "$name"; done

main() {
  while (($#)); do
    case $1 in
      --yes) agreed=yes ;;
      --build) building=yes ;;
      *) fail "unknown argument '$1'; there are --build and --yes" ;;
    esac
    shift
  done
  export PATH=$programs:$cache/bin:$PATH
  if [[ -n $own_cluster ]]; then
    command -v kubectl >/dev/null || fail "kubectl is missing"
    ask_for_own_cluster
  fi

  trap 'clean_up $?' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP PIPE
  state=$(mktemp -d "${TMPDIR:-/tmp}/sailhand-demo.XXXXXX")
  export XDG_CONFIG_HOME=$state

  need sailhand-analyze
  find_in_files
  build_the_rest
  start_bus
  start_dashboard
  work_without_a_cluster
  start_cluster
  start_workers
  install_istio
  deploy_bookinfo
  route_reviews
  apply_regatta
  kill_a_worker
  deploy_bookinfo_again
  look_at_the_mesh
  take_stock
  what_next
}

ask_for_own_cluster() {
  [[ -r $own_cluster ]] || fail "SAILHAND_KUBECONFIG: $own_cluster cannot be read"
  export KUBECONFIG=$own_cluster
  local context server found answer=""
  context=$(kubectl config current-context) || fail "$own_cluster has no current context"
  server=$(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}')
  found=$(kubectl get namespace "${namespaces[@]}" --ignore-not-found -o name
    kubectl get crd "$definition" --ignore-not-found -o name) || fail "the cluster at $server does not answer"
  [[ -z $found ]] || fail "the cluster has things that the demo would make and remove: ${found//$'\n'/, }"
  say "The demo would use the cluster at $server (context $context)." \
    "It makes the namespaces ${namespaces[*]} and the CRD $definition, and removes them at the end."
  [[ $agreed != yes ]] || return 0
  [[ -t 0 && -t 1 ]] || fail "there is no terminal to ask on; --yes agrees to it"
  read -r -p "Use it? [y/N] " answer
  [[ $answer == [yY]* ]] || fail "nothing was done; without SAILHAND_KUBECONFIG the demo makes a cluster of its own"
}

start_bus() {
  chapter "A bus"
  need sailhand
  need nats-server
  say "A real nats-server stores the commands. One command creates the streams. It deletes no message, so you can repeat it."
  launch nats-server nats-server --addr 127.0.0.1 --port -1 --ports_file_dir "$state" --jetstream --store_dir "$state/bus"
  eventually 15 nats_answers || fail "nats-server does not start"
  export SAILHAND__NATS__URL=$nats_url
  show "export SAILHAND__NATS__URL=$nats_url"
  run sailhand topology apply --config deploy/demo/worker.toml
  # Records every event and result on the bus, for the checks of the demo.
  launch witness sailhand watch --since 1h --output jsonl
}

start_dashboard() {
  chapter "A dashboard"
  show "sailhand dashboard --allow-actions &"
  launch dashboard sailhand dashboard --allow-actions --listen 127.0.0.1:0 --log-format text
  eventually 15 dashboard_answers || fail "the dashboard does not start"
  proven "Open ${strong}$dashboard${plain}: it shows each of the next steps as it happens. The source of a run names its chapter."
}

start_cluster() {
  chapter "A cluster"
  if [[ -n $own_cluster ]]; then
    say "The demo uses your cluster."
    made_in_own_cluster=yes
  else
    say "The control plane is real; only nodes and pods are simulated."
    need kwok
    need etcd
    need kube-apiserver
    need kube-controller-manager
    need kube-scheduler
    need kubectl
    "$control_plane" up "$state/control-plane" --guard $$ --pod-ready-ms 1500 | sed '/^control plane ready/,$d'
    export KUBECONFIG=$state/control-plane/admin.kubeconfig
  fi
  export SAILHAND__TARGETS__DEMO__KUBECONFIG=$KUBECONFIG
  show "export SAILHAND__TARGETS__DEMO__KUBECONFIG=$KUBECONFIG"
}

dashboard_answers() {
  dashboard=$(sed -n 's|.*Dashboard at \(http://[0-9.:]*\).*|\1|p' "$state/dashboard.log")
  [[ -n $dashboard ]] && curl -fs "$dashboard/livez"
}

nats_answers() {
  nats_url=$(sed -n 's/.*"nats":\["\([^"]*\)".*/\1/p' "$state"/*.ports) && [[ -n $nats_url ]]
}

start_workers() {
  chapter "Two workers"
  if find_charts; then
    export SAILHAND__CHARTS__SOURCE=$charts SAILHAND__CHARTS__CACHE=$cache/charts SAILHAND__CHARTS__HELM=$cache/bin/helm
  fi
  say "Both pull from one queue, and a lease ensures that only one of them writes to an installation."
  local name
  for name in worker-a worker-b; do
    show "SAILHAND__WORKER__ID=$name sailhand worker --config deploy/demo/worker.toml &"
    SAILHAND__WORKER__ID=$name launch "$name" sailhand worker --config deploy/demo/worker.toml
  done
  for name in worker-a worker-b; do
    eventually 15 worker_ready "$name" || fail "$name does not get ready"
    proven "$name is ready: $health/readyz"
  done
}

worker_ready() {
  health=$(sed -n 's|.*health and metrics on \(http://[0-9.:]*\).*|\1|p' "$state/$1.log")
  [[ -n $health ]] && curl -fs "$health/readyz"
}

install_istio() {
  if [[ -n $own_cluster ]]; then
    without="it belongs to a whole cluster, and this one is yours"
  fi
  chapter "Istio"
  if [[ -n $without ]]; then
    say "Istio is not installed: $without." "The demo continues without it."
    return
  fi
  say "Its charts come from $charts." \
    "The nodes are simulated and no istiod runs, so the demo writes the certificate that istiod would."
  stand_in_for_istiod >"$state/istiod.log" 2>&1 </dev/null &
  run send mesh.install --target demo -p version=$istio_version -p profile=minimal --wait
  ended_once mesh.install 1
  run kubectl --namespace istio-system get deployments
  run send mesh.install --target demo -p version=$istio_version -p profile=minimal --wait
  ended_once mesh.install 2
  [[ $last == *'"changed":false,'* ]] || fail "the second installation says that it changed something"
  proven "The second installation wrote nothing."
}

# Has Istio been installed?
meshed() {
  [[ -z $without ]]
}

route_reviews() {
  meshed || return 0
  chapter "A share of the traffic"
  say "20 % of the requests go to the next version of reviews: the subsets are written first, then the routes to them."
  run send traffic.apply --target demo -p scenario=reviews-80-20 -p namespace=sailhand-demo-bookinfo --wait
  run kubectl --namespace sailhand-demo-bookinfo get destinationrules,virtualservices
  ended_once traffic.apply 1
}

deploy_bookinfo() {
  chapter "A command"
  say "The command goes to the bus as a CloudEvent; a worker applies Istio's sample and reports each step until the pods are ready."
  run send sample.deploy --target demo -p application=bookinfo -p namespace=sailhand-demo-bookinfo --wait
  ended_once sample.deploy 1
}

apply_regatta() {
  chapter "A manifest of your own"
  say "Several documents in the wrong order, among them a CRD and a custom resource of it; the worker sorts them."
  run send config.apply --target demo -p name=regatta -p manifest=@deploy/demo/regatta.yaml -p wait=30s --wait
  run kubectl --namespace sailhand-demo get boats
  ended_once config.apply 1
}

kill_a_worker() {
  chapter "A worker dies in the middle"
  if [[ -z $own_cluster ]]; then
    say "The nodes are cordoned first: no new pod starts, so the command cannot end before its worker is killed."
    run kubectl cordon "${nodes[@]}"
  fi
  show "sailhand submit sample.deploy --target demo -p application=online-boutique -p namespace=sailhand-demo-boutique"
  local key victim heir pid since
  key=$(sailhand submit sample.deploy --source "$chapter_source" --target demo -p application=online-boutique -p namespace=sailhand-demo-boutique)
  say "$key"
  eventually 60 published "$key" '"phase":"wait"' || fail "the deployment does not get as far as waiting for its pods"
  run sailhand get "$key"
  victim=$(published "$key" event.started | sed -n 's/.*"worker":"\([^"]*\)".*/\1/p')
  heir=worker-a
  [[ $victim != worker-a ]] || heir=worker-b
  pid=$(cat "$state/$victim.pid")
  say "" "$victim has written the objects and waits for their pods. Now its process is killed:"
  run kill -9 "$pid"
  since=$SECONDS
  eventually 5 gone "$pid" || fail "$victim survives SIGKILL"
  rm -f "$state/$victim.pid"
  if published "$key" '\.result\.' >/dev/null; then fail "the command had ended before its worker was killed"; fi

  say "" "The queue delivers the command to $heir after 5 s without a heartbeat; the lease of $victim expires within 15 s." \
    "'watch' first prints the events so far."
  [[ -n $own_cluster ]] || open_nodes_when_published "$key" '"phase":"wait".*"id":"[a-z0-9-]*\.[0-9a-f]*\.2\.' &
  run sailhand watch "$key" --timeout 2m
  ended_once sample.deploy 2
  [[ $last == *'"attempts":2,'* ]] || fail "the result does not have two attempts"
  [[ $last == *"\"worker\":\"$heir\""* ]] || fail "the result is not by $heir"
  [[ $last == *'"changed":true,'* ]] || fail "the result knows nothing of what $victim wrote"
  proven "$heir ended it $((SECONDS - since)) s after the kill. 'unchanged': $victim had written all of it, nothing was written twice."
}

# The other worker executes the command by now; its pods can start.
open_nodes_when_published() {
  eventually 60 published "$@" && kubectl uncordon "${nodes[@]}" >/dev/null
}

deploy_bookinfo_again() {
  chapter "The same again"
  say "A command describes the desired state. The cluster is already in that state, so the worker compares and writes nothing."
  local before
  before=$(bookinfo_versions)
  run send sample.deploy --target demo -p application=bookinfo -p namespace=sailhand-demo-bookinfo --wait
  ended_once sample.deploy 3
  [[ $last == *'"changed":false,'* ]] || fail "the second run says that it changed something"
  [[ $(bookinfo_versions) == "$before" ]] || fail "the second run wrote to the cluster"
  proven "Every object of Bookinfo has the same resourceVersion as before."
}

bookinfo_versions() {
  kubectl --namespace sailhand-demo-bookinfo get serviceaccounts,services,deployments \
    -o 'jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion} {end}'
}

look_at_the_mesh() {
  chapter "The state of the mesh"
  say "The newest status of each target is on the page Targets: version, revision, owner and drift."
  run send mesh.status --target demo --wait
  ended_once mesh.status 1
  proven "It is on $dashboard/targets."
}

take_stock() {
  chapter "The account"
  say "$sent commands were sent and a worker was killed: each command has one result, and there is no dead letter."
  run sailhand dlq list --all
  [[ -z $(sailhand dlq list --all --output name) ]] || fail "there are dead letters"
  results_are "" "$sent" || fail "$(results "") results for $sent commands"
  proven "$sent commands, $sent results, 0 dead letters."
}

# Events and results of the command with the key `$1` that match `$2`. The fields of an event are in alphabetical order.
published() {
  grep "\"commandkey\":\"$1\".*$2" "$state/witness.log"
}

# There must be exactly `$2` results of the verb `$1`, the last one a success; it is stored in $last.
ended_once() {
  eventually 10 results_are "$1" "$2" || fail "$(results "$1") result(s) of $1 on the bus, not $2"
  last=$(grep "\"type\":\"io.meshery.istio.result.$1.v1\"" "$state/witness.log" | tail -n 1)
  [[ $last == *'"outcome":"succeeded"'* ]] || fail "$1 did not succeed"
  sent=$((sent + 1))
}

results() {
  grep -c "\"type\":\"io.meshery.istio.result.$1" "$state/witness.log" || true
}

results_are() {
  (($(results "$1") == $2))
}

what_next() {
  printf '\n%sWhat to try next%s\n' "$strong" "$plain"
  if ! [[ -t 0 && -t 1 ]]; then
    say "Run 'just demo' on a terminal: it runs until you press Enter. 'just test' runs every test." \
      "All that happened is on ${strong}$dashboard${plain}"
    return
  fi
  say "Bus, cluster, dashboard and a worker are still up. In another terminal:" "" \
    "  export PATH=$programs:$cache/bin:\$PATH" \
    "  export SAILHAND__NATS__URL=$nats_url KUBECONFIG=$KUBECONFIG" "" \
    "  sailhand watch --since 10m                                   # past and new events" \
    "  sailhand verbs sample.deploy                                 # the parameters of a command" \
    "  sailhand submit namespace.label -t demo -p namespace=sailhand-demo -p mode=enabled --wait" \
    "  sailhand submit config.delete -t demo -p name=regatta --wait # deletes the boat and its CRD" \
    "  sailhand submit sample.remove -t demo -p application=bookinfo -p namespace=sailhand-demo-bookinfo --wait" \
    "  kubectl get pods --all-namespaces" "" \
    "Files: deploy/demo/worker.toml, deploy/demo/regatta.yaml. Every test: just test" "" \
    "All that happened is on ${strong}$dashboard${plain}, where you can also send commands."
  read -r -p "${strong}Press Enter to clean up.${plain} " || true
}

clean_up() {
  local code=$1
  trap '' INT TERM HUP PIPE
  trap - EXIT
  set +e # every step is tried, even if nobody reads the output
  if ((code != 0)); then
    keep_logs
    ((code == 130 || code == 143)) || printf '%sThe demo failed.%s Logs: %s\n' "$bad" "$plain" "$logs" >&2
  fi
  printf '%sCleaning up …%s\n' "$quiet" "$plain"
  # shellcheck disable=SC2046  # word splitting is intended
  kill $(jobs -p) 2>/dev/null
  stop_builds
  stop worker-files worker-a worker-b witness dashboard
  stop nats-server
  if [[ -n $made_in_own_cluster ]]; then
    say "Deleting the objects of the demo in your cluster:"
    kubectl delete namespace "${namespaces[@]}" --ignore-not-found --timeout=3m &&
      kubectl delete crd "$definition" --ignore-not-found --timeout=1m ||
      say "The deletion failed; these remain: namespaces ${namespaces[*]}, CRD $definition"
  fi
  if [[ -d $state/control-plane ]]; then "$control_plane" down "$state/control-plane"; fi
  eventually 5 rm -rf "$state" || say "$state could not be removed."
  say "All processes of the demo have ended."
  exit "$code"
}

keep_logs() {
  rm -rf "$logs"
  mkdir -p "$logs"
  cp "$state"/*.log "$state"/control-plane/*.log "$logs" 2>/dev/null
}

main "$@"
