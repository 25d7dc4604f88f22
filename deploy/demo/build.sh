# Builds the programs of the demo in the order in which it needs them. Sourced by run.sh.
# shellcheck shell=bash

building=""
started=$SECONDS
build_pids=()

# Without debug information and incremental state, which the demo does not need, the first build is shorter.
cargo_build() {
  CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 cargo build --locked "$@"
}

path_of() {
  case $1 in
    sailhand | sailhand-analyze) echo "$programs/$1" ;;
    *) echo "$cache/bin/$1" ;;
  esac
}

# Waits until a program is built, and shows what is being built meanwhile. The analyzer is first, because it has the fewest
# dependencies, and the other programs share them.
need() {
  local name=$1 path begun=$SECONDS
  path=$(path_of "$name")
  if [[ -z $building ]]; then
    [[ -x $path ]] || fail "$path is missing; 'just tools charts' and 'cargo build --workspace' make it"
    return 0
  fi
  if [[ $name == sailhand-analyze ]]; then
    say "${quiet}Building the analyzer; the log is $logs/build-analyze.log.${plain}"
    mkdir -p "$logs"
    rm -f "$logs"/build-*.log
    cargo_build --package sailhand-analyze >"$logs/build-analyze.log" 2>&1 &
    build_pids+=($!)
    waiting "$name" "$!"
    proven "The analyzer is ready after $((SECONDS - started)) s."
    return 0
  fi
  until [[ -e $state/built-$name ]]; do
    [[ ! -e $state/build-failed ]] || fail "a build failed: $(cat "$state/build-failed")"
    progress "$name" "$begun"
    sleep 1
  done
  progress_end "$begun"
}

waiting() {
  local name=$1 pid=$2 begun=$SECONDS
  while kill -0 "$pid" 2>/dev/null; do
    progress "$name" "$begun"
    sleep 1
  done
  progress_end "$begun"
  wait "$pid" || fail "the build of $name failed; the log is in $logs"
}

# On a terminal one line with the elapsed seconds, otherwise one line for each minute.
progress() {
  local name=$1 seconds=$((SECONDS - $2)) current logged=("$logs"/build-{worker,servers}.log)
  [[ $name != sailhand-analyze ]] || logged=("$logs/build-analyze.log")
  current=$(tail -q -n 1 "${logged[@]}" 2>/dev/null | tr -s ' \r' ' ' | paste -sd '|' | cut -c 1-70) || true
  if [[ -t 1 ]]; then
    printf '\r\e[K%swaiting for %s, %d s; now: %s%s' "$quiet" "$name" "$seconds" "$current" "$plain"
  elif ((seconds % 60 == 1)); then
    say "waiting for $name, $seconds s; now: $current"
  fi
}

progress_end() {
  if [[ -t 1 ]] && ((SECONDS > $1)); then printf '\r\e[K'; fi
}

# Starts the builds of the worker and of the servers at the same time. The file $state/built-NAME exists when NAME is built.
build_the_rest() {
  [[ -n $building ]] || return 0
  say "" "The worker, nats-server and a Kubernetes control plane are being built now, from pinned sources. The demo uses each as soon as it is built."
  (
    cargo_build --bin sailhand >"$logs/build-worker.log" 2>&1 && touch "$state/built-sailhand" ||
      echo "$logs/build-worker.log" >"$state/build-failed"
  ) &
  build_pids+=($!)
  local group=""
  # helm is needed only if Istio's charts are available, a control plane only without SAILHAND_KUBECONFIG.
  if [[ -n $own_cluster ]]; then
    group=nats
  elif charts_can_be_had; then
    group=charts
  fi
  (
    SAILHAND_TOOLS_DONE=$state "$root/tests/tools/build.sh" $group >"$logs/build-servers.log" 2>&1 ||
      echo "$logs/build-servers.log" >"$state/build-failed"
  ) &
  build_pids+=($!)
}

stop_builds() {
  local pid
  for pid in "${build_pids[@]}"; do kill_tree "$pid"; done
}
