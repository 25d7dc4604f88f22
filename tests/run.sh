#!/usr/bin/env bash
# Runs every test there is and ends with one line, `N passed, N failed`. Exit status 1 when anything failed, was left
# out, or could not be run.
#
#   run.sh              all tests: rust, chaos, schemas, clients, browser, deploy, fuzz,
#                       demo, real
#   run.sh PART...      these parts; also `check`, which is `just check` counted step by step
#
# Whole logs are in .cache/log.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
export SAILHAND_CACHE=${SAILHAND_CACHE:-$root/.cache}
logs=$SAILHAND_CACHE/log
mkdir -p "$logs"
cd "$root" || exit 1

passed=0
failed=0

say() {
  printf '\n== %s ==\n' "$*"
}

report_failure() {
  echo "FAILED $1"
  failed=$((failed + 1))
}

# shellcheck source=support/kill_tree.sh
source "$here/support/kill_tree.sh"
background=() # processes that end with this one
plane=""      # folder of a control plane that ends with this one

clean_up() {
  local process
  for process in "${background[@]}"; do kill_tree "$process"; done
  [[ -z $plane ]] || "$here/support/control-plane.sh" down "$plane"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Builds the real servers in the background: nearly every test needs them, `check` does not, and the Rust compiler leaves a
# core idle for long stretches.
build_tools() {
  "$here/tools/build.sh" istio >"$logs/tools.log" 2>&1 &
  tools=$!
  background+=("$tools")
}

# Builds the fuzz targets in the background, behind everything else: the compiler uses one core for minutes, and most tests
# wait.
build_fuzz_targets() {
  nice -n 19 "$here/fuzz.sh" all build >"$logs/build-fuzz.log" 2>&1 &
  fuzz_targets=$!
  background+=("$fuzz_targets")
}

# Waits for the real servers and starts a control plane. Without them nearly every test would fail for the same reason.
prepare() {
  local state=$SAILHAND_CACHE/test-control-plane-$$
  say "real servers"
  tail -n +1 -f --pid="$tools" "$logs/tools.log"
  local built=0
  wait "$tools" || built=$?
  background=() # the number of an ended process may be another's
  if ((built != 0)); then
    report_failure "the real servers could not be built"
    return 1
  fi
  if [[ -z ${SAILHAND_TEST_KUBECONFIG:-} ]]; then
    if ! "$here/support/control-plane.sh" up "$state" --guard $$; then
      report_failure "the control plane did not start"
      return 1
    fi
    plane=$state
    export SAILHAND_TEST_KUBECONFIG=$state/admin.kubeconfig
  fi
}

# Adds up cargo's `test result: ok. 12 passed; 0 failed; 0 ignored; …` lines.
count_rust() {
  local log=$1 field
  for field in passed failed ignored; do
    printf '%s ' "$(sed -n "s/^test result: .* \([0-9][0-9]*\) $field;.*/\1/p" "$log" | awk '{n += $1} END {print n + 0}')"
  done
}

# Most tests wait for servers more than they compute: with one thread for each core, half of two cores is idle.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}

rust() {
  local log=$logs/test-rust.log code p f i
  say "cargo test"
  cargo test --locked --no-fail-fast 2>&1 | tee "$log" |
    grep --line-buffered -E '^( +(Compiling sailhand|Finished|Running|Doc-tests)|test result:|test .* FAILED|error|warning: unused)'
  code=${PIPESTATUS[0]}
  read -r p f i < <(count_rust "$log")
  passed=$((passed + p))
  failed=$((failed + f))
  if ((f > 0)); then
    sed -n '/^failures:$/,/^test result:/p' "$log"
  elif ((code != 0)); then
    tail -n 60 "$log"
    report_failure "cargo test ended with status $code without a failed test"
  fi
  ((i == 0)) || report_failure "$i Rust tests are ignored; nothing may be skipped"
  ((p > 0)) || report_failure "no Rust test passed"
}

# Single faults, then a short run of `just chaos`, always the same seeds.
chaos() {
  local log=$logs/test-chaos-scenarios.log p f i
  say "faults on real servers and processes"
  cargo test --locked --features failpoints --test it_chaos >"$log" 2>&1 || tail -n 80 "$log"
  read -r p f i < <(count_rust "$log")
  passed=$((passed + p))
  failed=$((failed + f))
  ((p > 0 && i == 0)) || report_failure "chaos scenarios; what happened is in $log"
  log=$logs/test-chaos.log
  if cargo test --locked --features failpoints --test chaos_run -- --seeds 54 >"$log" 2>&1; then
    sed -n '/  schedules$/,$p' "$log"
    passed=$((passed + 1))
  else
    tail -n 80 "$log"
    report_failure "chaos; what happened is in $log"
  fi
}

# A script that prints `ok NAME` and `FAILED NAME: reason`. Status 77: it cannot run here, and said why.
checks() {
  local name=$1 log=$logs/test-$1.log code p f
  shift
  "$@" 2>&1 | tee "$log"
  code=${PIPESTATUS[0]}
  p=$(grep -c '^ok ' "$log")
  f=$(grep -c '^FAILED ' "$log")
  passed=$((passed + p))
  failed=$((failed + f))
  if ((code == 77)); then
    echo "$name: NOT RUN, for the reason above"
  elif ((code != 0 && f == 0)); then
    report_failure "$name ended with status $code"
  elif ((p + f == 0)); then
    report_failure "$name checked nothing"
  fi
}

# One step that either succeeds or not.
step() {
  local name=$1
  shift
  if "$@" >"$logs/step-$name.log" 2>&1; then
    echo "ok $name"
    passed=$((passed + 1))
  else
    tail -n 60 "$logs/step-$name.log"
    report_failure "$name"
  fi
}

run_parts() {
  local part name
  for part; do
    case $part in
      check)
        say "formatting, lints, documentation, dependencies"
        for name in fmt-check clippy doc deny; do step "$name" just "$name"; done
        ;;
      rust) rust ;;
      deploy)
        say "the Helm chart, and the files of a release"
        if cargo build --locked --quiet --workspace; then
          checks chart "$root/deploy/helm/check.sh"
          checks release "$root/deploy/release/check.sh"
        else
          report_failure "the programs could not be built"
        fi
        ;;
      chaos) chaos ;;
      schemas)
        say "schemas, by independent tools"
        checks schemas "$here/clients/run.sh" schemas
        ;;
      clients)
        say "third-party clients"
        # `cargo test` has built it already; this is for the run of this part alone.
        if cargo build --locked --quiet; then
          checks clients "$here/clients.sh"
        else
          report_failure "the worker could not be built"
        fi
        ;;
      browser)
        say "the dashboard in a real browser"
        if cargo build --locked --quiet; then
          checks browser "$here/browser/run.sh"
        else
          report_failure "the dashboard could not be built"
        fi
        ;;
      fuzz)
        say "random input for each reader, always the same; the first build takes some minutes"
        [[ -z ${fuzz_targets:-} ]] || wait "$fuzz_targets"
        background=()
        step fuzz "$here/fuzz.sh" all same
        ;;
      demo)
        say "the demo, which fails when its story does not come true"
        if cargo build --locked --quiet --bin sailhand --package sailhand --package sailhand-analyze; then
          local charts=${SAILHAND_CHARTS:-${SAILHAND_SHARED:-$root/../shared}/charts}
          [[ -d $charts ]] || charts=""
          step demo env -u SAILHAND_KUBECONFIG SAILHAND_CHARTS="$charts" deploy/demo/run.sh
        else
          report_failure "the worker could not be built"
        fi
        ;;
      real)
        say "a real cluster with real Istio"
        if cargo build --locked --quiet; then
          checks real "$here/real/run.sh"
        else
          report_failure "the worker could not be built"
        fi
        ;;
      *) report_failure "there is no part '$part'" ;;
    esac
  done
}

parts=("$@")
((${#parts[@]})) || parts=(rust chaos schemas clients browser deploy fuzz demo real)
if [[ ${parts[*]} != check ]]; then build_tools; fi
if [[ ${parts[0]} == check ]]; then
  run_parts check
  parts=("${parts[@]:1}")
fi
if ((${#parts[@]})) && prepare; then
  if [[ " ${parts[*]} " == *" rust "* && " ${parts[*]} " == *" fuzz "* ]]; then build_fuzz_targets; fi
  run_parts "${parts[@]}"
fi
echo
echo "$passed passed, $failed failed"
((failed == 0))
