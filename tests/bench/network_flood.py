"""p99 of POST /run while another guest floods the network, or is flooded, against the same server in quiet.

Usage: network_flood.py [--rounds N] [--runs N] [--packets-per-s N]. A round is so many runs in quiet and as many beside each flood. A guest that
keeps a processor busy without a packet is there as context: it says what of a ratio is the network's. Everything is in
network namespaces of the benchmark's own, on one machine: it pays for both ends of a flood.
"""
import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import configs  # noqa: E402
import http_client  # noqa: E402
import network_ledger  # noqa: E402
from bench import describe_machine  # noqa: E402
from figures import Figure, print_table  # noqa: E402
from latency import Client, show_ms  # noqa: E402
from private_network import DENIED, WORLD, private_network  # noqa: E402
from server import Server, run_body  # noqa: E402

TAKING, ASKED = "9999", "9998"
TARGET = 2.0
FLOODS = {
    "allowed": ("from a guest to an allowed address", [WORLD, TAKING]),
    "denied": ("from a guest to a denied address", [DENIED, TAKING]),
    "received": ("from the world to a guest that asked for it", [WORLD, ASKED, "receive"]),
    "spin": ("none, a busy guest", ["spin"]),
}
POLICY = {"access": "egress", "allowed": ["5.5.5.0/24"], "denied": [f"{DENIED}/32"]}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=150, help="in quiet, and beside each flood, of a round")
    parser.add_argument("--packets-per-s", type=int, help="network.packets_per_s of the server, instead of its default; 0: no limit")
    parser.add_argument("--only", choices=FLOODS, nargs="+", default=list(FLOODS))
    return parser.parse_args()


def busiest_port():
    """Packets that the port with most of them has had, in either direction."""
    done = subprocess.run(["ip", "-json", "-stats", "link", "show"], check=True, capture_output=True, text=True)
    return max((link["stats64"]["rx"]["packets"] + link["stats64"]["tx"]["packets"] for link in json.loads(done.stdout)
                if network_ledger.is_port(link["ifname"])), default=0)


class Flood:
    """A run that floods until its client goes."""

    def __init__(self, server, arguments):
        source = pathlib.Path(__file__).with_name("flood.c").read_text(encoding="ascii")
        body = run_body("c", source, args=arguments, limits={"wall_ms": 60000 * configs.SLOW, "cpu_ms": 60000})
        self.server = server
        self.connection = http_client.Connection(server.address)
        self.connection.send(http_client.request("POST", "/run", body))
        self.wait_until_it_runs()
        self.packets, self.began = busiest_port(), time.monotonic()

    def wait_until_it_runs(self):
        self.server.wait_for_process(".program")
        time.sleep(0.5)

    def rate(self):
        """Packets a second since it began."""
        return (busiest_port() - self.packets) / (time.monotonic() - self.began)

    def stop(self):
        self.connection.socket.settimeout(0.01)
        with contextlib.suppress(TimeoutError):
            raise SystemExit(f"the flood ended by itself: {self.connection.response()}")
        self.connection.close()
        self.server.wait_settled()


def measure_runs(client, count):
    times = []
    for _ in range(count):
        client.wait_for_full_pools()
        times.append(client.measure_ns()[0])
    return times


def p99(times):
    return statistics.quantiles(times, n=100)[98]


def measure(server, rounds, runs, names):
    figures = {name: Figure(f"network_flood_{name}", f"Python hello p99 beside a flood / in quiet: {FLOODS[name][0]}", "x",
                            TARGET, True) for name in names}
    client, all_times, rates = Client(server, "python"), {}, {name: [] for name in names}
    measure_runs(client, runs // 4)  # warms caches
    for number in range(rounds):
        for name in names if number % 2 else names[::-1]:
            quiet = measure_runs(client, runs)
            flood = Flood(server, FLOODS[name][1])
            flooded = measure_runs(client, runs)
            rates[name].append(flood.rate())
            flood.stop()
            figures[name].add(p99(flooded) / p99(quiet))
            all_times.setdefault(name, ([], []))
            for kept, times in zip(all_times[name], (quiet, flooded)):
                kept += times
            print(f"... round {number + 1}: {name} {figures[name].values[-1]:.2f}, {rates[name][-1]:.0f} packets/s", flush=True)
    client.close()
    for name, (quiet, flooded) in all_times.items():
        figures[name].context = {"packets/s": round(statistics.median(rates[name])),
                                 **{f"{state} {label}": show_ms(times, quantile)
                                    for state, times in (("quiet", quiet), ("flooded", flooded))
                                    for label, quantile in (("p50", 0.5), ("p99", 0.99))}}
    return list(figures.values())


def main():
    arguments = parse_arguments()
    languages = [configs.language("python", network=POLICY, warm=2), configs.language("c", network=POLICY, warm=1)]
    sections = {"api": {"bridge_address": "10.97.0.1/20"}, "network": {}}
    if arguments.packets_per_s is not None:
        sections["network"]["packets_per_s"] = arguments.packets_per_s
    with private_network(with_ear=False) as world, tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = pathlib.Path(name)
        command = ["nsenter", "-t", str(world.pid), "-n", sys.executable, pathlib.Path(__file__).with_name("flood_world.py")]
        source = subprocess.Popen([*command, TAKING, ASKED], stdout=subprocess.PIPE, text=True)
        server = Server(folder, configs.config(folder, languages, **sections)).start()
        try:
            assert source.stdout.readline() == "ready\n"
            server.wait_warm()
            figures = measure(server, arguments.rounds, arguments.runs, arguments.only)
        finally:
            server.stop()
            source.kill()
            source.wait()
    results = configs.ROOT / "build/bench"
    results.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        figure.context["machine"] = describe_machine()
        figure.save(results)
    print_table(figures)


if __name__ == "__main__":
    main()
