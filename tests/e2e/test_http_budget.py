"""What all connections hold together is bounded, and how slowly an answer may be taken."""
import time

import configs
from http_client import request
from server import run_body, wait_until

BUDGET_BYTES = 1_000_000
OUTPUT_BYTES = 600_000
OUTPUT = f"head -c {OUTPUT_BYTES} /dev/zero | tr '\\0' x"
LIMITS = {"output_bytes": OUTPUT_BYTES}


def start(servers, **http):
    return servers.start(["bash"], http={"max_body_bytes": BUDGET_BYTES, "max_buffered_bytes": BUDGET_BYTES, **http})


def buffered_bytes(server):
    lines = server.get("/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith("lambdo_http_buffered_bytes ")).split()[1])


def is_held(server):
    """An answer is held for longer than one moment: its client takes no more of it."""
    if buffered_bytes(server) < OUTPUT_BYTES:
        return False
    time.sleep(0.3 * configs.SLOW)
    return buffered_bytes(server) >= OUTPUT_BYTES


def assert_over_budget(response):
    assert (response.status, response.error()[0]) == (503, "overloaded"), response
    assert int(response.header("retry-after")) >= 1


def test_bodies_of_all_connections_are_bounded_together(servers):
    server = start(servers)
    big = run_body("bash", "true #" + "x" * 700_000)
    with server.connect() as slow, server.connect() as other:
        data = request("POST", "/run", big)
        slow.send(data[:-10])
        wait_until(lambda: buffered_bytes(server) > 690_000, 10, "the body is not held")
        other.send_as_far_as_taken(data)
        assert_over_budget(other.response())
        server.assert_works()  # small ones still fit
        slow.send(data[-10:])
        assert slow.response().json()["status"] == 0
    assert buffered_bytes(server) == 0
    assert server.post_run(big).json()["status"] == 0


def test_large_answers_that_nobody_reads_are_bounded_and_then_given_up(servers):
    server = start(servers, write_timeout_ms=1500 * configs.SLOW)
    body = run_body("bash", OUTPUT, limits=LIMITS)
    with server.connect() as reads_nothing:
        # Several on one connection: what the sockets themselves hold is not enough for all.
        for _ in range(20):
            reads_nothing.send(request("POST", "/run", body))
        wait_until(lambda: is_held(server), 20, "the answer is not held")
        assert_over_budget(server.post_run(body))
        assert server.run("bash", "echo small")["stdout"] == "small\n"
        wait_until(lambda: buffered_bytes(server) == 0, 20, "the answer is held for ever")
    assert server.post_run(body).json()["stdout"] == "x" * OUTPUT_BYTES


def receive(connected):
    try:
        return connected.recv(100_000)
    except ConnectionResetError:
        return b""


def test_answer_that_is_taken_too_slowly_is_given_up(servers):
    server = start(servers, max_buffered_bytes=1 << 30, write_timeout_ms=500 * configs.SLOW,
                   min_write_bytes_per_s=1 << 30)
    body = run_body("bash", f"head -c {16 << 20} /dev/zero | tr '\\0' x", limits={"output_bytes": 16 << 20})
    with server.connect() as slow:
        slow.send(request("POST", "/run", body))
        taken = 0
        while data := receive(slow.socket):
            taken += len(data)
            time.sleep(0.02 * configs.SLOW)
            assert taken < 32 << 20
    server.assert_works()
