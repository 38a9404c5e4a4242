"""Guests with IPv6, in the same world as those of test_network.py: the same rules, in the other family."""
import json
import subprocess

import pytest

import configs
import network_ledger
from private_network import (DENIED_IPV6, METADATA_IPV6, PUBLIC_IPV6, WORLD, WORLD_IPV6, ip, only_the_host_connects,
                             open_port)
from server import wait_until
from test_metrics import read_metrics, value
from test_network import LISTENING, PROBE, connects_from_here, seen, while_listening

BRIDGE = "lambdo6"
BRIDGE_IPV6 = "fd12:3456:789a:1::1"
NETWORK = "fd12:3456:789a:1::"
RESOLVER = "2001:db8::53"

IPV6_PROBE = PROBE.replace("settimeout(1)", "settimeout(0.3)").replace("http://5.5.5.2:8000/", f"http://[{PUBLIC_IPV6}]:8000/").replace(
    "socket.AF_INET, socket.SOCK_DGRAM", "socket.AF_INET6, socket.SOCK_DGRAM").replace('("5.5.5.2", 9)',
                                                                                      f'("{PUBLIC_IPV6}", 9)')
POLICY = {"access": "egress", "allowed": [{"to": "2000::/3", "protocol": "tcp", "ports": "8000-8001"}, "fd00::/8",
                                          "64:ff9b::/96", "fe80::/10"], "denied": ["2a00:2::/32", "10.0.0.0/8"]}


@pytest.fixture(scope="module")
def server(world, shared_servers):
    languages = [configs.language("python", network=POLICY),
                 configs.language("python", version="public", network="egress"),
                 configs.language("python", version="ipv4", network={"access": "egress", "allowed": ["0.0.0.0/0"]}),
                 configs.language("python", version="full", network="full"),
                 configs.language("python", version="closed"),
                 configs.language("bash")]
    return shared_servers.start(languages, api={"bridge": BRIDGE, "bridge_address": "192.168.16.1/24"},
                                network={"requests": "egress", "resolvers": [RESOLVER], "ipv6": f"{BRIDGE_IPV6}/64",
                                         "denied": ["2a00:3::/32"]})


def probe(server, *targets, **fields):
    answer = server.run("python", IPV6_PROBE, args=list(targets), **fields)
    assert answer["status"] == 0, answer
    return json.loads(answer["stdout"])


def arrivals(before):
    """What the world has got of IPv6, but for what a host and its neighbours say to each other."""
    return {line for line in seen()[before:] if line.startswith("ipv6 ") and len(line.split()) == 3}


def test_a_page_is_fetched_with_egress_and_not_without(server):
    answer = probe(server)
    assert answer["page"] == "a page of the world\n"
    assert answer["address"].startswith(NETWORK + "c0a8:10")
    assert answer["resolv.conf"] == f"nameserver {RESOLVER}\n"
    # Everything public, and everything at all, but for a network of IPv4 alone.
    assert probe(server, version="public")["page"] == "a page of the world\n"
    assert probe(server, version="full")["page"] == "a page of the world\n"
    ipv4_only = probe(server, f"{WORLD}-8000", version="ipv4")
    assert (ipv4_only["page"], ipv4_only["connects"]) == (None, [f"{WORLD}-8000"])
    for fields in ({"network": "none"}, {"version": "closed"}):
        answer = probe(server, **fields)
        assert (answer["page"], answer["interfaces"]) == (None, ["lo"]), fields
    # Less of it, in the words of the other family.
    assert probe(server, network={"access": "egress", "denied": ["2a00:1::/32"]})["page"] is None
    asked = {"access": "egress", "allowed": [{"to": f"{PUBLIC_IPV6}", "protocol": "tcp", "ports": 8001}]}
    answer = probe(server, f"{PUBLIC_IPV6}-8000", f"{PUBLIC_IPV6}-8001", version="closed", network=asked)
    assert answer["connects"] == [f"{PUBLIC_IPV6}-8001"]
    server.assert_works()


def test_what_is_denied_never_leaves_the_host(server):
    targets = [f"{PUBLIC_IPV6}-8001", f"{PUBLIC_IPV6}-9000", f"{DENIED_IPV6}-8000", f"{METADATA_IPV6}-8000",
               "fd20:ce::254-8000", "fd00:c1::a9fe:a9fe-8000", "fd00:ec2::253-8000", "2a00:3::2-8000", "64:ff9b::505:502-8000", "2002:505:502::1-8000", "2001::1-8000",
               f"{BRIDGE_IPV6}-8000", "2001:db8::1-8000", f"{NETWORK}c0a8:10fe-8000",
               f"{PUBLIC_IPV6}-53", f"{PUBLIC_IPV6}-853"]
    before = len(seen())
    with open_port(8000) as listener:
        assert probe(server, *targets)["connects"] == [f"{PUBLIC_IPV6}-8001"]
        only_the_host_connects(listener, BRIDGE_IPV6, "2001:db8::1")
    assert arrivals(before) == {f"ipv6 {PUBLIC_IPV6} 8000", f"ipv6 {PUBLIC_IPV6} 8001"}
    # Access to everything is not access to what is special, nor are documentation networks public.
    before = len(seen())
    with open_port(8000) as listener:
        assert probe(server, *targets[3:14], version="full")["connects"] == []
        only_the_host_connects(listener, BRIDGE_IPV6, "2001:db8::1")
    assert probe(server, f"{WORLD_IPV6}-8000", f"{METADATA_IPV6}-8000", version="public")["connects"] == []
    assert arrivals(before) == {f"ipv6 {PUBLIC_IPV6} 8000"}

    def counted(name, **labels):
        return value(read_metrics(server), f"lambdo_guest_network_{name}_total", language="python",
                     version="3.11", **labels)
    wait_until(lambda: counted("dropped_packets", reason="refused") >= 5, 10, "refused packets are not counted")
    assert counted("bytes", direction="sent") > 0 and counted("packets", direction="received") > 0


