"""The figures that Lambdo promises, each measured against something else on this machine, in turn, in one run.

Usage: bench.py [--quick] [--only LETTERS] (such as --only ad). docs/benchmarks.md says how each is measured.
"""
import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import configs  # noqa: E402
import http_rate  # noqa: E402
import latency  # noqa: E402
import throughput  # noqa: E402
from figures import print_table  # noqa: E402
from server import Server  # noqa: E402

# What each figure takes: rounds, and pairs (a, b) or seconds (c, d) of each.
FULL = {"a": (30, 10), "b": (30, 10), "c": (6, 4), "d": (8, 3)}
QUICK = {"a": (6, 5), "b": (6, 5), "c": (3, 2), "d": (3, 1)}
MEASURES = {"a": [latency.python_figure], "b": [latency.bash_figure],
            "c": [throughput.python_figure, throughput.bash_figure], "d": [http_rate.measure]}
WARM = {"a": 2, "b": 2, "c": 8, "d": 1}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under a minute, with less certainty")
    parser.add_argument("--only", default="abcd", metavar="LETTERS", help="only these figures")
    return parser.parse_args()


def check_machine():
    missing = [tool for tool in ("bwrap", "wrk", "nginx", "unshare") if not shutil.which(tool)]
    missing += [str(path) for path in (configs.BINARY, configs.SERVER_BINARY, configs.AGENT) if not path.exists()]
    missing += [f"the image {name}" for name in configs.missing_images(["bash", "python"])]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)}; ./dev bench installs and builds all of it")
    if os.geteuid() != 0:
        raise SystemExit("run it as root: the comparison enters the image with chroot")


def describe_machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="ascii")
                  if line.startswith("model name")), "unknown processor")
    return f"{os.cpu_count()} x {model}, Linux {os.uname().release}, load {os.getloadavg()[0]:.1f}"


def main():
    arguments = parse_arguments()
    check_machine()
    results = configs.ROOT / "build/bench"
    results.mkdir(parents=True, exist_ok=True)
    sizes = QUICK if arguments.quick else FULL
    began = time.monotonic()
    figures = []
    print(f"{describe_machine()}; {os.path.relpath(configs.BINARY)}", flush=True)
    for letter in arguments.only:
        figures += measure(letter, *sizes[letter])
    for figure in figures:
        figure.context["machine"] = describe_machine()
        figure.save(results)
        del figure.context["machine"]
    print(f"\nmedian of the rounds, each measured in turn; {time.monotonic() - began:.0f} s, JSON in build/bench\n")
    print_table(figures)


def measure(letter, rounds, size):
    """Each figure has a server of its own, so that none inherits another's state."""
    figures = []
    for take in MEASURES[letter]:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = pathlib.Path(name)
            languages = [configs.language(language, warm=WARM[letter]) for language in ("bash", "python")]
            server = Server(folder, configs.config(folder, languages)).start()
            try:
                server.wait_warm()
                print(f"... {letter}: {rounds} rounds", flush=True)
                figures.append(take(server, rounds, size))
                print(f"    {'  '.join(figures[-1].row())}", flush=True)
            finally:
                server.stop()
    return figures


if __name__ == "__main__":
    main()
