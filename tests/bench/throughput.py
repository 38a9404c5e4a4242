"""Figure c: runs per second with 16 clients, against bubblewrap started in two parallel shell loops, in turn."""
import os
import selectors
import statistics
import subprocess
import tempfile
import time

import configs
import http_client
from figures import Figure
from latency import content_length
from programs import PROGRAMS, run_body

CLIENTS = 16
LOOPS = 2
LOOP = 'n=0; while [ ! -e "$0" ]; do "$@" </dev/null >/dev/null || exit 1; n=$((n + 1)); done; echo $n'


def lambdo_rate(server, language, seconds):
    """One process with 16 connections: a request on each as soon as the answer before has come."""
    request = http_client.request("POST", "/run", run_body(language))
    selector = selectors.DefaultSelector()
    connections = [http_client.Connection(server.address) for _ in range(CLIENTS)]
    for connection in connections:
        connection.socket.setblocking(False)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    finished = 0
    began = time.perf_counter()
    for connection in connections:
        connection.socket.send(request)
    while (now := time.perf_counter()) - began < seconds:
        for key, _ in selector.select(1):
            connection = key.data
            connection.received += connection.socket.recv(65536)
            end = connection.received.find(b"\r\n\r\n")
            if end >= 0 and len(connection.received) >= end + 4 + content_length(connection.received[:end]):
                if b'"status":0,"stdout":"hello\\n"' not in connection.received:
                    raise SystemExit(f"a wrong answer: {connection.received!r}")
                connection.received = b""
                connection.socket.send(request)
                finished += 1
    for connection in connections:
        connection.close()
    return finished / (now - began)


def bwrap_command(language, file):
    """The namespaces, mounts and rights of Lambdo's own sandboxes, without agent, limits and filter."""
    program, file_name, _ = PROGRAMS[language]
    return ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net",
            "--unshare-cgroup-try", "--uid", "1000", "--gid", "1000", "--hostname", "lambdo", "--die-with-parent",
            "--new-session", "--cap-drop", "ALL", "--ro-bind", str(configs.rootfs(language)), "/", "--proc", "/proc",
            "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/workspace", "--ro-bind", file, f"/workspace/{file_name}",
            "--chdir", "/workspace", "--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--",
            program, file_name]


def bwrap_rate(language, file, seconds):
    stop = f"{file}.stop"
    command = bwrap_command(language, file)
    began = time.perf_counter()
    loops = [subprocess.Popen(["/bin/bash", "-c", LOOP, stop, *command], stdout=subprocess.PIPE, text=True)
             for _ in range(LOOPS)]
    time.sleep(seconds)
    with open(stop, "w", encoding="ascii"):
        pass
    counts = [loop.communicate()[0] for loop in loops]
    ended = time.perf_counter()
    os.unlink(stop)
    if any(loop.returncode != 0 for loop in loops):
        raise SystemExit(f"bubblewrap failed: {' '.join(command)}")
    return sum(map(int, counts)) / (ended - began)


def measure(server, language, figure, rounds, seconds):
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        file = f"{folder}/{PROGRAMS[language][1]}"
        with open(file, "w", encoding="ascii") as source:
            source.write(PROGRAMS[language][2])
        for number in range(rounds):
            # Whoever comes first in a round is the second in the next: drifts cancel out.
            turns = [lambda: ours.append(lambdo_rate(server, language, seconds)),
                     lambda: theirs.append(bwrap_rate(language, file, seconds))]
            for turn in turns if number % 2 == 0 else reversed(turns):
                server.wait_warm()
                time.sleep(0.2)
                turn()
            figure.add(ours[-1] / theirs[-1])
    figure.context = {"Lambdo": f"{statistics.median(ours):.0f} runs/s", "bwrap": f"{statistics.median(theirs):.0f} runs/s"}
    return figure


def python_figure(server, rounds, seconds):
    figure = Figure("c_python_throughput", "c. Python hello, 16 clients: runs/s / bwrap loops", "x", 1.0, False)
    return measure(server, "python", figure, rounds, seconds)


def bash_figure(server, rounds, seconds):
    figure = Figure("c_bash_throughput", "c. bash echo, 16 clients: runs/s / bwrap loops", "x", 1.0, False)
    return measure(server, "bash", figure, rounds, seconds)
