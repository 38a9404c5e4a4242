"""Guests with a network, one after another and several at a time: each is the only one with its addresses as long as it
lives, and the host holds no more afterwards.

LAMBDO_NETWORK_RUNS sets how many; 5000 is the figure that the project promises.
"""
import concurrent.futures
import contextlib
import json
import os
import re
import subprocess
import threading
import time

import pytest

import configs
import network_ledger
from server import wait_until

RUNS = int(os.environ.get("LAMBDO_NETWORK_RUNS", 120))
PARALLEL = 8
# Room for twice the guests that are there at a time, so that addresses come round many times.
BRIDGE = {"bridge": "lambdo3", "bridge_address": "10.99.0.1/26"}
QUARANTINE_MS = 50
TABLE = "bridge lambdo_lambdo3"

# Who it is, and since when and until when (CLOCK_MONOTONIC is the host's) it was surely alive.
WHO = """
import fcntl, json, socket, struct, time
began = time.monotonic()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    asked = struct.pack("16s16x", b"eth0")
    mac = fcntl.ioctl(probe, 0x8927, asked)[18:24].hex(":")  # SIOCGIFHWADDR
    address = socket.inet_ntoa(fcntl.ioctl(probe, 0x8915, asked)[20:24])  # SIOCGIFADDR
print(json.dumps({"mac": mac, "address": address, "began": began, "ended": time.monotonic()}))
"""


class Identities:
    """What nft(8) says, in the kernel's order, of the guests that rules let in: a port, a MAC and an address each."""

    EVENT = re.compile(rf'^(add|delete) element {TABLE} identities \{{ "(\S+)" \. (\S+) \. (\S+) \}}')

    def __init__(self, alive):
        self.alive = set(alive)
        self.added = 0
        self.most = 0
        self.problems = []
        self.process = subprocess.Popen(["nft", "monitor", "elements"], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            if "error" in line.lower() or "overrun" in line.lower():
                self.problems.append(line)
            if match := self.EVENT.match(line):
                self.note(match[1], match.groups()[1:])

    def note(self, verb, guest):
        if verb == "delete":
            if guest not in self.alive:
                self.problems.append(f"{guest} was never seen to come")
            self.alive.discard(guest)
            return
        for other in self.alive:
            if any(ours == theirs for ours, theirs in zip(guest, other)):
                self.problems.append(f"{guest} came while {other} was there")
        self.alive.add(guest)
        self.added += 1
        self.most = max(self.most, len(self.alive))

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.thread.join()


def identities():
    """(port, MAC, address) of each guest that there is."""
    sets = [entry["set"] for entry in network_ledger.rules() if "set" in entry]
    found = next(entry for entry in sets if entry["name"] == "identities" and f"{entry['family']} {entry['table']}" == TABLE)
    return {tuple(element["concat"]) for element in found.get("elem", ())}


@contextlib.contextmanager
def watch():
    """From a moment at which pools are full and no guest comes or goes. What it misses shows at the end."""
    watching = Identities(identities())
    try:
        time.sleep(0.5)  # it listens by then
        yield watching
    finally:
        watching.stop()


def run_all(server, count):
    def ask(_):
        answer = server.run("python", WHO)
        assert answer["status"] == 0, answer
        return json.loads(answer["stdout"])
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(ask, range(count)))


def overlapping(guests, key):
    """Pairs of guests that said the same of themselves and were alive at the same time."""
    last, found = {}, []
    for guest in sorted(guests, key=lambda guest: guest["began"]):
        before = last.get(guest[key])
        if before and guest["began"] <= before["ended"]:
            found.append((before, guest))
        last[guest[key]] = guest
    return found


@pytest.fixture
def server(world, servers):
    language = configs.language("python", network="egress", warm=PARALLEL)
    return servers.start([language], api=BRIDGE, network={"quarantine_ms": QUARANTINE_MS},
                         runner={"max_running": PARALLEL})


@pytest.mark.load
def test_guests_have_addresses_of_their_own_and_leave_nothing(server, record_property):
    run_all(server, 2 * PARALLEL)
    with server.same_ledger(30):
        with watch() as watching:
            began = time.monotonic()
            guests = run_all(server, RUNS)
            seconds = time.monotonic() - began
            server.wait_settled()
            # Those that are there now are what the events say is there: none was missed.
            wait_until(lambda: watching.alive == identities(), 10, "events and rules differ")
    rate = RUNS / seconds
    addresses = {guest["address"] for guest in guests}
    record_property("network_runs_per_second", round(rate, 1))
    print(f"{RUNS} guests with a network, {rate:.0f} per second, {len(addresses)} addresses, at most {watching.most} alive")
    assert not watching.problems, watching.problems[:3]
    assert watching.added >= RUNS
    assert watching.most > PARALLEL
    # Otherwise nothing came round, and nothing was shown.
    assert len(addresses) < RUNS
    for key in ("mac", "address"):
        assert not (found := overlapping(guests, key)), f"{len(found)} at once with the same {key}, first {found[0]}"
    assert len({guest["mac"] for guest in guests}) == RUNS
