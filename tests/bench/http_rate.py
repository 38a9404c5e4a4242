"""Figure d: GET /health, keep-alive, wrk with 64 connections, against nginx with one worker, in turn."""
import contextlib
import pathlib
import re
import socket
import statistics
import subprocess
import tempfile
import time

import http_client
from figures import Figure

CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  server_tokens off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  tcp_nodelay on;
  server {{
    listen 127.0.0.1:{port};
    default_type {content_type};
    {headers}
    location = /health {{ return 200 "{body}"; }}
  }}
}}
"""
OWN_HEADERS = {"content-type", "content-length", "connection", "date", "server", "keep-alive"}


@contextlib.contextmanager
def nginx(like):
    """An nginx of our own that answers with as many body bytes and the same headers as the answer `like`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        headers = "\n".join(f'add_header {name} "{value}";' for name, value in like.headers if name not in OWN_HEADERS)
        config = pathlib.Path(folder, "nginx.conf")
        config.write_text(CONFIG.format(folder=folder, port=port, headers=headers, body="x" * len(like.body),
                                        content_type=like.header("content-type").split(";")[0]))
        process = subprocess.Popen(["/usr/sbin/nginx", "-c", str(config), "-e", f"{folder}/error.log"])
        try:
            yield wait_for(("127.0.0.1", port), process)
        finally:
            process.terminate()
            process.wait(10)


def wait_for(address, process):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            if http_client.exchange(address, "GET", "/health").status == 200:
                return address
        time.sleep(0.02)
    raise SystemExit("nginx does not answer")


def wrk_rate(address, seconds):
    url = f"http://{address[0]}:{address[1]}/health"
    done = subprocess.run(["wrk", "-t1", "-c64", f"-d{seconds}s", url], capture_output=True, text=True, check=True,
                          timeout=seconds + 30)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise SystemExit(f"wrk saw errors from {url}:\n{done.stdout}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])


def measure(server, rounds, seconds):
    figure = Figure("d_health_rate", "d. GET /health, wrk -t1 -c64: requests/s / nginx, 1 worker", "x", 0.8, False)
    ours, theirs = [], []
    server.wait_warm()
    with nginx(server.get("/health")) as address:
        wrk_rate(server.address, 1)
        wrk_rate(address, 1)
        for number in range(rounds):
            turns = [lambda: ours.append(wrk_rate(server.address, seconds)),
                     lambda: theirs.append(wrk_rate(address, seconds))]
            for turn in turns if number % 2 == 0 else reversed(turns):
                turn()
            figure.add(ours[-1] / theirs[-1])
    figure.context = {"Lambdo": f"{statistics.median(ours):.0f} requests/s",
                      "nginx": f"{statistics.median(theirs):.0f} requests/s"}
    return figure
