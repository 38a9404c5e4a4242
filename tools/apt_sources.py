"""Writes this machine's package sources of one Debian suite into a folder, for mmdebstrap and apt.

Usage: apt_sources.py [--backports] SUITE FOLDER. Sources of other parties are left out: they may replace packages.
With --backports they are the suite's backports instead, on the same mirrors, whether the machine itself uses them or not.
"""
import argparse
import glob
import pathlib
import re
import sys


def is_wanted(suites, components, suite):
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    return bool(wanted & {name.rstrip("/") for name in suites}) and "main" in components


def one_line_sources(suite):
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*.list"))]:
        if not pathlib.Path(path).exists():
            continue
        for line in pathlib.Path(path).read_text().splitlines():
            kind, _, *rest = re.sub(r"\[[^]]*\]", "", line.split("#")[0]).split() or ["", ""]
            if kind == "deb" and rest and is_wanted(rest[:1], rest[1:], suite):
                yield line


def stanza_sources(suite):
    for path in sorted(glob.glob("/etc/apt/sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", pathlib.Path(path).read_text()):
            lines = [line for line in stanza.splitlines() if not line.startswith("#")]
            fields = {key.lower(): value.split() for key, _, value in (line.partition(":") for line in lines)}
            enabled = fields.get("enabled", ["yes"]) != ["no"] and "deb" in fields.get("types", [])
            if enabled and is_wanted(fields.get("suites", []), fields.get("components", []), suite):
                yield "\n".join(lines) + "\n"


def backports_line(line, suite):
    """A line of the suite itself as one of its backports; None for one of its updates."""
    found = re.match(rf"(.*\s){suite}/?\s", line.split("#")[0])
    return found and f"{found[1]}{suite}-backports main"


def backports_stanza(stanza, suite):
    """The same for a stanza, of whose suites only the backports are left."""
    fields = re.findall(r"^([\w-]+):(.*\n(?:[ \t].*\n)*)", stanza, re.MULTILINE)
    if suite not in [name.rstrip("/") for key, value in fields if key.lower() == "suites" for name in value.split()]:
        return None
    kept = "".join(f"{key}:{value}" for key, value in fields if key.lower() not in ("suites", "components"))
    return f"{kept}Suites: {suite}-backports\nComponents: main\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--backports", action="store_true")
    parser.add_argument("suite")
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    suite, folder = arguments.suite, arguments.folder
    lines, stanzas = list(one_line_sources(suite)), list(stanza_sources(suite))
    if arguments.backports:
        lines = list(filter(None, (backports_line(line, suite) for line in lines)))
        stanzas = list(filter(None, (backports_stanza(stanza, suite) for stanza in stanzas)))
    found = {"debian.list": lines, "debian.sources": stanzas}
    for name, entries in found.items():
        if entries:
            (folder / name).write_text("\n".join(entries) + "\n")
    if not any(found.values()):
        sys.exit(f"error: no package source for Debian {suite} under /etc/apt; add one and try again")


main()
