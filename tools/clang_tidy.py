"""Runs clang-tidy over the project, remembering of each file that it was found clean for its exact inputs.

The inputs are the file, every header of ours it includes (as ninja recorded them), its compile command, .clang-tidy, the
version of clang-tidy and these scripts. So the second time is quick, and a changed header checks again what includes it.
Of the files that are not known to be clean only those are looked at that have changed since an earlier commit, or include
something that has (changed_files.py says which); all of them when asked, and when what decides for all has changed.

Files are checked several at a time (tidy_units.py), without precompiled headers.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess

import changed_files
import tidy_units
from project_files import ROOT

BUILD = ROOT / "build/release"
CLEAN = ROOT / "build/lint/clean"
UNITS = ROOT / "build/lint/units"
CLANG_TIDY = "clang-tidy-19"
CHECKED_FOLDERS = ("src", "agent", "tests")
OWN_SCRIPTS = ("clang_tidy.py", "tidy_units.py")
# Where one of these changes, all files are looked at: checks, flags, and the version of clang-tidy.
DECIDES_FOR_ALL = (".clang-tidy", "meson.build", "meson_options.txt", "meson/", "proto/", "tools/packages.txt", *(f"tools/{name}" for name in OWN_SCRIPTS))
# How many commits back a file counts as changed where there is no upstream branch to compare with.
COMMITS = 20
PROBLEM = re.compile(r"^(?P<path>[^:]+):(?P<place>\d+:\d+): (?P<text>(?:warning|error|fatal error): .*)$")


def flags(entry):
    """The compiler's flags of a compile command that clang-tidy needs: no output, no precompiled header and its folder, and no
    warnings, which the compiler gives for each file by itself (in a unit a file may shadow what is another's)."""
    kept, words = [], iter(shlex.split(entry["command"]))
    for word in words:
        if word in ("-include-pch", "-o", "-c", "-MF", "-MQ"):
            next(words)
        elif word in ("-isystem", "-Xclang"):
            kept += [word, next(words)]
        elif word.startswith("-") and not word.startswith("-W") and not word.endswith(".p") and word not in ("-MD", "-fcolor-diagnostics"):
            kept.append(word)
    return kept


def compile_commands():
    """{file: entry} of compile_commands.json for our own sources; the first where a file is compiled twice."""
    found = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        path = pathlib.Path(os.path.normpath(BUILD / entry["file"]))
        if path.is_relative_to(ROOT) and path.suffix == ".cc" and path.relative_to(ROOT).parts[0] in CHECKED_FOLDERS:
            found.setdefault(path, entry)
    return found


def recorded_headers():
    """{object: [files of ours it depends on]} from ninja's own log; an object without a valid record is absent."""
    listing = subprocess.run(["ninja", "-C", BUILD, "-t", "deps"], capture_output=True, text=True, check=False).stdout
    headers, current = {}, None
    for line in listing.splitlines():
        if not line.startswith(" "):
            name, _, state = line.partition(":")
            current = headers.setdefault(name, []) if "(VALID)" in state else None
        elif current is not None and line.strip():
            path = pathlib.Path(os.path.normpath(BUILD / line.strip()))
            if path.is_relative_to(ROOT):
                current.append(path)
    return headers


def key_of(entry, files, common):
    digest = hashlib.sha256(common)
    digest.update(" ".join(flags(entry)).encode())
    for path in sorted(files):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0")
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def parse(output):
    """(file, problem as a line) of each warning and error, without the note that every warning is an error."""
    for line in output.splitlines():
        if match := PROBLEM.match(line):
            path = pathlib.Path(os.path.normpath(BUILD / match["path"]))
            name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            yield path, f"{name}:{match['place']}: {match['text']}".replace(",-warnings-as-errors", "")


def run_clang_tidy(paths, compiler_flags):
    """[(file, problem)] of one unit."""
    text = tidy_units.source(paths)
    unit = UNITS / f"{paths[0].parent.name}_{hashlib.sha256(text.encode()).hexdigest()[:12]}.cc"
    unit.write_text(text)
    command = ["nice", CLANG_TIDY, "--quiet", r"--header-filter=/(src|agent|tests)/.*\.(h|cc)$", unit, "--", *compiler_flags]
    done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, check=False)
    unit.unlink()
    found = list(parse(done.stdout))
    if done.returncode != 0 and not found:
        name = paths[0].relative_to(ROOT)
        found = [(paths[0], f"{name}:1: clang-tidy ended with {done.returncode}: {done.stderr.strip()[-500:]}")]
    return found


