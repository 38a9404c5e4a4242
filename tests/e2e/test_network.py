"""Guests with a network, on a machine of their own: the server's network namespace, and the world in another one."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import pytest

import configs
import ledger
import network_ledger
from private_network import DENIED, METADATA, WORLD, WORLD_IPV6, ip, only_the_host_connects, open_port
from server import run_body, wait_until
from test_metrics import read_metrics, value

RESOLVER = "5.5.5.53"

# What a program says about the network that it sees. Its arguments are addresses with ports to connect to.
PROBE = """
import json, socket, sys, urllib.request

def connects(target):
    host, port = target.rsplit("-", 1)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1)
        try:
            probe.connect((host, int(port)))
            return True
        except OSError:
            return False

def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.read().decode()
    except OSError:
        return None

def raw():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        return True
    except OSError:
        return False

def address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("5.5.5.2", 9))
            return probe.getsockname()[0]
        except OSError:
            return None

targets = sys.argv[1:]
print(json.dumps({
    "page": fetch("http://5.5.5.2:8000/"),
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
    "connects": [target for target in targets if connects(target)],
    "raw": raw(),
    "address": address(),
    "resolv.conf": open("/etc/resolv.conf").read() if "eth0" in dict(map(reversed, socket.if_nameindex())) else None,
    "self": socket.gethostbyname(socket.gethostname()) if "eth0" in dict(map(reversed, socket.if_nameindex())) else None,
}))
"""

POLICY = {"access": "egress", "allowed": [{"to": "0.0.0.0/0", "protocol": "tcp", "ports": "8000-8001"}, "6.6.6.0/24",
                                          "169.254.0.0/16"], "denied": ["6.6.6.0/24"]}


@pytest.fixture(scope="module")
def server(world, shared_servers):
    languages = [configs.language("python", network=POLICY),
                 configs.language("python", version="closed"),
                 configs.language("bash")]
    return shared_servers.start(languages, network={"requests": "egress", "resolvers": [RESOLVER]})


def probe(server, *targets, **fields):
    answer = server.run("python", PROBE, args=list(targets), **fields)
    assert answer["status"] == 0, answer
    return json.loads(answer["stdout"])


def seen():
    with urllib.request.urlopen(f"http://{WORLD}:8000/seen", timeout=5) as answer:
        return answer.read().decode().splitlines()


@pytest.mark.quick
def test_a_page_is_fetched_with_egress_and_not_without(server):
    answer = probe(server)
    assert answer["page"] == "a page of the world\n"
    assert answer["interfaces"] == ["eth0", "lo"]
    assert answer["resolv.conf"] == f"nameserver {RESOLVER}\n"
    assert answer["self"] == "127.0.0.1"
    assert answer["raw"] is False
    # Less than the language has, and a language that has none: no interface at all.
    for fields in ({"network": "none"}, {"network": {"access": "none"}}, {"version": "closed"}):
        answer = probe(server, **fields)
        assert (answer["page"], answer["interfaces"]) == (None, ["lo"]), fields
    server.assert_works()


def test_a_request_gets_what_the_server_lets_it_ask_for(server):
    # Only what is asked for, in a language that has none.
    asked = {"access": "egress", "allowed": [{"to": "5.5.5.0/24", "protocol": "tcp", "ports": 8001}]}
    answer = probe(server, f"{WORLD}-8000", f"{WORLD}-8001", version="closed", network=asked)
    assert answer["interfaces"] == ["eth0", "lo"]
    assert answer["connects"] == [f"{WORLD}-8001"]
    # Its language's own, with less of it.
    answer = probe(server, f"{WORLD}-8001", network={"access": "egress", "denied": ["5.5.5.2"]})
    assert (answer["page"], answer["connects"]) == (None, [])
    # What its language denies stays denied, and what is somebody's own is out of reach.
    asked = {"access": "egress", "allowed": ["0.0.0.0/0"]}
    answer = probe(server, f"{DENIED}-8000", f"{WORLD}-9000", network=asked)
    assert answer["connects"] == [f"{WORLD}-9000"]
    for network, status, words in (("full", 403, "network: full is more"), ("open", 400, "network: "),
                                   ({"access": "egress", "allowed": ["fe80::1%eth0"]}, 400, "network.allowed[0]: "),
                                   ({"allowed": []}, 400, "network.access: "),
                                   ({"access": "none", "denied": ["1.2.3.4"]}, 400, "network: denied")):
        response = server.post_run(run_body("python", "", network=network))
        assert response.status == status, response
        assert words in response.json()["error"]["message"], response
    server.assert_works()


@pytest.mark.quick
def test_what_is_denied_never_leaves_the_host(server):
    targets = [f"{WORLD}-8001", f"{WORLD}-9000", f"{DENIED}-8000", f"{METADATA}-8000", f"{WORLD_IPV6}-8000",
               "168.63.129.16-8000", "100.100.100.200-8000",
               "192.168.10.1-8000", "5.5.5.1-8000", f"{WORLD}-53"]
    before = len(seen())
    with open_port(8000) as listener:
        answer = probe(server, *targets)
        only_the_host_connects(listener, "192.168.10.1", "5.5.5.1")
    assert answer["connects"] == [f"{WORLD}-8001"]
    arrived = {line for line in seen()[before:] if not line.startswith("ipv6 ff02:")}
    assert arrived == {f"{WORLD} 6 8000", f"{WORLD} 6 8001"}

    def counted(name, **labels):
        return value(read_metrics(server), f"lambdo_guest_network_{name}_total", language="python",
                     version="3.11", **labels)
    wait_until(lambda: counted("dropped_packets", reason="refused") >= 5, 10, "refused packets are not counted")
    assert counted("bytes", direction="sent") > 0 and counted("packets", direction="received") > 0


LISTENING = """
import socket
server = socket.create_server(("", 8000))
server.settimeout({patience_s})
try:
    print(server.accept()[1][0])
