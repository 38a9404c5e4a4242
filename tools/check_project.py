"""Rules of the project that no compiler checks. Each yields problems as "file:line: what is wrong; what to do"."""
import re
import sys

from project_files import ROOT, all_files, cpp_files, python_files, shell_files

MAX_FILE_LINES = 500

# Who may include whom: a folder of src/, and the folders whose headers it may use besides its own.
# What those may include it may include too.
DIRECT_INCLUDES = {
    "base": [],
    "rpc": ["base"],
    "seccomp": ["base"],
    "reactor": ["base"],
    "http": ["reactor"],
    "virtio": ["base"],
    "virtio_net": ["reactor", "virtio"],
    "vsock": ["reactor", "virtio"],
    "net": ["reactor", "seccomp"],
    "kvm": ["reactor", "virtio", "seccomp"],
    "registry": ["http"],
    "image": ["registry"],
    "namespace": ["reactor", "seccomp"],
    "engine": ["rpc", "reactor", "virtio", "virtio_net", "vsock", "net", "kvm", "registry", "image", "namespace"],
    "api": ["engine", "http"],
    "config": ["engine"],
    "doctor": ["config"],
    "server": ["api", "config"],
    "cli": ["server", "doctor"],
    "agent": ["base", "rpc"],
}
# What the tests of a folder may use beside that: they speak with the agent as its host does.
TESTS_ALSO = {"agent": ["engine"]}
# Exceptions within an allowed folder: (who, header) -> why not.
FORBIDDEN_HEADERS = {
    ("engine", "http/server/server.h"): "the engine serves no HTTP; that belongs to src/api",
    ("engine", "http/server/router.h"): "the engine serves no HTTP; that belongs to src/api",
}
INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')
MARKS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")


def allowed_folders(folder, is_test=False):
    allowed = {folder}
    for direct in DIRECT_INCLUDES[folder] + (TESTS_ALSO.get(folder, []) if is_test else []):
        allowed |= allowed_folders(direct)
    return allowed


def folder_of(path):
    """The folder of src/ that a C++ file belongs to, or None: src/http/x.cc, agent/x.cc, tests/unit/http/x_test.cc."""
    parts = path.parts
    if parts[0] == "agent":
        return "agent"
    if parts[0] == "src":
        return parts[1]
    if parts[:2] == ("tests", "unit") and len(parts) > 3:
        return parts[2]
    return None


def lines_of(path):
    return (ROOT / path).read_text(errors="replace").splitlines()


def include_direction():
    for path in cpp_files():
        folder = folder_of(path)
        if folder is None:
            continue
        if folder not in DIRECT_INCLUDES:
            yield f"{path}:1: folder '{folder}' has no place in the layout; add it to DIRECT_INCLUDES in {__file__}"
            continue
        for number, line in enumerate(lines_of(path), 1):
            match = INCLUDE.match(line)
            if match:
                yield from (f"{path}:{number}: {problem}" for problem in include_problems(path, folder, match[1]))


def include_problems(path, folder, header):
    target = header.split("/")[0]
    if "/" not in header or target not in DIRECT_INCLUDES:
        if path.parts[0] == "src" and not header.endswith(".pb.h"):
            yield f"include \"{header}\" is not written from src/; write the folder too"
        return
    allowed = allowed_folders(folder, path.parts[0] == "tests")
    if target not in allowed:
        allowed = ", ".join(sorted(allowed - {folder})) or "nothing of ours"
        yield f"{folder} may not include \"{header}\"; it may include {allowed}"
    elif (folder, header) in FORBIDDEN_HEADERS:
        yield f"{folder} may not include \"{header}\": {FORBIDDEN_HEADERS[folder, header]}"


def file_length():
    for path in [*cpp_files(), *python_files(), *shell_files()]:
        count = len(lines_of(path))
        if count > MAX_FILE_LINES:
            yield f"{path}:{count}: {count} lines, at most {MAX_FILE_LINES}; split it by idea"


def pragma_once():
    for path in cpp_files():
        if path.suffix == ".h" and "#pragma once" not in lines_of(path):
            yield f"{path}:1: no #pragma once; add it as the first line"


def no_marks():
    for path in [*cpp_files(), *python_files(), *shell_files()]:
        for number, line in enumerate(lines_of(path), 1):
            if MARKS.search(line):
                yield f"{path}:{number}: unfinished work is marked here; finish it or delete it"


def white_space():
    endings = (".cc", ".h", ".py", ".sh", ".yaml", ".proto", ".md", ".build", ".txt")
    for path in all_files():
        if not (path.name.endswith(endings) or path in (*shell_files(),)):
            continue
        text = (ROOT / path).read_text(errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if "\t" in line:
                yield f"{path}:{number}: a tab; use spaces"
            elif line != line.rstrip() and path.suffix != ".md":
                yield f"{path}:{number}: white space at the end of the line; remove it"
        if text and not text.endswith("\n"):
            yield f"{path}:{len(text.splitlines())}: no newline at the end; add it"


def python_compiles():
    for path in python_files():
        try:
            compile((ROOT / path).read_bytes(), str(path), "exec")
        except SyntaxError as error:
            yield f"{path}:{error.lineno}: {error.msg}"


def decision_numbers():
    """One number each and no gaps, so that "decision 9" is one page."""
    folder = ROOT / "docs/decisions"
    for expected, path in enumerate(sorted(folder.glob("*.md")), 1):
        title = path.read_text().split("\n", 1)[0]
        if not path.name.startswith(f"{expected:04}-") or not title.startswith(f"# {expected}. "):
            yield f"{path.relative_to(ROOT)}:1: should be decision {expected}, in its name and its title; renumber it"


def documented_paths():
    """Files that the pages about the code name are there: `src/kvm/vm.cc`, `kvm/vm.cc`, or `kvm/vm` for both of its files."""
    top = {path.name for path in ROOT.iterdir() if path.is_dir()}
    folders = {path.name for path in (ROOT / "src").iterdir() if path.is_dir()}
    for page in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))):
        for number, line in enumerate(page.read_text().splitlines(), 1):
            for name in re.findall(r"`([a-z_0-9]+/[a-z_0-9/.]*)`", line):
                first = name.split("/")[0]
                base = ROOT if first in top and first not in folders else ROOT / "src"
                if first not in top | folders or first == "build":
                    continue
                if not any((base / f"{name.rstrip('/')}{ending}").exists() for ending in ("", ".h", ".cc")):
                    yield f"{page.relative_to(ROOT)}:{number}: there is no {name}; write where it is now"


CHECKS = {
    "documented paths": documented_paths,
    "include direction": include_direction,
    "file length": file_length,
    "pragma once": pragma_once,
    "no unfinished marks": no_marks,
    "white space": white_space,
    "decision numbers": decision_numbers,
    "python compiles": python_compiles,
}

if __name__ == "__main__":
    found = [problem for check in CHECKS.values() for problem in check()]
    print(*found, sep="\n")
    sys.exit(1 if found else 0)
