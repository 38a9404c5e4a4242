"""microVMs with a network: the rules of tests/e2e/test_network.py for guests with a kernel of their own, agents that
come over TCP, and guests that lie about who they are.
"""
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import NESTED_BUILD, guests, held, language, tiny_language, vmm
from private_network import (DENIED, METADATA, METADATA_IPV6, PUBLIC_IPV6, WORLD, WORLD_IPV6, ip, only_the_host_connects,
                             open_port)
from server import wait_until
from test_network import (POLICY, PROBE, RESOLVER, connects_from_here, guest_addresses, seen, traces_of,
                          while_listening)
from test_network_ipv6 import IPV6_PROBE

ORIGINAL_AGENT = NESTED_BUILD.parent / "original_agent/original_agent"
# 300 for a long look.
GUESTS = int(os.environ.get("LAMBDO_NETWORK_GUESTS", "8"))
LIMITS = {"wall_ms": 120000, "cpu_ms": 120000}


def probe(server, *targets, program=PROBE, **fields):
    answer = server.run("python", program, args=list(targets), limits=LIMITS, **fields)
    assert answer["status"] == 0, answer
    return json.loads(answer["stdout"])


def test_a_page_is_fetched_with_egress_and_not_without(world, servers):
    serving = servers.start([language("python", network=POLICY), language("python", version="closed")],
                            network={"requests": "egress", "resolvers": [RESOLVER]})
    for fields in ({"network": "none"}, {"version": "closed"}):
        answer = probe(serving, **fields)
        assert (answer["page"], answer["interfaces"]) == (None, ["lo"]), fields
    targets = [f"{WORLD}-8001", f"{WORLD}-9000", f"{DENIED}-8000", f"{METADATA}-8000", f"{WORLD_IPV6}-8000",
               "192.168.10.1-8000", "5.5.5.1-8000", f"{WORLD}-53"]
    before = len(seen())
    with open_port(8000) as listener:
        answer = probe(serving, *targets)
        only_the_host_connects(listener, "192.168.10.1", "5.5.5.1")
    assert answer["connects"] == [f"{WORLD}-8001"]
    assert answer["page"] == "a page of the world\n", answer
    assert answer["interfaces"] == ["eth0", "lo"]
    assert f"nameserver {RESOLVER}\n" in answer["resolv.conf"]
    assert answer["raw"] is False
    arrived = {line for line in seen()[before:] if not line.startswith("ipv6 ff02:")}
    assert arrived == {f"{WORLD} 6 8000", f"{WORLD} 6 8001"}
    serving.stop()
    wait_until(lambda: traces_of("lambdo0") == ([], []), 10, "something is left of the bridge")


def test_a_page_is_fetched_over_ipv6(world, servers):
    serving = servers.start([language("python", network="egress")], network={"ipv6": "fd12:3456:789a:1::1/64"})
    before = len(seen())
    with open_port(8000) as listener:
        answer = probe(serving, f"{PUBLIC_IPV6}-8001", f"{METADATA_IPV6}-8000", "fd12:3456:789a:1::1-8000",
                       program=IPV6_PROBE)
        only_the_host_connects(listener, "fd12:3456:789a:1::1")
    assert answer["page"] == "a page of the world\n", answer
    assert answer["address"].startswith("fd12:3456:789a:1::c0a8:a"), answer
    assert answer["connects"] == [f"{PUBLIC_IPV6}-8001"]
    arrived = {line for line in seen()[before:] if line.startswith("ipv6 ") and len(line.split()) == 3}
    assert arrived == {f"ipv6 {PUBLIC_IPV6} 8000", f"ipv6 {PUBLIC_IPV6} 8001"}


# Tells who came, when one of them says that it is enough.
TELLS_ITS_VISITORS = """
import socket
server = socket.create_server(("", 8000))
server.settimeout({patience_s})
came = set()
said = b""
while said != b"enough":
    visitor, (address, _) = server.accept()
    came.add(address)
    said = visitor.recv(100)
print(*sorted(came))
"""


def says_enough():
    """Whether somebody listens, and was told."""
    for address in guest_addresses():
        try:
            with socket.create_connection((address, 8000), timeout=2) as visit:
                visit.sendall(b"enough")
                return True
        except OSError:
            pass
    return False


def test_guests_do_not_reach_each_other(world, servers):
    serving = servers.start([language("python", network=POLICY)])

    def visit():
        connects_from_here()
        answer = probe(serving, *(f"{a}-8000" for a in guest_addresses()))
        wait_until(says_enough, 30, "nobody listens any more")
        return answer

    came, own = while_listening(serving, 100, visit, program=TELLS_ITS_VISITORS, limits=LIMITS)
    assert (came, own["connects"]) == ("192.168.10.1", [])


