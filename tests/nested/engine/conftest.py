"""Tests of the kvm engine: real servers with real microVMs. They run where KVM is usable: in a nested host (./dev test-kvm),
or on a machine of one's own with LAMBDO_GUEST_KERNEL set to the folder of a guest kernel.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/e2e/registry")]
# Guests are emulated in a nested host: all limits are longer there.
os.environ.setdefault("LAMBDO_SLOW", "1")

pytest.register_assert_rewrite("http_client", "ledger", "server")

import configs  # noqa: E402
import ledger  # noqa: E402
import private_network  # noqa: E402
import server  # noqa: E402
from registry_fixtures import registry  # noqa: E402,F401

KERNEL = pathlib.Path(os.environ.get("LAMBDO_GUEST_KERNEL", ROOT / "build/guest-kernel")).absolute()
NESTED_BUILD = configs.BINARY.parents[2] / "tests/nested"
PASSED = pathlib.Path(os.environ.get("LAMBDO_PASSED", os.devnull))
BEFORE_TEARDOWN = set()
HOSTILE_AGENT = NESTED_BUILD / "engine/hostile_agent"


# What takes an emulated processor long, and no test needs: mitigations of flaws that it has not, certificates, jitter
# entropy, types for BPF and names for tracing.
KERNEL_ARGUMENTS = ("mitigations=off initcall_blacklist=load_system_certificate_list,jent_mod_init,bpf_tcp_ca_kfunc_init,"
                    "bpf_dummy_struct_ops_init,trace_eval_init,btf_vmlinux_init,btf_module_init")


def vmm(kernel_arguments="", **changes):
    return {"engine": "kvm", "kernel": str(KERNEL / "vmlinux"), "modules": str(KERNEL / "modules"),
            "boot_timeout_ms": 120000, "kernel_arguments": f"{KERNEL_ARGUMENTS} {kernel_arguments}".strip(), **changes}


def language(name, **changes):
    """A language of the e2e tests, from its archive."""
    made = configs.language(name, initramfs=str(ROOT / f"build/guest-images/{name}.cpio"), warm=0) | changes
    del made["image"]
    return made


APPLETS = ("awk", "cat", "echo", "head", "id", "ls", "nproc", "seq", "sh", "sleep", "touch", "wc", "yes")


@pytest.fixture(scope="session")
def tiny_archive(tmp_path_factory):
    """An archive of a shell and nothing else, which boots in half the time of a distribution's."""
    folder = tmp_path_factory.mktemp("tiny")
    root = folder / "root"
    for name in ("bin", "usr", "workspace"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    subprocess.run("find . -mindepth 1 -print0 | cpio --null --create --format=newc --quiet >../tiny.cpio", shell=True,
                   cwd=root, check=True)
    return folder / "tiny.cpio"


def tiny_language(archive, **changes):
    return {"name": "bash", "version": "tiny", "initramfs": str(archive), "warm": 0,
            "steps": [{"command": "sh {{filename}} {{args}}"}], **changes}


class Servers:
    """Starts servers with the kvm engine and stops them at the end."""

    def __init__(self, folder):
        self.folder = folder
        self.started = []

    def prepare(self, languages, **sections):
        folder = self.folder / f"server{len(self.started)}"
        folder.mkdir()
        made = server.Server(folder, configs.config(folder, languages, **{"vmm": vmm(), **sections}), ())
        made.temporary_dir.mkdir()
        self.started.append(made)
        return made

    def start(self, languages, **sections):
        return self.prepare(languages, **sections).start()

    def stop_all(self):
        for made in reversed(self.started):
            if made.process is None:
                continue
            try:
                made.stop()
            finally:
                if made.process.poll() is None:
                    made.kill()


def pytest_collection_modifyitems(config, items):
    """Leaves out what passed in an attempt before, when the emulator broke it off; see attempts in nested_test.py."""
    passed = PASSED.read_text().split("\n") if PASSED.exists() else []
    again = [item for item in items if item.nodeid not in passed]
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = again


def pytest_runtest_logreport(report):
    # Teardown belongs to the test: it looks at what is left over.
    if report.when == "call" and report.passed:
        BEFORE_TEARDOWN.add(report.nodeid)
    if report.when == "teardown" and report.passed and report.nodeid in BEFORE_TEARDOWN:
        with open(PASSED, "a", encoding="utf-8") as file:
            file.write(f"{report.nodeid}\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """What the servers of a failed test logged stands in its report: their folders are gone with the machine."""
    report = (yield).get_result()
    if report.failed:
        held = [value.started for value in getattr(item, "funcargs", {}).values() if isinstance(value, Servers)]
        shown = [getattr(item, "funcargs", {}).get("shared"), *sum(held, [])]
        for number, made in enumerate(made for made in shown if made is not None):
            report.sections.append((f"log of server {number}, its end", "\n".join(made.log().splitlines()[-60:])))


@pytest.fixture(scope="module")
def world():
    """This thread, and all that it starts, in a network namespace whose uplink leads to the world."""
    with private_network.private_network() as process:
        yield process


@pytest.fixture
def servers(tmp_path):
    made = Servers(tmp_path)
    yield made
    made.stop_all()


def wait_until_idle(pid, timeout_s=30):
    """Until a process has no more to do than to wait: it takes less than a tenth of a processor."""
    def ticks():
        return sum(int(word) for word in pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])

    def is_idle():
        before = ticks()
        time.sleep(0.5)
        return ticks() - before < 0.05 * os.sysconf("SC_CLK_TCK")

    server.wait_until(is_idle, timeout_s, "the process is busy")


def guests(pid):
    """The VMs that a server has."""
    links = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except OSError:
            pass
    return links.count("anon_inode:kvm-vm")


def held(made):
    """What a server holds, by kind: descriptors, and threads but for those that run idle vCPUs and gRPC's."""
    now = ledger._descriptors("server", made.pid) + ledger._threads("server", made.pid)  # noqa: SLF001
    kept = now.pop("server thread lambdo-vcpu", 0)
    assert kept <= 40, f"{kept} threads for vCPUs"
    return now
