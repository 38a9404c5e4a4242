"""A guest's network against QEMU's microvm without vhost: TCP both ways and the latency of a ping, in turn.

Usage: network.py [--boots N] [--rounds N] [--seconds N]. It needs a usable KVM and a network namespace of its own, where it
makes two TAPs: ./dev bench network runs it so. Both guests boot the same kernel and initramfs, with one processor and
256 MiB each, and the same parameters. While one is measured the other is idle.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from figures import Figure, print_table

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/nested"))
import initramfs  # pylint: disable=wrong-import-position

BUILD = pathlib.Path(os.environ.get("LAMBDO_BUILD", ROOT / "build/release"))
KERNEL = pathlib.Path(os.environ.get("LAMBDO_GUEST_KERNEL", ROOT / "build/guest-kernel"))
RESULTS = pathlib.Path(os.environ.get("NESTED_RESULTS", ROOT / "build/bench"))
PROGRAM = BUILD / "tests/nested/boot_networked"
CONTROL_PORT = 7000
BOOT_LIMIT_S = 120
STREAM_ATTEMPTS = 3
MARK = b"\n\036end\n"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boots", type=int, default=3, help="of both guests")
    parser.add_argument("--rounds", type=int, default=4, help="after each boot")
    parser.add_argument("--seconds", type=int, default=2, help="of each TCP stream")
    parser.add_argument("--pings", type=int, default=200, help="of each round")
    return parser.parse_args()


# ---- what the guests boot


def libraries_of(program):
    """The shared libraries of a program and its loader, by their paths."""
    listing = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    words = [word for line in listing.splitlines() for word in line.split()]
    return [pathlib.Path(word) for word in words if word.startswith("/")]


def make_initramfs(path):
    """busybox, iperf3 with its libraries, the network's modules, and network_init.sh as /init."""
    iperf = shutil.which("iperf3") or sys.exit("error: iperf3 is missing; ./dev bench network installs it")
    modules = initramfs.modules_in_order((KERNEL / "modules/modules.dep").read_text(), ("virtio_mmio", "virtio_net"))
    names = [module.rsplit("/", 1)[-1] for module in modules]
    programs = {"busybox": shutil.which("busybox"), "usr/bin/iperf3": iperf}
    programs |= {str(library).lstrip("/"): library for library in libraries_of(iperf)}
    files = {"init": (0o755, (ROOT / "tests/bench/network_init.sh").read_bytes())}
    files |= {name: (0o755, pathlib.Path(source).read_bytes()) for name, source in programs.items()}
    files["modules/order"] = (0o644, "".join(f"{name}\n" for name in names).encode())
    files |= {f"modules/{name}": (0o644, (KERNEL / "modules" / module).read_bytes())
              for name, module in zip(names, modules)}
    folders = {str(parent) for name in files for parent in pathlib.PurePath(name).parents} - {"."}
    folders |= {"dev", "proc", "sys"}
    path.write_bytes(initramfs.build_archive(sorted(folders), files))


# ---- the guests


class Guest:
    """A running guest with a shell that does as it is told. Use as a context."""

    def __init__(self, name, number, command):
        self.name = name
        self.host = f"10.77.{number}.1"
        self.tap = f"bench{number}"
        self.mac = f"52:54:00:00:77:{number:02x}"
        self.parameters = f"ipv6.disable=1 bench_address=10.77.{number}.2 bench_host={self.host}"
        self.command = command
        self.process = self.shell = None

    def make_tap(self):
        for words in (f"tuntap add dev {self.tap} mode tap vnet_hdr", f"addr add {self.host}/24 dev {self.tap}",
                      f"link set {self.tap} up"):
            subprocess.run(["ip", *words.split()], check=True)

    def __enter__(self):
        with socket.create_server((self.host, CONTROL_PORT)) as listener:
            listener.settimeout(BOOT_LIMIT_S)
            log = RESULTS / f"network-{self.tap}.log"
            with open(log, "wb") as output:
                self.process = subprocess.Popen(self.command(self), stdin=subprocess.DEVNULL, stdout=output,
                                                stderr=subprocess.STDOUT)
            try:
                self.shell = listener.accept()[0]
            except OSError:
                self.close()
                sys.exit(f"error: the guest of {self.name} did not come up; its console is in {log}")
        self.shell.settimeout(BOOT_LIMIT_S)
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.shell:
            self.shell.close()
        self.process.kill()
        self.process.wait()

    def run(self, command):
        """What a shell command prints in the guest. Only when it has ended does that come over the network."""
        self.shell.sendall(f"{{ {command}; }} >/tmp/output 2>&1; cat /tmp/output; printf '\\n\\036end\\n'\n".encode())
        received = b""
        while not received.endswith(MARK):
            data = self.shell.recv(65536)
            if not data:
                sys.exit(f"error: the guest of {self.name} ended")
            received += data
        return received.removesuffix(MARK).decode()

    def stream(self, seconds, *options):
        """Mbit/s that the receiver of one TCP stream got."""
        command = f"timeout {seconds + 40} /usr/bin/iperf3 --client {self.host} --time {seconds} --json {' '.join(options)}"
        for _ in range(STREAM_ATTEMPTS):
            # A server of its own: now and then one gives a client up with "select failed", which waits for it then.
            with subprocess.Popen(["iperf3", "--server", "--bind", self.host], stdout=subprocess.DEVNULL) as server:
                try:
                    time.sleep(0.5)
                    report = self.run(command)
                finally:
                    server.kill()
            with contextlib.suppress(ValueError, KeyError):
                return json.loads(report)["end"]["sum_received"]["bits_per_second"] / 1e6
            print(f"iperf3 in the guest of {self.name} failed, once more: {' '.join(report.split())}", flush=True)
        return sys.exit(f"error: iperf3 in the guest of {self.name} failed {STREAM_ATTEMPTS} times")

    def ping(self, count):
        """The median round trip to the host in microseconds, the next ping sent when the last is answered."""
        report = self.run(f"ping -A -c {count} {self.host}")
        times = [float(word.removeprefix("time=")) * 1000 for word in report.split() if word.startswith("time=")]
        if len(times) < count:
            sys.exit(f"error: {count - len(times)} pings of {count} were lost in the guest of {self.name}")
        return statistics.median(times)


