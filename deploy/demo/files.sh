# The parts that need no cluster: an error in manifests, its fix and the HTML report; then the analysis as a command.
# Sourced by run.sh.
# shellcheck shell=bash

find_in_files() {
  local page=$logs/findings.html
  chapter "A mistake in a folder"
  say "A VirtualService sends a fifth of the requests to a subset that no DestinationRule defines."
  mkdir -p "$state/shop" "$logs"
  cp deploy/demo/mistake.yaml "$state/shop/reviews.yaml"
  run_failing sailhand-analyze "$state/shop"
  [[ $printed == *IST0101* ]] || fail "the analysis does not find the mistake"
  sailhand-analyze --output html --fail-on never "$state/shop" >"$page" 2>/dev/null
  proven "The same as a page: file://$page"
  say "" "The subset is v2. The corrected folder has no findings:"
  show "sed -i 's/subset: v3/subset: v2/' $state/shop/reviews.yaml"
  sed 's/subset: v3/subset: v2/' deploy/demo/mistake.yaml >"$state/shop/reviews.yaml"
  run sailhand-analyze "$state/shop"
  proven "First result after $((SECONDS - started)) s."
}

# Shows a command that must fail, and stores its standard output in $printed.
run_failing() {
  show "$@"
  if "$@"; then fail "'$*' succeeds"; fi
  printed=$("$@" 2>/dev/null) || true
}

work_without_a_cluster() {
  chapter "Commands that need no cluster"
  say "A worker pulls commands from the bus. Manifests are analyzed, and a conformance suite is simulated, without a cluster."
  show "sailhand worker --config deploy/demo/worker.toml &"
  SAILHAND__WORKER__ID=worker-files SAILHAND__TARGETS__DEMO__KUBECONFIG=$state/none \
    launch worker-files sailhand worker --config deploy/demo/worker.toml
  eventually 15 worker_ready worker-files || fail "the worker does not get ready"
  run send config.analyze --target demo -p live=false -p manifest=@deploy/demo/mistake.yaml --wait
  ended_once config.analyze 1
  [[ $last == *IST0101* ]] || fail "the analysis finds no mistake"
  proven "The findings are on $dashboard/findings."
  run send conformance.run --target demo -p suite=smi -p driver=simulated
  ended_once conformance.run 1
  proven "The verdicts are on $dashboard/conformance."
  stop worker-files
}
