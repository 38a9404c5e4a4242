# shellcheck shell=bash
# What ./dev and its helpers share: messages, logs of long steps, and one search path.

# Distribution tools first: version managers like to put shims of python3 in front of them.
export PATH="/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH"
export LC_ALL=C.UTF-8
# What ccache needs to know to take results of files with a precompiled header (ccache's manual, Precompiled headers).
export CCACHE_SLOPPINESS=pch_defines,time_macros

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$root/build/logs

# shellcheck disable=SC2034 # dev uses bold
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' yellow=$'\e[33m' plain=$'\e[0m' clear_line=$'\r\e[K'
else
  bold='' green='' red='' yellow='' plain='' clear_line=''
fi

say() { printf '%s==>%s %s\n' "$green" "$plain" "$*"; }
warn() { printf '%swarning:%s %s\n' "$yellow" "$plain" "$*" >&2; }
fail() { printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2; }
die() {
  fail "$@"
  exit 1
}

# Says every few seconds how far a step is (the last line of its log $2), until the file $3 is gone.
tick() {
  local message=$1 log=$2 running=$3 every=20 start=$SECONDS said=0 last
  [[ -z $clear_line ]] || every=1
  while read -rt 1 _ <> <(:) || [[ -e $running ]]; do
    kill -0 $$ 2>/dev/null || return 0
    ((SECONDS - start >= said + every)) || continue
    said=$((SECONDS - start))
    last=$(tail -n 1 "$log" | tr -cd '[:print:]' | cut -c 1-60)
    printf '%s... %s, %d s: %s' "$clear_line" "$message" "$said" "$last"
    [[ -n $clear_line ]] || echo
  done
}

# run_logged LOG MESSAGE COMMAND...: runs a noisy command with its output in build/logs/LOG.log and progress
# here; on failure shows the end of the log and returns the command's status.
run_logged() {
  local log=$logs/$1.log message=$2 running status=0 start=$SECONDS ticker
  shift 2
  mkdir -p "$logs"
  running=$log.running
  : >"$log"
  : >"$running"
  tick "$message" "$log" "$running" &
  ticker=$!
  # In the foreground, so that Ctrl-C reaches it.
  "$@" >"$log" 2>&1 </dev/null || status=$?
  rm -f "$running"
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  printf '%s' "$clear_line"
  if ((status == 0)); then
    say "$message: done in $((SECONDS - start)) s"
  else
    fail "$message: failed with status $status; the end of ${log#"$root/"}:"
    tail -n 40 "$log" | sed 's/^/  | /' >&2
  fi
  return "$status"
}

started=()

# start_logged LOG MESSAGE COMMAND...: the same beside what follows, without a word until finish_logged. What still runs when
# this shell ends, for whatever reason, is ended with it (end_started, in the shell's trap).
start_logged() {
  local log=$logs/$1.log message=$2
  shift 2
  mkdir -p "$logs"
  "$@" >"$log" 2>&1 </dev/null &
  started+=("$! $SECONDS $log $message")
}

end_started() {
  local entry
  for entry in ${started[@]+"${started[@]}"}; do end_tree "${entry%% *}"; done
}

# Ends a process and all that descend from it.
end_tree() {
  local child
  for child in $(pgrep -P "$1"); do end_tree "$child"; done
  kill "$1" 2>/dev/null || true
}

# Waits for everything that start_logged has started; shows the end of the logs of what failed. Status 1 when something did.
finish_logged() {
  local entry pid start log message status failed=0
  for entry in "${started[@]}"; do
    read -r pid start log message <<<"$entry"
    status=0
    wait "$pid" || status=$?
    if ((status == 0)); then
      say "$message: done $((SECONDS - start)) s after its start"
    else
      failed=1
      fail "$message: failed with status $status; the end of ${log#"$root/"}:"
      tail -n 40 "$log" | sed 's/^/  | /' >&2
    fi
  done
  started=()
  return "$failed"
}
