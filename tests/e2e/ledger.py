"""What a server holds on the machine: descriptors, threads, processes, cgroups, mounts, files, network.

A ledger is a Counter of descriptions. Numbers that differ between two guests of the same kind are taken out of the
descriptions, so a server whose pools are full again has the ledger it had before.
"""
import collections
import os
import pathlib
import re
import time

import network_ledger

# Twice what the launcher keeps idle: those in use come on top.
MAX_NETWORKS = 64
NUMBERS = re.compile(r"[0-9a-f]*[0-9][0-9a-f]*")


def without_numbers(text):
    return NUMBERS.sub("N", text)


def read_text(path):
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""


def all_processes():
    """pid -> (parent, state, name) of every process that can be seen."""
    processes = {}
    for entry in os.listdir("/proc"):
        stat = read_text(f"/proc/{entry}/stat") if entry.isdigit() else ""
        if stat:
            name = stat[stat.index("(") + 1:stat.rindex(")")]
            state, parent = stat[stat.rindex(")") + 2:].split()[:2]
            processes[int(entry)] = (int(parent), state, name)
    return processes


def descendants(root):
    """pid -> (parent, state, name) of all below `root`, zombies too."""
    processes = all_processes()
    found = {}
    level = [root]
    while level:
        level = [pid for pid, (parent, _, _) in processes.items() if parent in level and pid not in found]
        found.update((pid, processes[pid]) for pid in level)
    return found


def children(root):
    """Without the process that a sanitizer starts to look symbols up."""
    return sorted(pid for pid, (parent, _, name) in all_processes().items()
                  if parent == root and name != "llvm-symbolizer")


def commands_below(root):
    """The command lines of all below `root`."""
    return [read_text(f"/proc/{pid}/cmdline").replace("\0", " ").strip() for pid in descendants(root)]


def processes_with(marker):
    """All processes on the machine with this text in their command line."""
    return [pid for pid in all_processes() if marker in read_text(f"/proc/{pid}/cmdline")]


def rss_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", read_text(f"/proc/{pid}/status"))[1])


def _descriptors(role, pid):
    ledger = collections.Counter()
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return ledger
    for number in numbers:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
        ledger[f"{role} descriptor {without_numbers(target)}"] += 1
    if role == "network helper":
        return ledger
    # Unused network namespaces are kept for the next guests, up to a limit: how many there are depends on the past.
    kept = ledger.pop(f"{role} descriptor net:[N]", 0)
    assert kept <= MAX_NETWORKS, f"{kept} network namespaces of the {role}"
    return ledger


def _threads(role, pid):
    ledger = collections.Counter()
    for task in os.listdir(f"/proc/{pid}/task"):
        ledger[f"{role} thread {read_text(f'/proc/{pid}/task/{task}/comm').strip()}"] += 1
    # gRPC and the kernel's io_uring start and end threads as they like, pools for blocking work when they need one;
    # that they stay few is what can be asked of them.
    for name in ("grpc_global_tim", "event_engine", "default-executo", "resolver-execut", "iou-wrk", "lambdo-blocking"):
        threads = [key for key in ledger if key.startswith(f"{role} thread {name}")]
        count = sum(ledger.pop(key) for key in threads)
        assert count <= 8, f"{count} threads {name} of the {role}"
    return ledger


def cgroup_name(state_dir):
    """The server's folder in each hierarchy is named after the state directory: FNV-1a, 64 bits."""
    value = 0xcbf29ce484222325
    for byte in os.path.realpath(state_dir).encode():
        value = (value ^ byte) * 0x100000001b3 % (1 << 64)
    return f"lambdo-{value:016x}"


def cgroup_folders(state_dir):
    """Every cgroup of the server with this state directory, in every hierarchy."""
    folders = []
    for line in read_text("/proc/self/mountinfo").splitlines():
        mount_point, kind = line.split()[4], line.split(" - ")[1].split()[0]
        if kind in ("cgroup", "cgroup2"):
            folders += [folder for folder, _, _ in os.walk(f"{mount_point}/{cgroup_name(state_dir)}")]
    return sorted(set(folders))


def count_guests(server):
    """How many there are by the launcher's children, and by cgroups in the hierarchy that has most: a set of numbers."""
    launchers = [pid for pid, role in _roles(server).items() if role == "launcher"]
    counts = {len(children(launchers[0]))} if launchers else set()
    tops = collections.Counter(os.path.dirname(folder) for folder in cgroup_folders(server.state_dir))
    name = cgroup_name(server.state_dir)
    counts.add(max((count for top, count in tops.items() if os.path.basename(top) == name), default=0))
    return counts


def _tree(role, folder):
    ledger = collections.Counter()
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.relpath(os.path.join(parent, name), folder)
            ledger[f"{role} {without_numbers(path)}"] += 1
    return ledger


def has_network(server):
    """Whether its configuration gives guests one."""
    config = server.config if isinstance(server.config, dict) else {}
    return "network" in config or any("network" in language for language in config.get("languages", ()))


def _bridge(server):
    return server.config["api"].get("bridge", "lambdo0")


def _roles(server):
    below = {pid: "launcher" for pid in children(server.pid)}
    below.update((pid, "network helper") for pid in below if all_processes()[pid][2] == "lambdo-network")
    return {server.pid: "server", **below}


def take(server):
    """The ledger of a running server and of the host's tables."""
    ledger = take_host(server)
    below = descendants(server.pid)
    for pid, role in _roles(server).items():
        ledger += _descriptors(role, pid)
        ledger += _threads(role, pid)
    for _, state, name in below.values():
        # An executor is called as its agent until it first runs, which may be after the guest is ready.
        name = "agent" if name == "lambdo-executor" else name
        ledger[f"zombie {name}" if state == "Z" else f"process {name}"] += 1
    ledger["network namespaces of its processes"] = len(_network_namespaces(below))
    return ledger


def _network_namespaces(pids):
    found = set()
    for pid in pids:
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
        except OSError:
            pass  # it has ended
    return found


def take_host(server):
    """What would outlive the server: cgroups, mounts, temporary files, its state, what it made of the network."""
    ledger = collections.Counter()
    for folder in cgroup_folders(server.state_dir):
        ledger[f"cgroup {without_numbers(folder)}"] += 1
    for line in read_text("/proc/self/mountinfo").splitlines():
        ledger[f"mount {line.split()[4]}"] += 1
    ledger += _tree("state", server.state_dir)
    ledger += _tree("temporary", server.temporary_dir)
    for name in os.listdir("/dev/shm"):
        ledger[f"file /dev/shm/{without_numbers(name)}"] += 1
    return ledger + network_ledger.take_of(_bridge(server)) if has_network(server) else ledger


def difference(before, after):
    lines = [f"  {after[key] - before[key]:+d} {key} ({before[key]} -> {after[key]})"
             for key in sorted(before | after) if before[key] != after[key]]
    return "\n".join(lines)


# The kernel removes the interfaces of dead guests when it gets to it: some of those may have been there at first.
MAY_FALL = ("network link veth ", "network namespaces ", "network port ")


def is_kept(before, now):
    return all(now[key] == before[key] or (key.startswith(MAY_FALL) and now[key] < before[key]) for key in before | now)


def wait_until_equal(before, take_now, timeout_s, what="the ledger"):
    """Pools refill and guests are removed in the background: gives them time, then fails with the difference."""
    deadline = time.monotonic() + timeout_s
    while not is_kept(before, now := take_now()):
        assert time.monotonic() < deadline, f"{what} changed:\n{difference(before, now)}"
        time.sleep(0.05)
