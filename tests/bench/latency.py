"""Figures a and b: one client, keep-alive, a full warm pool; against fork+exec of the same program, in turn."""
import json
import pathlib
import statistics
import time

import configs
import http_client
from figures import Figure
from fork_exec import ForkExec
from programs import PROGRAMS, run_body


class Client:
    """One keep-alive connection, with as little work as possible between sending and having the whole answer."""

    def __init__(self, server, language, version=""):
        self.connection = http_client.Connection(server.address)
        self.health = http_client.Connection(server.address)
        self.request = http_client.request("POST", "/run", run_body(language, version))
        self.health_request = http_client.request("GET", "/health")

    def wait_for_full_pools(self):
        """What a run before has left to do (its guest's end, the next guest's start) must not fall into this one."""
        deadline = time.monotonic() + 10
        while True:
            self.health.send(self.health_request)
            pools = self.health.response().json()["pools"]
            if all(pool["ready"] >= pool["target"] and not pool.get("starting") for pool in pools):
                break
            if time.monotonic() > deadline:
                raise SystemExit(f"the warm pools do not fill: {pools}")
            time.sleep(0.002)
        time.sleep(0.005)

    def measure_ns(self):
        receive, data, length = self.connection.socket.recv, b"", None
        began = time.perf_counter_ns()
        self.connection.socket.sendall(self.request)
        while length is None or len(data) < length:
            part = receive(65536)
            if not part:
                raise SystemExit("the server closed the connection")
            data += part
            if length is None and (end := data.find(b"\r\n\r\n")) >= 0:
                length = end + 4 + content_length(data[:end])
        ended = time.perf_counter_ns()
        answer = json.loads(data[data.index(b"\r\n\r\n") + 4:])
        if (answer.get("status"), answer.get("stdout")) != (0, "hello\n"):
            raise SystemExit(f"a wrong answer: {answer}")
        return ended - began, answer["timings"]

    def close(self):
        self.connection.close()
        self.health.close()


def content_length(head):
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise SystemExit(f"an answer without a length: {head!r}")


def measure(server, language, figure, rounds, pairs):
    program, file_name, content = PROGRAMS[language]
    client = Client(server, language)
    baseline = ForkExec(configs.rootfs(language), program, file_name, content)
    host = ForkExec(None, program, file_name, content) if pathlib.Path(program).exists() else None
    runs, forks, hosts, timings = [], [], [], []
    for number in range(rounds + 1):
        round_runs, round_forks = [], []
        for _ in range(pairs):
            client.wait_for_full_pools()
            nanoseconds, timing = client.measure_ns()
            round_runs.append(nanoseconds)
            client.wait_for_full_pools()
            round_forks.append(baseline.measure_ns())
            if number > 0:
                timings.append(timing)
                hosts += [host.measure_ns()] if host else []
        if number == 0:
            continue  # warms caches
        run_ns, fork_ns = statistics.median(round_runs), statistics.median(round_forks)
        figure.add(run_ns / fork_ns if figure.unit == "x" else (run_ns - fork_ns) / 1e6)
        runs += round_runs
        forks += round_forks
    client.close()
    baseline.close()
    figure.context = {"POST /run p50": show_ms(runs, 0.5), "p99": show_ms(runs, 0.99),
                      "fork+exec in the image p50": show_ms(forks, 0.5), "p99 of it": show_ms(forks, 0.99)}
    if host:
        host.close()
        figure.context["fork+exec of the host's own p50"] = show_ms(hosts, 0.5)
    for phase in ("acquire_us", "execute_us", "total_us"):
        figure.context[f"server's {phase} p50"] = round(statistics.median(timing[phase] for timing in timings))
    return figure


def show_ms(nanoseconds, quantile):
    values = sorted(nanoseconds)
    return f"{values[min(len(values) - 1, int(len(values) * quantile))] / 1e6:.2f} ms"


def python_figure(server, rounds, pairs):
    return measure(server, "python", Figure("a_python_latency", "a. Python hello: POST /run / fork+exec", "x", 1.15, True),
                   rounds, pairs)


def bash_figure(server, rounds, pairs):
    return measure(server, "bash", Figure("b_bash_latency", "b. bash echo: POST /run - fork+exec", "ms", 2, True),
                   rounds, pairs)
