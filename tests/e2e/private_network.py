"""A machine's network of one's own: a network namespace for servers, and another one with the world behind its uplink.

Needs root, ip(8), nsenter and unshare. Nothing of it is left when it is closed: namespaces end with their processes.
"""
import contextlib
import ctypes
import os
import pathlib
import shutil
import socket
import subprocess
import sys

from server import wait_until

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
WORLD = "5.5.5.2"
DENIED = "6.6.6.2"
METADATA = "169.254.169.254"
WORLD_IPV6 = "2001:db8::2"
PUBLIC_IPV6 = "2a00:1::2"
DENIED_IPV6 = "2a00:2::2"
METADATA_IPV6 = "fd00:ec2::254"


def missing_tools():
    return [name for name in ("ip", "nft", "nsenter", "unshare") if not shutil.which(name)]


def ip(*words, of=None):
    command = ["nsenter", "-t", str(of), "-n", "ip", *words] if of else ["ip", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def enter(fd):
    assert LIBC.setns(fd, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def open_port(port):
    """A TCP socket that listens at all addresses of this thread's namespace, of both families."""
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    listener.setblocking(False)
    return listener


def visitors(listener):
    """How many have connected to it since the last question."""
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def only_the_host_connects(listener, *addresses):
    """Nobody has connected to it so far, and the host itself can at each of these."""
    assert visitors(listener) == 0, "a guest has connected to its host"
    for address in addresses:
        socket.create_connection((address, listener.getsockname()[1]), timeout=5).close()
    assert visitors(listener) == len(addresses)


def make_wire(world):
    ip("link", "set", "lo", "up")
    ip("link", "add", "uplink", "type", "veth", "peer", "name", "world", "netns", str(world))
    for of, name, addresses in ((None, "uplink", ("5.5.5.1/24", "2001:db8::1/64")),
                                (world, "world", ("5.5.5.2/24", "2001:db8::2/64", f"{DENIED}/24", f"{METADATA}/16", f"{PUBLIC_IPV6}/64", f"{DENIED_IPV6}/64",
                                          f"{METADATA_IPV6}/64"))):
        # No address that comes later than the others.
        ip("link", "set", name, "addrgenmode", "none", of=of)
        for address in addresses:
            ip("address", "add", address, "dev", name, *(("nodad",) if ":" in address else ()), of=of)
        ip("link", "set", name, "up", of=of)
    ip("route", "add", "default", "via", WORLD)
    ip("-6", "route", "add", "default", "via", WORLD_IPV6)
    for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        pathlib.Path("/proc/sys/net", setting).write_text("1")


@contextlib.contextmanager
def private_network(with_ear=True):
    """Gives the world's process. This thread, and all that it starts meanwhile, are in a namespace of their own.

    With an ear the world keeps an account of every packet: not for floods.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    assert LIBC.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    script = pathlib.Path(__file__).with_name("world.py")
    process = subprocess.Popen(["unshare", "-n", sys.executable, script, *(["world"] if with_ear else [])],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        own = os.readlink("/proc/thread-self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own, 10, "the world has no namespace")
        make_wire(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        enter(home)
        os.close(home)
