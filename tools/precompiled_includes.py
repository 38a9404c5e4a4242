"""Files that use a standard name whose header they, and the headers of ours that they include, do not include.

Precompiled headers (meson/pch) hide this from the compiler: such a file compiles here, and nowhere else. Only names that one
header alone defines are looked for.
"""
import functools
import re

from project_files import ROOT, cpp_files

NAMES = {
    "algorithm": ("sort", "find_if", "any_of", "all_of", "none_of", "min_element", "max_element", "ranges::sort", "ranges::find",
                  "ranges::any_of", "ranges::all_of", "clamp", "copy_n", "fill_n"),
    "array": ("array", "to_array"),
    "atomic": ("atomic", "atomic_flag", "memory_order_relaxed", "memory_order_acquire", "memory_order_release"),
    "chrono": ("chrono::steady_clock", "chrono::system_clock", "chrono::milliseconds", "chrono::microseconds", "chrono::seconds"),
    "coroutine": ("coroutine_handle", "suspend_always", "suspend_never", "noop_coroutine"),
    "cstring": ("memcpy", "memset", "memcmp", "strlen", "memmove"),
    "expected": ("expected", "unexpected"),
    "functional": ("function", "move_only_function", "reference_wrapper"),
    "map": ("map", "multimap"),
    "memory": ("unique_ptr", "shared_ptr", "make_unique", "make_shared", "weak_ptr"),
    "optional": ("optional", "nullopt"),
    "span": ("span", "as_bytes", "as_writable_bytes"),
    "variant": ("variant", "visit", "holds_alternative", "monostate"),
    "vector": ("vector",),
}
USED = {header: re.compile(rf"\bstd::(?:{'|'.join(map(re.escape, names))})\b") for header, names in NAMES.items()}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


@functools.cache
def provided(path):
    """The standard headers that come with a file: its own, and those of the headers of ours that it includes."""
    found = set()
    for kind, name in INCLUDE.findall(path.read_text()):
        if kind == "<":
            found.add(name)
            continue
        for folder in (path.parent, ROOT / "src", ROOT / "tests/unit", ROOT):
            if (folder / name).is_file():
                found |= provided((folder / name).resolve())
                break
    return found


def precompiled_includes():
    for path in cpp_files():
        headers = None
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            if "std::" not in line:
                continue
            code = line.split("//")[0]
            for header, names in USED.items():
                if names.search(code):
                    headers = provided(ROOT / path) if headers is None else headers
                    if header not in headers:
                        yield f"{path}:{number}: uses {names.search(code)[0]} without <{header}>; include it"
