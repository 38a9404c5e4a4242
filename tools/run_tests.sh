#!/usr/bin/env bash
# Runs kinds of tests against one build folder and counts them: tools/run_tests.sh FOLDER KIND...
# KIND: lint, unit, e2e, nested (what needs a KVM that works), reports (what sanitizers found, also in a server
# that a test did not watch). All kinds run, whatever fails; the last line is "N passed, N failed[, N skipped]".
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

name=$1 build=build/$1
shift
counts=$logs/counts-$name
rm -rf "$counts"
mkdir -p "$counts"

test_lint() { /usr/bin/python3 tools/lint.py --counts "$counts/lint" || true; }

test_unit() {
  if [[ -e build/guest-kernel/vmlinuz ]]; then
    export LAMBDO_TEST_KERNEL=$root/build/guest-kernel/vmlinuz LAMBDO_TEST_MODULES=$root/build/guest-kernel/modules
  fi
  rm -f "$build/meson-logs/testlog.json"
  # Sanitizers are slow; a hanging test still ends.
  run_logged "unit-$name" "unit tests" meson test -C "$build" --suite unit --no-rebuild --print-errorlogs \
    --timeout-multiplier "$([[ $name == release ]] && echo 1 || echo 5)" || true
  /usr/bin/python3 tools/results.py meson "$build/meson-logs/testlog.json" "$counts/unit"
}

test_e2e() {
  local report=$logs/e2e-$name.xml
  if ! compgen -G 'tests/e2e/test_*.py' >/dev/null; then
    warn "tests/e2e has no tests"
    return
  fi
  rm -f "$report"
  LAMBDO_BIN=$root/$build/src/cli/lambdo LAMBDO_AGENT=$root/$build/agent/lambdo-agent \
    run_logged "e2e-$name" "end-to-end tests" /usr/bin/python3 -m pytest tests/e2e -p no:cacheprovider \
    --tb=short -rfEs -q --junitxml="$report" || true
  /usr/bin/python3 tools/results.py junit "$report" "$counts/e2e"
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
for kind in "$@"; do
  say "$kind ($build)"
  "test_$kind"
done
exec /usr/bin/python3 tools/results.py total "$counts"
