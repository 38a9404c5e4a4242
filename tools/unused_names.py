"""Using declarations and namespace aliases of a .cc file that nothing in it uses.

clang-tidy has checks of this, but reports them for the main file of a unit only, and its units here include several files.
"""
import re

from project_files import ROOT, cpp_files

DECLARATION = re.compile(r"^\s*(?:using (?:typename )?[\w:]*::(\w+);|namespace (\w+) = [\w:]+;)")


def unused_names():
    for path in cpp_files():
        if path.suffix != ".cc":
            continue
        text = (ROOT / path).read_text()
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            if match := DECLARATION.match(line):
                name = match[1] or match[2]
                others = "\n".join(code.split(" //")[0] for index, code in enumerate(lines, 1) if index != number)
                if not re.search(rf"\b{name}\b", others):
                    yield f"{path}:{number}: {name} is declared and not used; remove the line"
