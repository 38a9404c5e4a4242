#!/usr/bin/env bash
# Runs kinds of tests against one build folder and counts them: tools/run_tests.sh FOLDER KIND...
# KIND: lint, unit, e2e, e2e-quick (the most telling of them), e2e-load (load, soak and kills with the numbers that are
# promised), nested (what needs a KVM that works), reports (what sanitizers found, also in a server that a test did not
# watch). All kinds run, whatever fails; the last line is "N passed, N failed[, N skipped]".
#
# Unit and end-to-end tests wait more than they compute, so several run at a time, and lint takes what they leave of the
# processors. What fills the machine, or measures it, runs alone.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

name=$1 build=build/$1
shift
counts=$logs/counts-$name
rm -rf "$counts"
mkdir -p "$counts"

processors=$(nproc)
# Each is slow enough with sanitizers and coverage.
workers=$([[ $name == release ]] && echo $((processors + 1)) || echo "$processors")

# Only what nothing else wants of the processors: timings of the tests beside it stay what they are.
start_lint() {
  echo "0 1 0" >"$counts/lint" # unless it comes to an end
  setsid nice -n 19 /usr/bin/python3 tools/lint.py --counts "$counts/lint" >"$logs/lint.log" 2>&1 </dev/null &
  lint=$!
  trap '[[ -z $lint ]] || kill -- -"$lint"' EXIT
}

finish_lint() {
  [[ -n ${lint:-} ]] || return 0
  say "waiting for lint, which ran beside the tests"
  renice -n 0 -g "$lint" >/dev/null 2>&1 || true
  wait "$lint" || true
  lint=
  grep -vE '^\.\.\. clang-tidy: [0-9]+ of' "$logs/lint.log" || true
}

test_unit() {
  if [[ -e build/guest-kernel/vmlinuz ]]; then
    export LAMBDO_TEST_KERNEL=$root/build/guest-kernel/vmlinuz LAMBDO_TEST_MODULES=$root/build/guest-kernel/modules
  fi
  rm -f "$build/meson-logs/testlog.json"
  # Sanitizers are slow; a hanging test still ends.
  run_logged "unit-$name" "unit tests" meson test -C "$build" --suite unit --no-rebuild --print-errorlogs \
    --num-processes $((2 * processors)) --timeout-multiplier "$([[ $name == release ]] && echo 2 || echo 5)" || true
  /usr/bin/python3 tools/results.py meson "$build/meson-logs/testlog.json" "$counts/unit"
}

# run_pytest NAME MESSAGE ARGUMENT...: end-to-end tests, counted under this name.
run_pytest() {
  local step=$1 message=$2 report=$logs/$1-$name.xml
  shift 2
  rm -f "$report"
  LAMBDO_BIN=$root/$build/src/cli/lambdo LAMBDO_AGENT=$root/$build/agent/lambdo-agent \
    run_logged "$step-$name" "$message" /usr/bin/python3 -m pytest tests/e2e -p no:cacheprovider \
    --tb=short -rfEs -q --junitxml="$report" "$@" || true
  /usr/bin/python3 tools/results.py junit "$report" "$counts/$step"
}

test_e2e() {
  run_pytest e2e "end-to-end tests, $workers at a time" -n "$workers" --dist loadgroup -m 'not alone'
  finish_lint
  run_pytest e2e-alone "end-to-end tests that need the machine for themselves" -m alone
}

test_e2e-quick() { run_pytest e2e-quick "the most telling end-to-end tests" -n "$workers" --dist loadgroup -m quick; }

test_e2e-load() {
  LAMBDO_LOAD_RUNS=${LAMBDO_LOAD_RUNS:-10000} LAMBDO_NETWORK_RUNS=${LAMBDO_NETWORK_RUNS:-5000} \
    LAMBDO_KILL_POINTS=${LAMBDO_KILL_POINTS:-50} run_pytest e2e-load "load, soak and kills" -m load
}

test_nested() {
  local report=$logs/nested-harness.xml
  rm -f "$report"
  run_logged nested-harness "tests of the nested harness" /usr/bin/python3 -m pytest tests/nested/test_harness.py -p no:cacheprovider \
    --tb=short -q --junitxml="$report" || true
  /usr/bin/python3 tools/results.py junit "$report" "$counts/nested-harness"
  echo "0 1 0" >"$counts/nested" # unless it comes to an end
  /usr/bin/python3 tests/nested/harness.py --build "$build" --counts "$counts/nested" || true
}

test_reports() {
  local report found=0
  for report in "$build"/reports/*; do
    # Other lines are about the sanitizer itself, as of a symbolizer that was killed along with a test's server.
    grep -qE 'Sanitizer|runtime error' "$report" 2>/dev/null || continue
    found=$((found + 1))
    fail "a sanitizer's report, ${report#"$root/"}:"
    head -n 40 "$report" | sed 's/^/  | /' >&2
  done
  echo "reports: $found"
  echo "$((found == 0)) $found 0" >"$counts/reports"
}

rm -rf "$build/reports"
mkdir -p "$build/reports"
[[ " $* " != *' lint '* ]] || start_lint
for kind in "$@"; do
  # Suites on virtual processors want all of the real ones.
  [[ $kind != nested ]] || finish_lint
  [[ $kind != lint ]] || continue
  say "$kind ($build)"
  "test_$kind"
done
finish_lint
exec /usr/bin/python3 tools/results.py total "$counts"
