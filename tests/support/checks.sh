# shellcheck shell=bash
# `check NAME COMMAND…` prints `ok AREA: NAME` or `FAILED AREA: NAME: reason`, which tests/run.sh counts. To be sourced by a
# script that sets `area` and ends with `exit "$failed"`.

failed=0

# Runs the command in a subshell; its output is the reason.
check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "ok $area: $name"
  else
    echo "FAILED $area: $name: ${output//$'\n'/ | }"
    failed=1
    return 1
  fi
}