def our_command(archive):
    return lambda guest: [PROGRAM, archive, guest.tap, guest.mac, *guest.parameters.split()]


def qemu_command(archive):
    """The same device as ours: version 1 of virtio, all that QEMU offers by default, queues of 256."""
    line = subprocess.run([PROGRAM, "--command-line"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return lambda guest: [
        "qemu-system-x86_64", "-M", "microvm,rtc=on", "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", "256",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
        "-kernel", KERNEL / "vmlinux", "-initrd", archive, "-append", f"{line} {guest.parameters}",
        "-global", "virtio-mmio.force-legacy=false",
        "-netdev", f"tap,id=net,ifname={guest.tap},script=no,downscript=no,vhost=off",
        "-device", f"virtio-net-device,netdev=net,mac={guest.mac}"]


# ---- the figures


def measurements(arguments):
    """Of each figure's key: the figure, and what measures it in a guest."""
    return {
        "up": (Figure("network-up", "TCP guest to host, Mbit/s, ours / QEMU", "x", 1.0, at_most=False),
               lambda guest: guest.stream(arguments.seconds)),
        "down": (Figure("network-down", "TCP host to guest, Mbit/s, ours / QEMU", "x", 1.0, at_most=False),
                 lambda guest: guest.stream(arguments.seconds, "--reverse")),
        "ping": (Figure("network-ping", "ping guest to host, p50, ours / QEMU", "x", 1.0, at_most=True),
                 lambda guest: guest.ping(arguments.pings)),
    }


def measure_round(guests, figures, samples, turn):
    """Every measurement in both guests, who is first taking turns."""
    order = guests if turn % 2 == 0 else guests[::-1]
    for key, (figure, measure) in figures.items():
        values = {guest.name: measure(guest) for guest in order}
        ours, theirs = (values[guest.name] for guest in guests)
        figure.add(ours / theirs)
        for guest in guests:
            samples.setdefault((key, guest.name), []).append(values[guest.name])
        print(f"{figure.key}: ours {ours:.1f}, QEMU {theirs:.1f}, ratio {ours / theirs:.3f}", flush=True)


def measure_all(arguments, guests):
    figures = measurements(arguments)
    samples = {}
    for boot in range(arguments.boots):
        with contextlib.ExitStack() as running:
            for guest in guests:
                running.enter_context(guest)
                guest.ping(20)  # so that addresses are known
            for turn in range(arguments.rounds):
                measure_round(guests, figures, samples, boot + turn)
    for (key, name), values in samples.items():
        unit = "us" if key == "ping" else "Mbit/s"
        figures[key][0].context[f"{name} ({unit})"] = round(statistics.median(values), 1)
    return [figure for figure, _ in figures.values()]


def main():
    arguments = parse_arguments()
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = pathlib.Path(folder) / "initramfs"
        make_initramfs(archive)
        guests = [Guest("ours", 1, our_command(archive)), Guest("QEMU", 2, qemu_command(archive))]
        for guest in guests:
            guest.make_tap()
        figures = measure_all(arguments, guests)
    for figure in figures:
        figure.save(RESULTS)
    print_table(figures)


if __name__ == "__main__":
    main()