def original_layout(folder, programs, init):
    """An archive as the original's image tool writes it: /init, /agent and /config.yaml in a root of a shell."""
    root = folder / "root"
    for name in ("bin", "proc", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    for name in ("sh", "cat", "echo", "mount", "ip"):
        (root / "bin" / name).symlink_to("busybox")
    for name, program in programs.items():
        shutil.copy(program, root / name)
    (root / "init").write_text(init)
    (root / "init").chmod(0o755)
    (root / "config.yaml").write_text("apiVersion: lambdo.io/v1alpha1\nkind: AgentConfig\n")
    archive = folder / "original.cpio"
    subprocess.run(f"find . -mindepth 1 -print0 | cpio --null --create --format=newc --quiet >{archive}", shell=True,
                   cwd=root, check=True)
    return archive


def own_init(archive, **changes):
    return {"name": "original", "initramfs": str(archive), "warm": 0,
            "steps": [{"command": "sh {{filename}} {{args}}"}], **changes}


def test_an_original_agent_registers_over_tcp_and_answers(world, servers, tiny_archive, tmp_path):
    archive = original_layout(tmp_path, {"agent": ORIGINAL_AGENT}, "#!/bin/sh\nmount -t proc proc /proc\nexec /agent\n")
    serving = servers.start([own_init(archive), tiny_language(tiny_archive)], agent={"transport": "tcp"})
    for number in range(3):
        answer = serving.run("original", f"echo $1 {number}; cat; ip -o -4 address show eth0; exit 3", args=["said"],
                             input="to it\n", limits=LIMITS)
        assert answer["status"] == 3, answer
        lines = answer["stdout"].splitlines()
        assert lines[:2] == [f"said {number}", "to it"], answer
        assert "192.168.10." in lines[2], answer
    wait_until(lambda: not guests(serving.pid), 20, "guests of finished runs are still there")


class Ear:
    """Counts frames that come to an interface, by what `describe` makes of them."""

    def __init__(self, interface, describe):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((interface, 0))
        self.heard = []
        self.describe = describe
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        try:
            while True:
                frame, (_, _, direction, *_) = self.socket.recvfrom(65536)
                if direction != 4 and (text := self.describe(frame)):
                    self.heard.append(text)
        except OSError:
            pass


def describe_lie(frame):
    """The mark that the liar puts into everything it sends: its last byte but for padding."""
    mark = frame.find(b"lie:")
    return frame[mark + 4:mark + 5].decode() if mark >= 0 else None


def test_lies_about_addresses_reach_nobody(world, servers, tmp_path):
    archive = original_layout(tmp_path, {"liar": NESTED_BUILD / "engine/liar"},
                              "#!/bin/sh\nmount -t proc proc /proc\nexec /liar\n")
    serving = servers.start([own_init(archive, network={"access": "full"})], agent={"transport": "tcp"})
    ear = Ear("lambdo0", describe_lie)
    response = serving.post_run({"language": "original", "code": [{"filename": "a", "content": ""}]}, 120)
    assert response.json()["error"]["code"] == "guest_ended", response
    console = serving.log()
    assert "liar: sent 6 kinds" in console, console[-4000:]
    # T is the truth, which shows that the ear hears; the rest are foreign MAC, IP, ARP, IPv6 and a VLAN tag.
    assert set(ear.heard) == {"T"}, ear.heard
    assert "192.168.10.200" not in ip("neighbour", "show"), "a guest taught the host an address"
    ear.socket.close()


def test_guests_with_networks_one_after_another_leave_nothing(world, servers, tiny_archive):
    serving = servers.start([tiny_language(tiny_archive, warm=2, network="egress")], runner={"max_running": 2})
    serving.wait_warm()

    def state():
        links = sorted(line.split()[1] for line in ip("-o", "link").splitlines())
        # Only what somebody put there: what the kernel learns by itself comes and goes.
        return (held(serving), len(links), neighbours(), ip("route"))

    def neighbours():
        return ip("neighbour", "show", "dev", "lambdo0", "nud", "permanent").count("\n")

    def settle():
        """Until only the two that wait are left: guests are taken off the network after their end."""
        serving.wait_warm()
        wait_until(lambda: (guests(serving.pid), neighbours()) == (2, 2), 20, "guests of finished runs are still there")

    for number in range(4):
        assert serving.run("bash", f"echo {number}")["stdout"] == f"{number}\n"
    settle()
    time.sleep(2)  # ports for the next ones are made in the background
    before = state()
    addresses = []
    for number in range(GUESTS):
        answer = serving.run("bash", "cat /sys/class/net/eth0/address; cat /proc/net/fib_trie")
        assert answer["status"] == 0, answer
        addresses.append(answer["stdout"].splitlines()[0])
    assert len(set(addresses)) == len(addresses), "an Ethernet address came twice"
    settle()
    wait_until(lambda: state() == before, 60, f"{state()} instead of {before}")
