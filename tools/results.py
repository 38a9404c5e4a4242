"""Counts test results. Each count is a file "PASSED FAILED SKIPPED".

results.py meson TESTLOG COUNT   doctest cases of every program in meson's testlog.json
results.py junit REPORT COUNT    cases of a JUnit report
results.py total FOLDER          the sum of a folder's counts, as the last line of a test run; status 1 on failures
A missing or unreadable report counts as one failure: silence is never a pass.
"""
import json
import pathlib
import re
import sys
import xml.etree.ElementTree

DOCTEST_SUMMARY = re.compile(r"test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed\s*\|\s*(\d+) skipped")
COLORS = re.compile(r"\x1b\[[0-9;]*m")


def count_program(run):
    """Counts of one test program. One that ended badly failed at least once, whatever it printed."""
    ended_well = run["returncode"] == 0 and run["result"] == "OK"
    summary = DOCTEST_SUMMARY.findall(COLORS.sub("", run.get("stdout", "")))
    if not summary:
        return (1, 0, 0) if ended_well else (0, 1, 0)
    passed, failed, skipped = (int(number) for number in summary[-1][1:])
    return passed, failed if ended_well else max(failed, 1), skipped


def add_up(counts_of_parts):
    """Of a program that is run in parts, each with other cases: a case that a part leaves out is skipped only where no part
    runs it, and one that two parts run is a mistake."""
    passed, failed, skipped = (sum(column) for column in zip(*counts_of_parts))
    if len(counts_of_parts) > 1:
        cases = max(sum(counts) for counts in counts_of_parts)
        skipped = cases - passed - failed
        if skipped < 0:
            return passed, failed + 1, 0
    return passed, failed, skipped


def count_meson(path):
    parts = {}
    for line in pathlib.Path(path).read_text().splitlines():
        run = json.loads(line)
        parts.setdefault(run["command"][0], []).append((run, count_program(run)))
    total = (0, 0, 0)
    for runs in parts.values():
        counts = add_up([counts for _, counts in runs])
        total = tuple(map(sum, zip(total, counts)))
        names = " and ".join(f"{run['name']} ({run['duration']:.0f} s)" for run, _ in runs)
        print(f"unit: {names}: {describe(*counts)}")
    return total


def count_junit(path):
    passed = failed = skipped = 0
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        # xdist writes the group behind the name.
        name = case.get("name").partition("@")[0]
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            print(f"e2e: {case.get('classname')}::{name} failed")
        elif (skip := case.find("skipped")) is not None:
            skipped += 1
            print(f"e2e: {case.get('classname')}::{name} skipped: {skip.get('message')}")
        else:
            passed += 1
    print(f"e2e: {describe(passed, failed, skipped)}")
    return passed, failed, skipped


def describe(passed, failed, skipped):
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


def main():
    kind, source = sys.argv[1:3]
    if kind == "total":
        files = sorted(pathlib.Path(source).iterdir())
        total = tuple(sum(column) for column in zip(*(map(int, file.read_text().split()) for file in files))) or (0, 1, 0)
        print(describe(*total))
        sys.exit(1 if total[1] else 0)
    try:
        counts = count_meson(source) if kind == "meson" else count_junit(source)
    except (OSError, ValueError, KeyError, xml.etree.ElementTree.ParseError) as error:
        print(f"error: no results in {source}: {error}; the step's log in build/logs tells why")
        counts = (0, 1, 0)
    pathlib.Path(sys.argv[3]).write_text(" ".join(map(str, counts)) + "\n")


main()
