"""What servers hold of the network namespace that they are in: links, bridge ports, addresses, routes, neighbours, rules.

Asked of ip(8), bridge(8) and nft(8), which know nothing of Lambdo. Only what somebody put there: what the kernel learns
by itself comes and goes.
"""
import collections
import hashlib
import json
import re
import subprocess

# Elements that the rules themselves add, for what living guests have sent, and the kernel forgets; sets bound them.
DYNAMIC_SETS = ("agent_calls", "connections", "sent_bytes", "sent_packets", "received_bytes", "received_packets")
PORT = re.compile(r"^(l[0-9a-f]{6}t)[0-9]+$")


def _json(*command):
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout or "[]")


def links():
    """Every interface as ip -json -details describes it."""
    return _json("ip", "-json", "-details", "link", "show")


def is_port(name):
    """Whether an interface is some server's port for a guest."""
    return PORT.match(name) is not None


def port_prefix(bridge):
    """What the names of this bridge's ports begin with."""
    return f"l{hashlib.sha256(bridge.encode()).hexdigest()[:6]}t"


def _without_number(name):
    return PORT.sub(r"\1N", name)


def neighbours():
    """(interface, address, Ethernet address) of those that somebody has set."""
    return [(entry["dev"], entry["dst"], entry["lladdr"]) for entry in _json("ip", "-json", "neighbor", "show")
            if "PERMANENT" in entry["state"]]


def rules():
    """The objects of all tables: {"table": ...}, {"chain": ...}, {"rule": ...}, {"set": ...}, {"map": ...}."""
    return [entry for entry in _json("nft", "-json", "list", "ruleset")["nftables"] if "metainfo" not in entry]


def _count_links():
    ledger, peers = collections.Counter(), collections.defaultdict(set)
    for link in links():
        info = link.get("linkinfo", {})
        name = _without_number(link["ifname"])
        ledger[f"network link {info.get('info_kind', 'device')} {name}"] += 1
        if info.get("info_slave_kind") == "bridge":
            ledger[f"network port {name} of bridge {link['master']}"] += 1
        if "link_netnsid" in link:
            peers[name].add(link["link_netnsid"])
    for name, namespaces in peers.items():
        ledger[f"network namespaces at the other end of {name}"] = len(namespaces)
    return ledger


def _count_addresses():
    ledger = collections.Counter()
    for link in _json("ip", "-json", "address", "show"):
        for address in link.get("addr_info", ()):
            if address.get("local"):
                ledger[f"network address {address['local']} of {_without_number(link['ifname'])}"] += 1
    for family in ("-4", "-6"):
        for route in _json("ip", "-json", family, "route", "show", "table", "all"):
            ledger[f"network route {route['dst']} {_without_number(route.get('dev', ''))}"] += 1
    for device, *_ in neighbours():
        ledger[f"network neighbour at {device}"] += 1
    for entry in _json("bridge", "-json", "fdb", "show"):
        if entry.get("state") in ("permanent", "static"):
            ledger[f"network forwarding entry {_without_number(entry['ifname'])} {entry['state']}"] += 1
    return ledger


def _count_rules():
    ledger = collections.Counter()
    for entry in rules():
        kind, body = next(iter(entry.items()))
        table = f"{body['family']} {body['name' if kind == 'table' else 'table']}"
        ledger[f"network {kind} of table {table}"] += 1
        if kind in ("set", "map") and body["name"] not in DYNAMIC_SETS:
            ledger[f"network elements of {table} {body['name']}"] += len(body.get("elem", ()))
    return ledger


def take():
    """Of everybody."""
    return _count_links() + _count_addresses() + _count_rules()


def take_of(bridge):
    """Of the server with this bridge."""
    names = {bridge, f"{port_prefix(bridge)}N", f"lambdo_{bridge}"}
    return collections.Counter({key: count for key, count in take().items() if names & set(key.split())})