except OSError:
    print("nobody came")
"""


def guest_addresses():
    """Those of all guests that are attached now."""
    return [line.split()[0] for line in ip("-4", "neighbour", "show", "dev", "lambdo0", "nud", "permanent").splitlines()]


def while_listening(server, patience_s, act, program=LISTENING, **fields):
    """What a guest tells that listens on a port which its policy lets others connect to, and what `act` gives."""
    answers = []
    listener = threading.Thread(target=lambda: answers.append(
        server.run("python", program.format(patience_s=patience_s), **fields)))
    listener.start()
    wait_until(lambda: server.get("/health").json()["running"] == 1, 120, "the listening program does not run")
    given = act()
    listener.join()
    return answers[0]["stdout"].strip(), given


def connects_from_here(addresses=guest_addresses):
    """Once to the guest that listens, whichever it is."""
    def try_all():
        for address in addresses():
            try:
                socket.create_connection((address, 8000), timeout=0.2).close()
                return True
            except OSError:
                pass
        return False
    wait_until(try_all, 30, "nobody listens")


def test_guests_do_not_reach_each_other(server):
    # The server's own user can, so somebody does listen there.
    assert while_listening(server, 30, connects_from_here)[0] == "192.168.10.1"
    came, own = while_listening(server, 6, lambda: probe(server, *(f"{a}-8000" for a in guest_addresses())))
    assert (came, own["connects"]) == ("nobody came", [])
    assert own["address"].startswith("192.168.10.")


# Says how many came and said nothing, once somebody says a word.
LISTENING_UNTIL_TOLD = """
import socket
server = socket.create_server(("", 8000))
server.settimeout({patience_s})
silent = 0
while not server.accept()[0].recv(1):
    silent += 1
print(silent)
"""

CONNECT_AS_NOBODY = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
for address in sys.argv[1:]:
    try:
        socket.create_connection((address, 8000), timeout=0.5).close()
        print(address)
    except OSError:
        pass
"""


def test_only_the_servers_user_connects_to_guests(server):
    def try_both():
        # The guest listens from here on, and goes on doing so.
        connects_from_here()
        reached = [subprocess.run([sys.executable, "-c", CONNECT_AS_NOBODY, *guest_addresses()], check=True,
                                  capture_output=True, text=True).stdout for _ in range(3)]
        for address in guest_addresses():
            try:
                with socket.create_connection((address, 8000), timeout=0.2) as told:
                    told.sendall(b".")
            except OSError:
                pass
        return reached
    came, reached = while_listening(server, 30, try_both, LISTENING_UNTIL_TOLD)
    assert (came, reached) == ("1", ["", "", ""])


def traces_of(bridge):
    """The bridge, ports, tables and processes of a server with this bridge."""
    ports = network_ledger.port_prefix(bridge)
    links = [line.split()[1] for line in ip("-o", "link").splitlines()]
    tables = subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True).stdout
    return [link for link in links if link.startswith((bridge, ports))], [line for line in tables.splitlines()
                                                                          if line.endswith(f"lambdo_{bridge}")]


def test_nothing_is_left_after_a_stop_and_after_a_kill(world, servers):
    if not shutil.which("nft"):
        pytest.skip("needs nft to see the rules")
    own = servers.prepare([configs.language("python", network="egress")],
                          api={"bridge": "lambdo1", "bridge_address": "192.168.11.1/24"})
    own.start()
    links, tables = traces_of("lambdo1")
    assert len(links) >= 2
    assert len(tables) == 3
    assert probe(own)["page"] == "a page of the world\n"
    own.kill()
    own.start()
    assert probe(own)["page"] == "a page of the world\n"
    own.stop()
    wait_until(lambda: traces_of("lambdo1") == ([], []), 5, "something is left of the bridge")
    own.start()
    own.kill()
    wait_until(lambda: traces_of("lambdo1") == ([], []), 5, "something is left of the bridge of a killed server")


def test_a_server_ends_when_its_network_helper_dies(world, servers):
    own = servers.prepare([configs.language("bash", network="egress")],
                          api={"bridge": "lambdo3", "bridge_address": "192.168.13.1/24"})
    own.start()
    (helper,) = [pid for pid in ledger.children(own.pid)
                 if "network" in pathlib.Path(f"/proc/{pid}/comm").read_text()]
    os.kill(helper, signal.SIGKILL)
    assert own.wait() != 0
    assert "the network helper is gone" in own.log()
    own.start()
    assert own.run("bash", "echo again")["stdout"] == "again\n"


def test_a_host_that_does_not_forward_says_so(world, servers):
    setting = pathlib.Path("/proc/sys/net/ipv4/ip_forward")
    setting.write_text("0")
    try:
        own = servers.prepare([configs.language("python", network="egress")], api={"bridge": "lambdo2",
                              "bridge_address": "192.168.12.1/24"})
        own.spawn()
        assert own.wait() != 0
        assert "sysctl -w net.ipv4.ip_forward=1" in own.log()
        doctor = subprocess.run([configs.BINARY, "doctor"], capture_output=True, text=True)
        assert "net.ipv4.ip_forward is 0" in doctor.stdout
        assert doctor.returncode == 0, doctor
        doctor = subprocess.run([configs.BINARY, "doctor", "--config", own.folder / "lambdo.yaml"], capture_output=True, text=True)
        assert "A server does not start with this configuration" in doctor.stdout
        assert doctor.returncode == 1, doctor
    finally:
        setting.write_text("1")
