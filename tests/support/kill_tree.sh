# Sourced. Ends a process and those below it, which a signal to a script does not reach.
# shellcheck shell=bash
kill_tree() {
  local child
  for child in $(pgrep -P "$1"); do kill_tree "$child"; done
  kill "$1" 2>/dev/null
}
