"""Prints line coverage per folder of src/ from the profiles of a coverage build: coverage.py BUILD."""
import collections
import json
import pathlib
import subprocess
import sys

from project_files import ROOT


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def instrumented_programs(build):
    tests = json.loads(run("meson", "introspect", "--tests", build))
    programs = [pathlib.Path(test["cmd"][0]) for test in tests] + [build / "src/cli/lambdo", build / "src/cli/lambdo-server"]
    return sorted({program for program in programs if program.exists()})


def covered_lines(build):
    """{folder: [covered, all]} of the files under src/."""
    profiles = list((build / "profiles").glob("*.profraw"))
    if not profiles:
        sys.exit(f"error: no profiles in {build}/profiles; did any test run?")
    merged = build / "all.profdata"
    run("llvm-profdata-19", "merge", "--sparse", "--failure-mode=all", "-o", merged, *profiles)
    first, *others = instrumented_programs(build)
    objects = [argument for program in others for argument in ("--object", program)]
    report = json.loads(run("llvm-cov-19", "export", "--summary-only", f"--instr-profile={merged}", first, *objects))
    folders = collections.defaultdict(lambda: [0, 0])
    for file in report["data"][0]["files"]:
        path = pathlib.Path(file["filename"])
        if path.is_relative_to(ROOT / "src"):
            lines = file["summary"]["lines"]
            folder = folders[str(path.relative_to(ROOT).parent)]
            folder[0] += lines["covered"]
            folder[1] += lines["count"]
    return folders


def main():
    folders = covered_lines(pathlib.Path(sys.argv[1]).resolve())
    total = [sum(column) for column in zip(*folders.values())] or [0, 0]
    for name, (covered, count) in [*sorted(folders.items()), ("total", total)]:
        print(f"{name:20} {covered:6} of {count:6} lines  {100 * covered / max(count, 1):5.1f} %")
    print("src/namespace without what runs in the launcher and its children: they end without writing a profile")


main()
