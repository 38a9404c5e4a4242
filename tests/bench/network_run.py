"""POST /run of a program whose guest has a network, against the same program in a guest without, on warm pools.

Usage: network_run.py [--rounds N] [--pairs N]. One server has the language twice, with `egress` and with `none`; the two
take turns, who is first too. The server's network is in a namespace of its own. docs/benchmarks.md says more.
"""
import argparse
import pathlib
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import configs  # noqa: E402
from bench import describe_machine  # noqa: E402
from figures import Figure, print_table  # noqa: E402
from latency import Client, show_ms  # noqa: E402
from private_network import private_network  # noqa: E402
from server import Server  # noqa: E402

KINDS = ("egress", "none")
WARM = 2
TARGET = 1.1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=10, help="runs of each kind in a round")
    return parser.parse_args()


def measure_round(clients, pairs):
    """Nanoseconds of each kind's runs, and what the server says of its part of them."""
    times, timings = {kind: [] for kind in KINDS}, {kind: [] for kind in KINDS}
    for pair in range(pairs):
        for kind in KINDS if pair % 2 else KINDS[::-1]:
            clients[kind].wait_for_full_pools()
            nanoseconds, timing = clients[kind].measure_ns()
            times[kind].append(nanoseconds)
            timings[kind].append(timing)
    return times, timings


def measure(server, name, rounds, pairs):
    figure = Figure(f"network_run_{name}", f"{name} hello: POST /run with egress / with none", "x", TARGET, True)
    clients = {kind: Client(server, name, kind) for kind in KINDS}
    all_times, all_timings = {kind: [] for kind in KINDS}, {kind: [] for kind in KINDS}
    measure_round(clients, pairs)  # warms caches
    for _ in range(rounds):
        times, timings = measure_round(clients, pairs)
        figure.add(statistics.median(times["egress"]) / statistics.median(times["none"]))
        for kind in KINDS:
            all_times[kind] += times[kind]
            all_timings[kind] += timings[kind]
    for kind in KINDS:
        clients[kind].close()
        figure.context[f"{kind} p50"] = show_ms(all_times[kind], 0.5)
        figure.context[f"{kind} p99"] = show_ms(all_times[kind], 0.99)
        for phase in ("acquire_us", "execute_us"):
            figure.context[f"{kind} {phase} p50"] = statistics.median(timing[phase] for timing in all_timings[kind])
    return figure


def main():
    arguments = parse_arguments()
    figures = []
    languages = [configs.language(name, version=kind, network=kind, warm=WARM) for name in ("python", "bash")
                 for kind in KINDS]
    with private_network(), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        sections = {"api": {"bridge_address": "10.97.0.1/20"}}
        server = Server(pathlib.Path(folder), configs.config(pathlib.Path(folder), languages, **sections)).start()
        try:
            server.wait_warm()
            for name in ("python", "bash"):
                figures.append(measure(server, name, arguments.rounds, arguments.pairs))
        finally:
            server.stop()
    results = configs.ROOT / "build/bench"
    results.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        figure.context["machine"] = describe_machine()
        figure.save(results)
    print_table(figures)


if __name__ == "__main__":
    main()
