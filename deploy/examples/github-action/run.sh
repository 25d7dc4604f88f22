#!/usr/bin/env bash
# Sends one command and waits for its result. The job fails unless the command succeeds. A re-run is another command.
set -euo pipefail

# The token goes to curl by a file descriptor, so that no process list has it.
authorization() { printf 'header = "Authorization: Bearer %s"\n' "$1"; }
token=$(curl --fail --silent --show-error --config <(authorization "$ACTIONS_ID_TOKEN_REQUEST_TOKEN") \
  "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=$AUDIENCE" | jq --raw-output .value)

event=$(jq --null-input --compact-output --argjson data "$DATA" --arg verb "$VERB" --arg target "$TARGET" \
  --arg source "/github/$GITHUB_REPOSITORY/$GITHUB_WORKFLOW" --arg id "$GITHUB_RUN_ID.$GITHUB_RUN_ATTEMPT.$VERB" \
  '{specversion: "1.0", type: "io.meshery.istio.command.\($verb).v1", source: ($source | gsub(" "; "-")), id: $id,
    subject: $target, data: $data}')
location=$(curl --fail-with-body --silent --show-error --retry 5 --config <(authorization "$token") "$GATEWAY/v1/events" \
  --header 'Content-Type: application/cloudevents+json' --data-binary @- <<<"$event" | jq --raw-output .location)
ended=$(curl --fail-with-body --silent --show-error --retry 5 --config <(authorization "$token") "$GATEWAY$location?wait=$WAIT")
jq . <<<"$ended"
jq --exit-status '.outcome == "succeeded"' <<<"$ended" >/dev/null
