"""All checks of the sources: format, clang-tidy, the project's own rules, scripts. One line per check, then a count.

clang-tidy looks at what changed (clang_tidy.py says what that is), or with --all at everything. Status 1 when a check failed.
"""
import argparse
import pathlib
import subprocess
import sys
import time

import check_project
import clang_tidy
import precompiled_includes
import unused_names
from project_files import ROOT, cpp_files, shell_files


def say(text):
    print(f"... {text}", flush=True)


def output_lines(command):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.replace(f"{ROOT}/", "").splitlines() if done.returncode else []


def clang_format():
    lines = output_lines(["clang-format-19", "--dry-run", "--Werror", *cpp_files()])
    places = (line.split(":")[:2] for line in lines if ": error:" in line)
    first_places = dict(reversed([(path, number) for path, number in places]))
    return [f"{path}:{number}: not formatted from here on; run ./dev fmt" for path, number in sorted(first_places.items())]


def shell_scripts():
    return output_lines(
        ["shellcheck", "--external-sources", "--source-path=SCRIPTDIR", "--format=gcc", *shell_files()])


def checks(options):
    return {
        **check_project.CHECKS,
        "precompiled includes": precompiled_includes.precompiled_includes,
        "unused names": unused_names.unused_names,
        "shell scripts": shell_scripts,
        "clang-format": clang_format,
        "clang-tidy": lambda: clang_tidy.problems(say, options.all),
    }


def main():
    parser = argparse.ArgumentParser(description="all checks of the sources")
    parser.add_argument("--all", action="store_true", help="clang-tidy for all files, not only for what changed")
    parser.add_argument("--counts", metavar="FILE", help='gets "PASSED FAILED SKIPPED"')
    options = parser.parse_args()
    failed, chosen = 0, checks(options)
    for name, check in chosen.items():
        start = time.monotonic()
        problems = list(check())
        failed += bool(problems)
        for problem in problems:
            print(f"  {problem}")
        verdict = f"FAILED, {len(problems)} problems" if problems else "ok"
        print(f"lint: {name}: {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    if options.counts:
        pathlib.Path(options.counts).write_text(f"{len(chosen) - failed} {failed} 0\n")
    sys.exit(1 if failed else 0)


main()
