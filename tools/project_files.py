"""The files of the project, for the checks and the formatter: what is generated or built is not among them."""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKIPPED_FOLDERS = {"build", "__pycache__", "node_modules"}


def all_files():
    """Every file under the root, relative to it, hidden folders left out except .ci."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(
            name for name in folders
            if name not in SKIPPED_FOLDERS and not name.startswith("build-") and (name[0] != "." or name == ".ci"))
        for name in sorted(names):
            yield (pathlib.Path(folder) / name).relative_to(ROOT)


def cpp_files():
    return [path for path in all_files() if path.suffix in (".cc", ".h") and path.parts[0] in ("src", "agent", "tests")]


def python_files():
    return [path for path in all_files() if path.suffix == ".py"]


def shell_files():
    """Scripts of ours, by their first line or ending; the example programs are not scripts of the project."""
    def is_shell(path):
        if path.parts[0] == "examples" or path.suffix not in ("", ".sh"):
            return False
        with open(ROOT / path, "rb") as file:
            first_line = file.readline(100)
        return path.suffix == ".sh" or (first_line.startswith(b"#!") and first_line.rstrip().endswith(b"sh"))
    return [path for path in all_files() if is_shell(path)]


if __name__ == "__main__":
    kinds = {"cpp": cpp_files, "python": python_files, "shell": shell_files}
    print(*kinds[sys.argv[1]](), sep="\n")