def guest_addresses():
    lines = ip("-6", "neighbour", "show", "dev", BRIDGE, "nud", "permanent").splitlines()
    return [line.split()[0] for line in lines if line.startswith(NETWORK)]


IPV6_LISTENING = LISTENING.replace('create_server(("", 8000))', 'create_server(("::", 8000), family=socket.AF_INET6)')


def test_guests_do_not_reach_each_other(server):
    # The server's own user can, so somebody does listen there.
    came, _ = while_listening(server, 30, lambda: connects_from_here(guest_addresses), IPV6_LISTENING)
    assert came == BRIDGE_IPV6
    came, own = while_listening(server, 6, lambda: probe(server, *(f"{a}-8000" for a in guest_addresses())),
                                IPV6_LISTENING)
    assert (came, own["connects"]) == ("nobody came", [])


def test_guests_differ_by_their_ipv4_address(server):
    def each_has_both():
        ipv4 = [line.split()[0].split(".") for line in
                ip("-4", "neighbour", "show", "dev", BRIDGE, "nud", "permanent").splitlines()]
        return {f"{NETWORK}c0a8:{int(parts[2]) << 8 | int(parts[3]):x}" for parts in ipv4} == set(guest_addresses())
    wait_until(each_has_both, 10, "a guest has one address only")
    assert len(guest_addresses()) > 1
    # Nobody has said anything about links: the host has no address that it made itself, and knows no router.
    assert [line for line in ip("-6", "-o", "address", "show", "dev", BRIDGE).splitlines() if "fe80" in line] == []


def test_nothing_is_left_after_a_stop_and_after_a_kill(world, servers):
    own = servers.prepare([configs.language("python", network="egress")],
                          api={"bridge": "lambdo7", "bridge_address": "192.168.17.1/24"},
                          network={"ipv6": "fd12:3456:789a:7::1/64"})
    own.start()
    assert probe(own)["page"] == "a page of the world\n"
    assert any("fd12:3456:789a:7::1" in key for key in network_ledger.take_of("lambdo7"))
    own.kill()
    own.start()
    assert probe(own)["page"] == "a page of the world\n"
    own.stop()
    wait_until(lambda: network_ledger.take_of("lambdo7") == {}, 5, "something is left of the bridge")


@pytest.fixture
def operators_bridge(world):
    ip("link", "add", "lambdo8", "type", "bridge")
    # No address that comes later than the others.
    ip("link", "set", "lambdo8", "addrgenmode", "none")
    ip("address", "add", "192.168.18.1/24", "dev", "lambdo8")
    ip("link", "set", "lambdo8", "up")
    yield "lambdo8"
    ip("link", "delete", "lambdo8")


def test_an_operators_bridge_gives_its_address_back(operators_bridge, servers):
    own = servers.prepare([configs.language("python", network="egress")],
                          api={"bridge": operators_bridge, "bridge_address": "192.168.18.1/24"},
                          network={"ipv6": "fd12:3456:789a:8::1/64"})
    own.start()
    assert probe(own)["page"] == "a page of the world\n"
    own.kill()
    own.start()
    assert probe(own)["page"] == "a page of the world\n"
    own.stop()
    wait_until(lambda: "fd12:3456:789a:8:" not in ip("-6", "address", "show", "dev", operators_bridge) +
               ip("-6", "neighbour", "show", "dev", operators_bridge, "nud", "permanent"), 5, "something is left")


def test_a_host_that_does_not_forward_says_so(world, servers):
    setting = "net.ipv6.conf.all.forwarding"
    subprocess.run(["sysctl", "-qw", f"{setting}=0"], check=True)
    try:
        own = servers.prepare([configs.language("python", network="egress")],
                              api={"bridge": "lambdo9", "bridge_address": "192.168.19.1/24"},
                              network={"ipv6": "fd12:3456:789a:9::1/64"})
        own.spawn()
        assert own.wait() != 0
        assert f"sysctl -w {setting}=1" in own.log()
        doctor = [configs.BINARY, "doctor"]
        with_config = subprocess.run([*doctor, "--config", own.folder / "lambdo.yaml"], capture_output=True, text=True)
        assert f"{setting} is 0" in with_config.stdout
        assert f"sysctl -w {setting}=1" in with_config.stdout
        assert setting not in subprocess.run(doctor, capture_output=True, text=True).stdout
    finally:
        subprocess.run(["sysctl", "-qw", f"{setting}=1"], check=True)