def check(paths, compiler_flags):
    """The problems of files that are compiled alike. Those that do not compile together are checked apart."""
    found = run_clang_tidy(paths, compiler_flags)
    broken = {path for path, text in found if "clang-diagnostic-error" in text or ": clang-tidy ended with " in text}
    if not broken or len(paths) == 1:
        return {text for _, text in found}
    apart = [path for path in paths if path in broken]
    if not apart or len(apart) == len(paths):
        half = len(paths) // 2
        return check(paths[:half], compiler_flags) | check(paths[half:], compiler_flags)
    return check([path for path in paths if path not in broken], compiler_flags) | check(apart, compiler_flags)


def has_changed(files, changed):
    return any(path.relative_to(ROOT) in changed for path in files) if files else True


def chosen(pending, commits, say):
    """Those of the pending {file: its inputs} that have to be checked now, by what git says."""
    try:
        changed, since = changed_files.changed_files(commits)
    except changed_files.NoAnswer as problem:
        say(f"clang-tidy: all files, for what has changed is not known ({problem})")
        return set(pending)
    if deciding := sorted(str(path) for path in changed if str(path).startswith(DECIDES_FOR_ALL)):
        say(f"clang-tidy: all files, for {deciding[0]} has changed since {since}")
        return set(pending)
    folders = {(ROOT / path).parent for path in changed if path.name == "meson.build"}
    found = {path for path, files in pending.items() if has_changed(files, changed) or folders & set(path.parents)}
    if left := len(pending) - len(found):
        say(f"clang-tidy: {left} files are left out, unchanged since {since}; ./dev lint --all checks them too")
    return found


class CleanFiles:
    """What is known to be clean: an empty file in a folder for each, named after its inputs."""

    def __init__(self):
        version = subprocess.run([CLANG_TIDY, "--version"], capture_output=True, check=True).stdout
        scripts = [(pathlib.Path(__file__).parent / name).read_bytes() for name in OWN_SCRIPTS]
        self.common = b"".join([version, (ROOT / ".clang-tidy").read_bytes(), *scripts])
        self.keys = {}
        CLEAN.mkdir(parents=True, exist_ok=True)

    def add(self, path, entry, files):
        """Whether it is known; a file whose inputs are not recorded never is."""
        self.keys[path] = CLEAN / key_of(entry, files, self.common) if files else None
        return bool(files) and self.keys[path].exists()

    def remember(self, paths):
        for path in paths:
            if self.keys[path]:
                self.keys[path].touch()

    def forget_others(self):
        for old in set(CLEAN.iterdir()) - set(self.keys.values()):
            old.unlink()


def check_all(units, clean, say):
    total, count, found = sum(len(paths) for paths, _ in units), 0, set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(check, *unit): unit[0] for unit in units}
        for done in concurrent.futures.as_completed(running):
            paths, problems = running[done], done.result()
            if not problems:
                clean.remember(paths)
            found |= problems
            count += len(paths)
            say(f"clang-tidy: {count} of {total} files")
    return found


def problems(say, everything=False, commits=COMMITS):
    """All problems, each once (a header's show up in every file that includes it)."""
    headers, clean, entries, pending = recorded_headers(), CleanFiles(), compile_commands(), {}
    for path, entry in entries.items():
        files = headers.get(entry.get("output", ""))
        if not clean.add(path, entry, files):
            pending[path] = files
    chosen_files = set(pending) if everything else chosen(pending, commits, say)
    say(f"clang-tidy: {len(chosen_files)} files to check, {len(entries) - len(pending)} are known to be clean")
    UNITS.mkdir(parents=True, exist_ok=True)
    flags_of = {path: flags(entries[path]) for path in chosen_files}
    # The longest first, so that no processor waits for the other at the end.
    units = sorted(tidy_units.units(flags_of), key=len, reverse=True)
    found = check_all([(paths, flags_of[paths[0]]) for paths in units], clean, say)
    clean.forget_others()
    return sorted(found)
