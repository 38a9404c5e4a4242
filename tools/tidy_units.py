"""Translation units for clang-tidy that stand for several files each.

Most of clang-tidy's time goes to the headers of the system, which it reads and matches anew for each file. A unit includes
several files of one folder that are compiled alike, so that this is done once for all of them. Files that define the same
name in an unnamed namespace cannot share a unit: here such names are told apart as far as the text shows them, and
clang_tidy.py splits a unit that does not compile.
"""
import collections
import re

MOST_FILES = 24
TEST_HEADER = '#include "test.h"'
# The sources' format leaves what is in a namespace at the start of the line.
TYPE = re.compile(r"(?:struct|class|union|enum(?: class)?) (\w+)(?: final)?(?: :.*)? \{")
ALIAS = re.compile(r"(?:using (\w+) =|namespace (\w+) =)")
FUNCTION = re.compile(r"[\w:<>,&*\[\] ]+[ &*](\w+)\(")
VARIABLE = re.compile(r"[\w:<>,&*\[\] ]+[ &*](\w+)(?:\[.*?\])? ?[={;]")
MACRO = re.compile(r"^#\s*define (\w+)", re.MULTILINE)


def local_names(text):
    """What a file defines for itself alone: in unnamed namespaces, and as static."""
    names, depth = set(), 0
    for line in text.splitlines():
        if line == "namespace {":
            depth += 1
        elif line.startswith("}  // namespace") and line.strip() == "}  // namespace":
            depth = max(0, depth - 1)
        elif line[:1].isalpha() and (depth or line.startswith("static ")):
            if match := TYPE.match(line) or ALIAS.match(line) or FUNCTION.match(line) or VARIABLE.match(line):
                names.add(next(group for group in match.groups() if group))
    return names


def place(text):
    """Files that what others include would change come first: those that use our own CHECK, whose name test.h takes, and
    those that call quoted(), for std::quoted takes such calls once a library's header has brought it."""
    return TEST_HEADER in text, "quoted(" not in text


def group(paths):
    """Lists of files whose names do not clash, each file in the first list that takes it."""
    groups = []
    texts = {path: path.read_text() for path in paths}
    for path in sorted(paths, key=lambda path: (*place(texts[path]), path)):
        names = local_names(texts[path])
        for files, taken in groups:
            if len(files) < MOST_FILES and not names & taken:
                files.append(path)
                taken |= names
                break
        else:
            groups.append(([path], names))
    return [files for files, _ in groups]


def units(flags_of):
    """Lists of files that can share a unit: same folder, same flags. `flags_of` is {path: flags}."""
    alike = collections.defaultdict(list)
    for path, flags in flags_of.items():
        alike[path.parent, tuple(flags)].append(path)
    return [files for paths in alike.values() for files in group(paths)]


def source(paths):
    """The text of a unit: its files, and no macro of one left for the next."""
    lines = []
    if any(TEST_HEADER in path.read_text() for path in paths):
        # The CHECK of test.h has to stay, whatever comes after it.
        lines.append('#include "base/check.h"')
    for path in paths:
        lines.append(f'#include "{path}"  // NOLINT(bugprone-suspicious-include)')
        lines += [f"#undef {name}" for name in MACRO.findall(path.read_text())]
    return "\n".join(lines) + "\n"
