"""The server's answers to /health while it fetches and unpacks an image, against the same server when it does nothing.

Usage: image_health.py [--rounds N] [--megabytes N]. Idle and busy take turns: each round a new server is asked for a
while, then told to pull by a language of its own. The registry is the distribution's, on loopback.
"""
import argparse
import http.client
import os
import pathlib
import statistics
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / folder) for folder in ("e2e", "e2e/registry")]

import configs  # noqa: E402
import registry_server  # noqa: E402
import small_images  # noqa: E402
from server import Server  # noqa: E402

INTERVAL_S = 0.002


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=240, help="of the image, unpacked")
    return parser.parse_args()


def other_machine(start):
    """A registry is not on the server's machine: it takes no time of the processor that the server keeps free."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        return start()
    finally:
        os.sched_setaffinity(0, cpus)


def make_image(folder, megabytes):
    """Six layers of files that compress about as programs do: half of each is zeros."""
    size, files = 64 << 10, megabytes * 16 // 6
    layers = [small_images.shell_layer()]
    for layer in range(6):
        layers.append([small_images.file(f"data/{layer}/{number}", os.urandom(size // 2) + bytes(size // 2))
                       for number in range(files)])
    return small_images.write_layout(folder, small_images.build(layers))


class Health:
    """Asks on one kept connection, again and again."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection(*server.address)
        self.times_ms = []

    def ask(self):
        began = time.perf_counter()
        self.connection.request("GET", "/health")
        body = self.connection.getresponse().read()
        self.times_ms.append((time.perf_counter() - began) * 1e3)
        time.sleep(INTERVAL_S)
        return body

    def p99(self):
        return statistics.quantiles(self.times_ms, n=100)[98]


def measure(folder, registry, reference):
    """p99 of a server that does nothing, and of one that pulls, and how long that took."""
    bash = configs.language("bash", warm=0)
    sections = {"registries": {"hosts": {registry.host: {"plain_http": True}}},
                "images": {"store": str(folder / "store")}}
    found = {}
    for state in ("idle", "busy"):
        config = configs.config(folder, [bash], **sections)
        if state == "busy":
            config["languages"].append({"name": "large", "image": reference, "warm": 0, "steps": [{"command": "true"}]})
        else:
            config["images"]["store"] = str(configs.STORE)
        server = Server(folder / state, config)
        server.folder.mkdir()
        os.sync()  # neither pays for what was written before
        server.start(wait_for_images=state == "idle")
        health, began = Health(server), time.monotonic()
        if state == "idle":
            while time.monotonic() < began + 5:
                health.ask()
        else:
            while b'"language":"large","version":"","state":"ready"' not in health.ask():
                assert time.monotonic() < began + 300, server.log()
        turns = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in
                 server.get("/metrics").body.decode().splitlines() if line.startswith("lambdo_reactor_turn_micro")}
        found[state + " turn"] = float(turns['lambdo_reactor_turn_microseconds{statistic="longest"}']) / 1e3
        found[state] = (health.p99(), time.monotonic() - began, len(health.times_ms))
        server.stop()
    return found


def main():
    arguments = parse_arguments()
    ratios = []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        registry = other_machine(lambda: registry_server.Registry(folder / "registry"))
        try:
            # What is measured is the server, not how long its client waits for a processor: this goes before all that
            # works on the image, as the server does.
            reference = registry.push(make_image(folder / "image", arguments.megabytes), "bench/large:1")
            os.nice(-19)
            for number in range(arguments.rounds + 1):
                round_folder = folder / f"round{number}"
                round_folder.mkdir()
                found = measure(round_folder, registry, reference)
                if number == 0:
                    continue  # caches warm up
                (idle, _, _), (busy, seconds, asked) = found["idle"], found["busy"]
                ratios.append(busy / idle)
                print(f"round {number}: /health p99 idle {idle:.2f} ms, while pulling {busy:.2f} ms ({asked} requests in "
                      f"{seconds:.1f} s), ratio {busy / idle:.2f}; longest turn {found['busy turn']:.1f} ms", flush=True)
        finally:
            registry.close()
    print(f"median of the ratios {statistics.median(ratios):.2f} (promised: at most 2.0)")


if __name__ == "__main__":
    main()
