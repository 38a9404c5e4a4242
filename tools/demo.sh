#!/usr/bin/env bash
# Starts a server of its own, sends it one Python program of two files that reads its input, and compares the answer.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

lambdo=build/release/src/cli/lambdo
program=examples/programs/python
server=

free_port() {
  /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

stop_server() {
  [[ -n $server ]] || return 0
  kill -TERM "$server" 2>/dev/null || true
  wait "$server" || status=$?
  server=
}

wait_until_healthy() {
  local deadline=$((SECONDS + 60))
  until curl --silent --fail --max-time 2 --output /dev/null "$url/health"; do
    kill -0 "$server" 2>/dev/null || die_with_log "the server ended before it was ready"
    ((SECONDS < deadline)) || die_with_log "the server is not ready after 60 s"
    sleep 0.05
  done
}

# The image is unpacked while the server serves already.
wait_until_language_ready() {
  local deadline=$((SECONDS + 120))
  until [[ $(curl --silent --max-time 2 "$url/languages" | jq -r '.languages[0].state') == ready ]]; do
    kill -0 "$server" 2>/dev/null || die_with_log "the server ended before Python was ready"
    ((SECONDS < deadline)) || die_with_log "Python's image is not ready after 120 s"
    sleep 0.05
  done
}

die_with_log() {
  tail -n 40 "$log" | sed 's/^/  | /' >&2
  die "$1; its log is ${log#"$root/"}"
}

"$lambdo" doctor --config examples/lambdo.yaml || warn "the doctor found something; trying all the same"

mkdir -p "$logs"
log=$logs/demo-server.log
port=$(free_port)
url=http://127.0.0.1:$port
say "starting the server on $url"
"$lambdo" serve --config examples/lambdo.yaml --port "$port" --language python >"$log" 2>&1 &
server=$!
trap stop_server EXIT
wait_until_healthy
wait_until_language_ready

request=$(jq -n --rawfile main "$program/main.py" --rawfile helper "$program/word_count.py" \
  --rawfile input "$program/input.txt" '{language: "python", version: "", input: $input,
    code: [{filename: "main.py", content: $main}, {filename: "word_count.py", content: $helper}]}')
say "POST /run"
jq . <<<"$request"
answer=$(curl --silent --show-error --max-time 60 --header 'Content-Type: application/json' --data "$request" "$url/run")
say "the answer"
jq . <<<"$answer" || die_with_log "the answer is not JSON: $answer"
jq --exit-status --rawfile expected "$program/expected.txt" '.status == 0 and .stdout == $expected' <<<"$answer" >/dev/null ||
  die_with_log "the answer is not status 0 with the output of $program/expected.txt"

say "stopping the server"
status=0
stop_server
((status == 0)) || die_with_log "the server ended with status $status instead of 0"
