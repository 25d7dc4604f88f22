# Functions of the demo that print texts, run commands and wait. Sourced by run.sh.
# shellcheck shell=bash

if [[ (-t 1 || -n ${CLICOLOR_FORCE:-}) && -z ${NO_COLOR:-} ]]; then
  strong=$'\e[1m' quiet=$'\e[2m' good=$'\e[32m' bad=$'\e[1;31m' plain=$'\e[0m'
else
  strong="" quiet="" good="" bad="" plain=""
fi

chapters=0 chapter_source=""
chapter() {
  chapters=$((chapters + 1))
  # CloudEvents source of its commands, which the dashboard shows: a URI reference.
  chapter_source=$(tr 'A-Z ' 'a-z-' <<<"/demo/$chapters-$1")
  printf '\n%s%d. %s%s\n' "$strong" "$chapters" "$1" "$plain"
}

say() {
  printf '%s\n' "$@"
}

proven() {
  printf '%s✔%s %s\n' "$good" "$plain" "$*"
}

fail() {
  printf '%s✖ %s%s\n' "$bad" "$*" "$plain" >&2
  exit 1
}

# Prints a command as a user would type it.
show() {
  printf '\n%s$ %s%s\n' "$strong" "$*" "$plain"
}

# Shows a command and runs it. `sailhand` prints text only on a terminal by default, so the output format is set.
# It runs in the background, because the shell handles signals during `wait` but not during a foreground process.
run() {
  local more=()
  if [[ $1 == send ]]; then
    set -- sailhand submit "${@:2}"
    more=(--source "$chapter_source")
  fi
  show "$@"
  [[ $1 != sailhand || " submit watch get dlq " != *" $2 "* ]] || more+=(--output text)
  "$@" ${more[@]+"${more[@]}"} &
  wait $!
}

# Waits until a command succeeds, at most `$1` seconds.
eventually() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS <= end)) || return 1
    sleep 0.1
  done
}

# Starts a program in a separate session, so that it does not receive the terminal's Ctrl-C: `launch NAME PROGRAM...`. Its
# output goes to $state/NAME.log, its process id to $state/NAME.pid.
launch() {
  local name=$1 apart=(env)
  shift
  command -v setsid >/dev/null && apart=(setsid)
  "${apart[@]}" "$@" >"$state/$name.log" 2>&1 </dev/null &
  echo $! >"$state/$name.pid"
  disown
}

# Ends the programs that `launch` started: with SIGTERM, and after three seconds with SIGKILL.
stop() {
  local name pid pids=()
  for name in "$@"; do
    pid=$(cat "$state/$name.pid" 2>/dev/null) || continue
    rm -f "$state/$name.pid"
    kill "$pid" 2>/dev/null && pids+=("$pid")
  done
  ((${#pids[@]})) || return 0
  eventually 3 gone "${pids[@]}" || kill -KILL "${pids[@]}" 2>/dev/null || true
}

gone() {
  local pid
  for pid in "$@"; do
    if kill -0 "$pid" 2>/dev/null; then return 1; fi
  done
}
