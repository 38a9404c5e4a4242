"""Runs clang-tidy over the project, remembering for each file the result for its exact inputs.

The inputs are the file, every header of ours it includes (as ninja recorded them), its compile command, .clang-tidy
and the version of clang-tidy. So the second time is quick, and a changed header checks again what includes it.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess

from project_files import ROOT

BUILD = ROOT / "build/release"
CACHE = ROOT / "build/lint"
CLANG_TIDY = "clang-tidy-19"
CHECKED_FOLDERS = ("src", "agent", "tests")


def compile_commands():
    """Pairs (file, entry) of compile_commands.json for our own sources."""
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        path = pathlib.Path(os.path.normpath(BUILD / entry["file"]))
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in CHECKED_FOLDERS:
            yield path, entry


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
    digest.update(entry["command"].encode())
    for path in sorted(files):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0")
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def relative(line):
    """A line of clang-tidy with its path relative to the root, without the note that every warning is an error."""
    path, _, rest = line.partition(":")
    path = pathlib.Path(os.path.normpath(BUILD / path))
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}:{rest}".replace(",-warnings-as-errors", "")


def check(path):
    """The problems of one file as lines."""
    done = subprocess.run(["nice", CLANG_TIDY, "--quiet", "-p", BUILD, path], capture_output=True, text=True, check=False)
    problems = [relative(line) for line in done.stdout.splitlines() if re.search(r": (error|warning): ", line)]
    if done.returncode != 0 and not problems:
        problems = [f"{path.relative_to(ROOT)}:1: clang-tidy ended with {done.returncode}: {done.stderr.strip()[-500:]}"]
    return problems


def problems(say):
    """All problems, each once (a header's show up in every file that includes it)."""
    version = subprocess.run([CLANG_TIDY, "--version"], capture_output=True, check=True).stdout
    common = version + (ROOT / ".clang-tidy").read_bytes()
    headers = recorded_headers()
    CACHE.mkdir(parents=True, exist_ok=True)
    results, pending, used = {}, {}, set()
    for path, entry in compile_commands():
        files = headers.get(entry.get("output", ""))
        cached = CACHE / key_of(entry, files, common) if files else None
        used.add(cached)
        if cached and cached.exists():
            results[path] = json.loads(cached.read_text())
        else:
            pending[path] = cached
    if pending:
        say(f"clang-tidy: {len(pending)} files to check, {len(results)} unchanged")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(check, path): path for path in pending}
        for count, done in enumerate(concurrent.futures.as_completed(running), 1):
            path = running[done]
            results[path] = done.result()
            if pending[path]:
                pending[path].write_text(json.dumps(results[path]))
            if count % 10 == 0:
                say(f"clang-tidy: {count} of {len(pending)} files")
    for old in set(CACHE.iterdir()) - used:
        old.unlink()
    return sorted({problem for found in results.values() for problem in found})
