"""Logs: a reader of standard error that does not read holds nobody up."""
import fcntl
import os
import re
import subprocess

import configs
import http_client
from server import LISTENING, run_body, wait_until

RUNS = 60


def read_now(fd):
    """What is in the pipe; the reading end does not wait."""
    try:
        return os.read(fd, 1 << 16).decode(errors="replace")
    except BlockingIOError:
        return ""


def test_a_server_whose_log_nobody_reads_goes_on(servers):
    server = servers.prepare(["bash"])
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    server.process = subprocess.Popen(
        [configs.BINARY, "serve", "--config", configs.write(server.folder, server.config)],
        stdin=subprocess.DEVNULL, stderr=writer, env={**os.environ, "TMPDIR": str(server.temporary_dir)})
    os.close(writer)
    text = ""

    def listens():
        nonlocal text
        text += read_now(reader)
        return LISTENING.search(text)

    wait_until(listens, 30, "the server does not say that it listens")
    server.address = (listens()[1], int(listens()[2]))
    server.wait_for_language("bash", "ready")
    # A line of about 120 bytes each: the pipe is full long before the last of them.
    for _ in range(RUNS):
        response = http_client.exchange(server.address, "POST", "/run", run_body("bash", "true"),
                                        timeout_s=10 * configs.SLOW)
        assert response.json()["status"] == 0
    before = read_now(reader)
    assert 0 < before.count("run finished") < RUNS, before
    server.assert_works()
    after = read_now(reader)
    dropped = int(re.search(r"log lines were dropped, nobody read them lines=(\d+)", after)[1])
    assert dropped >= RUNS - before.count("run finished") - 1
    assert "run finished" in after
    server.stop()
    os.close(reader)
