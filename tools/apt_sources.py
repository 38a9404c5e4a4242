"""Writes this machine's package sources of one Debian suite into a folder, for mmdebstrap.

Usage: apt_sources.py SUITE FOLDER. Sources of other parties are left out: they may replace packages.
"""
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


def main():
    suite, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    found = {"debian.list": list(one_line_sources(suite)), "debian.sources": list(stanza_sources(suite))}
    for name, entries in found.items():
        if entries:
            (folder / name).write_text("\n".join(entries) + "\n")
    if not any(found.values()):
        sys.exit(f"error: no package source for Debian {suite} under /etc/apt; add one and try again")


main()
