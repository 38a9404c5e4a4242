"""The archive the nested host boots with: the kernel's newc format, and the modules it loads, in order."""
import lzma
import stat


def newc_entry(name, mode, content=b"", inode=0):
    """One member, Documentation/driver-api/early-userspace/buffer-format.rst."""
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    head = header + encoded
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


def build_archive(folders, files):
    """An archive of folder names and of files: name -> (mode, bytes). Parents must come first."""
    members = [newc_entry(name, stat.S_IFDIR | 0o755, inode=number) for number, name in enumerate(folders, 1)]
    members += [
        newc_entry(name, stat.S_IFREG | mode, content, inode=number)
        for number, (name, (mode, content)) in enumerate(files.items(), 1 + len(folders))
    ]
    return b"".join(members) + newc_entry("TRAILER!!!", 0)


def module_name(path):
    return path.rsplit("/", 1)[-1].split(".")[0].replace("-", "_")


def modules_in_order(modules_dep, wanted, modules_builtin=""):
    """Paths of the wanted modules and all they depend on, each after its dependencies.

    `modules_dep` and `modules_builtin` are the texts of those files of depmod(8): what is built into the kernel needs no
    loading. A module that is in neither is a KeyError.
    """
    builtin = {module_name(path) for path in modules_builtin.split()}
    dependencies = {}
    paths = {}
    for line in modules_dep.splitlines():
        path, _, rest = line.partition(":")
        paths[module_name(path)] = path
        dependencies[path] = rest.split()
    ordered = []

    def add(path):
        for dependency in dependencies[path]:
            if dependency not in ordered:
                add(dependency)
        if path not in ordered:
            ordered.append(path)

    for name in wanted:
        if name.replace("-", "_") not in builtin:
            add(paths[name.replace("-", "_")])
    return ordered


SIGNATURE_MARK = b"~Module signature appended~\n"


def read_module(path):
    """A module as the kernel loads it soonest: decompressed where the package has it compressed, and without its
    signature, because checking that takes an emulated CPU longer than all else (scripts/sign-file.c has the format)."""
    content = path.read_bytes()
    if path.suffix == ".xz":
        content = lzma.decompress(content)
    if content.endswith(SIGNATURE_MARK):
        end = len(content) - len(SIGNATURE_MARK)
        length = int.from_bytes(content[end - 4:end], "big")
        content = content[:end - 12 - length]
    return content
