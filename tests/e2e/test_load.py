"""Thousands of runs: all answered right, and the server holds no more than before.

LAMBDO_LOAD_RUNS sets how many; 10000 is the figure that the project promises.
"""
import concurrent.futures
import json
import os
import time

import pytest

import configs
import http_client
import ledger
from server import run_body

RUNS = int(os.environ.get("LAMBDO_LOAD_RUNS", 400 if configs.SLOW == 1 else 200))
PARALLEL = 8
MAX_SECONDS_PER_RUN = 0.1 * configs.SLOW
MAX_GROWTH_KB = 1024


def run_some(server, count):
    """One client on one connection; gives the answers that are not right."""
    body = http_client.request("POST", "/run", run_body("bash", "true"))
    wrong = []
    with server.connect() as connection:
        for _ in range(count):
            connection.send(body)
            response = connection.response()
            answer = json.loads(response.body) if response and response.status == 200 else None
            if answer is None or (answer["status"], answer["stdout"], answer["stderr"]) != (0, "", ""):
                wrong.append(response)
    return wrong


def run_all(server, count):
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        shares = [count // PARALLEL + (i < count % PARALLEL) for i in range(PARALLEL)]
        wrong = sum(pool.map(lambda share: run_some(server, share), shares), [])
    assert not wrong, f"{len(wrong)} wrong answers, first {wrong[0]}"
    return time.monotonic() - began


@pytest.mark.load
def test_thousands_of_runs_are_right_and_leave_nothing(servers, record_property):
    server = servers.start([configs.language("bash", warm=8)], runner={"max_running": PARALLEL})
    run_all(server, PARALLEL)
    with server.same_ledger(30):
        run_all(server, RUNS // 10)
        server.wait_warm()
        start_kb = ledger.rss_kb(server.pid)
        launcher = ledger.children(server.pid)[0]
        launcher_start_kb = ledger.rss_kb(launcher)
        seconds = run_all(server, RUNS - RUNS // 10)
        server.wait_warm()
        growth_kb = ledger.rss_kb(server.pid) - start_kb
        launcher_growth_kb = ledger.rss_kb(launcher) - launcher_start_kb
    rate = (RUNS - RUNS // 10) / seconds
    record_property("runs_per_second", round(rate, 1))
    record_property("rss_growth_kb", growth_kb)
    print(f"{RUNS} runs, {rate:.0f} per second, server RSS {start_kb} KiB {growth_kb:+d} KiB, "
          f"launcher {launcher_start_kb} KiB {launcher_growth_kb:+d} KiB")
    assert seconds < RUNS * MAX_SECONDS_PER_RUN
    if not configs.SANITIZED:
        assert growth_kb < MAX_GROWTH_KB, f"the server grew by {growth_kb} KiB"
        assert launcher_growth_kb < MAX_GROWTH_KB, f"the launcher grew by {launcher_growth_kb} KiB"
