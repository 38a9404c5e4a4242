"""Pull and unpack an image from a registry on loopback, against skopeo copy and umoci unpack, in turn.

Usage: images.py [--rounds N] [--megabytes N]. The image is made of this machine's own /usr: so many megabytes unpacked,
in six layers. LAMBDO_BIN names another binary than build/release has.
"""
import argparse
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

from figures import Figure, print_table

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("LAMBDO_BIN", ROOT / "build/release/src/cli/lambdo"))
LAYERS = 6
SOURCES = ["/usr/bin", "/usr/lib/python3", "/usr/lib/python3.11", "/usr/share", "/usr/lib/gcc", "/usr/sbin",
           "/usr/lib/x86_64-linux-gnu", "/usr/include", "/usr/lib"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=320, help="of the image, unpacked")
    return parser.parse_args()


def measure(*command):
    """Runs a program; gives its wall time in seconds and the most memory that it had: in all, and of its own, which is
    what no file backs. Memory is in MiB. wait4's ru_maxrss would count what this interpreter has before exec."""
    os.sync()
    began = time.monotonic()
    peak = own = 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            memory = memory_of(process.pid)
            peak = max(peak, memory.get("VmHWM", 0))
            own = max(own, memory.get("RssAnon", 0))
            time.sleep(0.005)
    if process.returncode:
        sys.exit(f"{command[0]} failed with {process.returncode}")
    return time.monotonic() - began, peak / 1024, own / 1024


def memory_of(pid):
    """The fields of /proc/PID/status that are numbers of KiB; none where it has ended."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}


def files_of_machine():
    seen = set()
    for source in SOURCES:
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if path not in seen:
                    seen.add(path)
                    yield path


def make_image(folder, total_bytes):
    """An OCI layout in `folder`, its layers made by umoci as it makes all of them."""
    image = f"{folder}/layout:bench"
    run("umoci", "init", "--layout", f"{folder}/layout")
    run("umoci", "new", "--image", image)
    paths = files_of_machine()
    unpacked = entries = 0
    for number in range(LAYERS):
        archive = folder / "layer.tar"
        with tarfile.open(archive, "w") as tar:
            while tar.offset < total_bytes // LAYERS:
                path = next(paths, None)
                if path is None:
                    sys.exit(f"/usr has only {unpacked >> 20} MB before layer {number + 1}; use fewer megabytes")
                tar.add(path, recursive=False)
                entries += 1
        unpacked += archive.stat().st_size
        run("umoci", "raw", "add-layer", "--image", image, str(archive))
        archive.unlink()
    return image, unpacked, entries


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def registry(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "registry.yml"
    config.write_text(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                      f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
                      f"http: {{addr: 127.0.0.1:{port}}}\n")
    with subprocess.Popen(["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.02)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


def pull_with_others(folder, reference):
    copied = measure("skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{reference}",
                     f"oci:{folder}/layout:x")
    unpacked = measure("umoci", "unpack", "--image", f"{folder}/layout:x", f"{folder}/bundle")
    return copied[0] + unpacked[0], max(copied[1], unpacked[1]), max(copied[2], unpacked[2])


def pull_with_ours(folder, reference):
    return measure(str(BINARY), "image", "pull", "--quiet", "--store", f"{folder}/store", "--plain-http",
                   reference.split("/")[0], reference)


def compare(rounds, folder, reference):
    wall = Figure("images_wall", "pull + unpack, wall time against skopeo + umoci", "x", 0.6, at_most=True)
    memory = Figure("images_memory", "pull + unpack, peak RSS against the larger of the two", "x", 0.5, at_most=True)
    own = Figure("images_own_memory", "pull + unpack, peak of memory that no file backs, against the larger of the two",
                 "x", 0.5, at_most=True)
    peak = Figure("images_peak", "pull + unpack, peak RSS", "MiB", 64, at_most=True)
    for number in range(rounds):
        result = {}
        for who in ("ours", "others") if number % 2 else ("others", "ours"):
            # None is removed before the end: ext4 looks at inodes freed within the last minutes one by one when it
            # needs a new one (recently_deleted), which would be measured more than anything else.
            place = folder / f"{who}-{number}"
            place.mkdir()
            result[who] = (pull_with_ours if who == "ours" else pull_with_others)(place, reference)
        ours, others = result["ours"], result["others"]
        wall.add(ours[0] / others[0])
        memory.add(ours[1] / others[1])
        own.add(ours[2] / others[2])
        peak.add(ours[1])
        wall.context = {"ours": f"{ours[0]:.2f} s", "others": f"{others[0]:.2f} s"}
        memory.context = {"ours": f"{ours[1]:.0f} MiB", "others": f"{others[1]:.0f} MiB"}
        own.context = {"ours": f"{ours[2]:.1f} MiB", "others": f"{others[2]:.1f} MiB"}
        print(f"    {wall.context} {memory.context} {own.context}", flush=True)
    return [wall, memory, own, peak]


def main():
    arguments = parse_arguments()
    if not BINARY.exists():
        sys.exit(f"{BINARY} is missing: ./dev build makes it")
    if os.geteuid() != 0:
        sys.exit("run it as root: owners of files are set on both sides")
    results = ROOT / "build/bench"
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = pathlib.Path(name)
        image, unpacked, entries = make_image(folder, arguments.megabytes << 20)
        with registry(folder) as host:
            reference = f"{host}/bench:1"
            run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{image}", f"docker://{reference}")
            figures = compare(arguments.rounds, folder, reference)
    figures[3].context = {"image": f"{unpacked >> 20} MiB unpacked, {entries} entries, {LAYERS} layers"}
    for figure in figures:
        figure.save(results)
    print_table(figures)


if __name__ == "__main__":
    main()
