"""The harness itself: that what fails, hangs, crashes, panics or never starts is told, and what passes passes."""
import concurrent.futures
import functools
import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

import harness
import initramfs
import suites
from machine import ROOT, Machine, MachineLost, Setup, SetupError
from nested_test import NestedTest, judge

# name, command, verdict, part of the reason. The order matters only where the machine is lost.
EVERYWHERE = [
    ("passes", "true", "passed", ""),
    ("output-without-end-of-line", "printf abc", "passed", ""),
    ("fails", "false", "failed", "status 1"),
    ("last-status-counts", "true; exit 3", "failed", "status 3"),
    ("comment-at-the-end", "exit 4 # so", "failed", "status 4"),
    ("no-such-program", "/nonexistent/program", "failed", "status 127"),
    ("crashes", "sh -c 'kill -SEGV $$'", "failed", "killed by SIGSEGV"),
    ("kills-itself", "sh -c 'kill -KILL $$'", "failed", "killed by SIGKILL"),
    ("skips", "echo no device; exit 77", "skipped", "no device"),
    ("hangs", "trap '' TERM INT; echo waiting; sleep 1000", "failed", "cut after its limit of 2 s"),
    ("leaves-a-daemon", "setsid sleep 1000 & echo left", "passed", ""),
    ("forges-an-end", r"printf '\n\036deadbeef 0 0\n'; false", "failed", "status 1"),
    ("reads-input", "cat", "passed", ""),
]
NESTED_ONLY = [
    ("real-kvm", "test -c /dev/kvm && grep -qw svm /proc/cpuinfo && test -d /sys/module/kvm_amd", "passed", ""),
    ("surroundings", "test -c /dev/net/tun && test -e /sys/fs/cgroup/cgroup.procs && "
                     "busybox ping -c 1 127.0.0.1", "passed", ""),
    ("modules-load-by-name", "modprobe vsock_loopback && grep -q vsock /proc/modules", "passed", ""),
    ("same-paths", f"cmp {__file__} tests/nested/test_harness.py", "passed", ""),
    ("outer-host-is-read-only", "echo inner >README.md && grep -q inner README.md", "passed", ""),
    ("panics", "echo c >/proc/sysrq-trigger; sleep 60", "failed", "its kernel panicked: "),
    ("new-machine-after-panic", "! grep -q inner README.md", "passed", ""),
    ("powers-off", "echo o >/proc/sysrq-trigger; sleep 60", "failed", "the machine ended by itself"),
    ("new-machine-after-power-off", "echo kept >$NESTED_RESULTS/kept", "passed", ""),
]


def as_tests(rows):
    # Two seconds for the one that hangs; none of the others comes near its limit.
    return [NestedTest(name, command, timeout_s=2 if name == "hangs" else 60) for name, command, *_ in rows]


def check(rows, outcomes):
    for (name, _, verdict, reason), outcome in zip(rows, outcomes, strict=True):
        assert (name, outcome.verdict) == (name, verdict), outcome.reason
        assert reason in outcome.reason, name


def run_counted(runner, tests, folder):
    """What came of the tests, and how many machines were started for them."""
    before = runner.machines
    outcomes = harness.run_tests([runner], tests, folder)
    return outcomes, runner.machines - before


def try_sharing(runners, folder):
    # The first two pass only when both run at once.
    meet = "touch $NESTED_RESULTS/{0}; until [ -e $NESTED_RESULTS/{1} ]; do sleep 0.1; done"
    tests = [NestedTest("one", meet.format("a", "b"), timeout_s=60), NestedTest("other", meet.format("b", "a"), timeout_s=60),
             NestedTest("shared-fails", "false"), NestedTest("shared-passes", "true")]
    before = [runner.machines for runner in runners]
    return harness.run_tests(runners, tests, folder), [runner.machines for runner in runners] == before


def try_outcomes(runner, folder):
    rows = EVERYWHERE + NESTED_ONLY
    return run_counted(runner, as_tests(rows), folder)


def try_again(runner, folder, name, said):
    """A test that fails once and says so, and one that always does."""
    again = f"echo >>$NESTED_RESULTS/{name}-again; [ $NESTED_ATTEMPT = 2 ] || {{ {said}; false; }}"
    always = f"echo >>$NESTED_RESULTS/{name}-always; {said}; false"
    tests = [NestedTest(f"{name}-again", again, attempts=2), NestedTest(f"{name}-always", always, attempts=2)]
    return run_counted(runner, tests, folder)


def try_losing(runner, folder):
    first = "[ -e $NESTED_RESULTS/was-here ] || { touch $NESTED_RESULTS/was-here; sync; echo c >/proc/sysrq-trigger; sleep 60; }"
    always = "echo c >/proc/sysrq-trigger; sleep 60"
    tests = [NestedTest("first", first, timeout_s=60, attempts=2), NestedTest("always", always, timeout_s=60, attempts=2)]
    return run_counted(runner, tests, folder)


def try_hanging(runner, _):
    """The output of a command, and what is said of the machine when it does not go on."""
    output = []
    status, _ = runner.machine.run("seq 1 100000", 60, output.append)
    os.kill(runner.machine.qemu.pid, signal.SIGSTOP)
    with pytest.raises(MachineLost) as lost:
        runner.machine.run("true", 1, output.append, grace_s=1)
    return status, b"".join(output), str(lost.value)


# name: what is said, how often it runs then, machines that are started meanwhile.
SAID = {
    "guest-broke": ("echo exc_double_fault", 2, 0),
    "machine-broke": ("echo '<1>watchdog: BUG: soft lockup' >/dev/kmsg", 2, 3),
    "mistake": ("echo a mistake", 1, 0),
}


class Tried:
    """What is tried in nested hosts, for the tests below and beside them: a machine takes seconds to boot, so there are
    two at a time, and each attempt goes on in the machine that the one before it left."""

    def __init__(self, setup, folder):
        self.setup = setup
        self.folder = folder
        self.readme = (ROOT / "README.md").read_bytes()
        self.runners = [harness.NestedRunner(setup, folder / f"host-{number}") for number in range(2)]
        again = {name: functools.partial(try_again, name=name, said=said) for name, (said, *_) in SAID.items()}
        # A machine ends with the thread that started it, and all machines are there when both threads meet.
        meeting = threading.Barrier(2)
        chains = [{"outcomes": try_outcomes, "guest-broke": again["guest-broke"], "mistake": again["mistake"],
                   "shared": lambda *_: self.share(meeting), "hung": try_hanging},
                  {"machine-broke": again["machine-broke"], "meeting": lambda *_: (meeting.wait(), meeting.wait()), "lost": try_losing}]
        self.results = {name: concurrent.futures.Future() for chain in chains for name in chain}
        self.threads = [threading.Thread(target=self.run_chain, args=pair) for pair in zip(self.runners, chains)]
        for thread in self.threads:
            thread.start()

    def share(self, meeting):
        meeting.wait()
        try:
            return try_sharing(self.runners, self.folder)
        finally:
            meeting.wait()

    def run_chain(self, runner, chain):
        for name, attempt in chain.items():
            self.take(name, attempt, runner)

    def take(self, name, attempt, runner):
        try:
            self.results[name].set_result(attempt(runner, self.folder))
        except BaseException as error:  # pylint: disable=broad-exception-caught
            self.results[name].set_exception(error)

    def result(self, name):
        return self.results[name].result(600)

    def close(self):
        for thread in self.threads:
            thread.join()
        for runner in self.runners:
            runner.close()


def make_setup(folder):
    made = Setup(results=folder / "results", memory_mib=1024)
    try:
        made.check()
    except SetupError as error:
        pytest.skip(str(error))
    return made


@pytest.fixture
def setup(tmp_path):
    return make_setup(tmp_path)


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tried")
    made = Tried(make_setup(folder), folder)
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def start_early(request):
    """What is tried begins before the tests that need it, where there are any."""
    if any("tried" in item.fixturenames for item in request.session.items if item.module is request.module):
        try:
            request.getfixturevalue("tried")
        except pytest.skip.Exception:
            pass


def test_a_further_attempt_leaves_out_what_passed(tmp_path):
    passed = tmp_path / "passed"
    command = [sys.executable, "-m", "pytest", "tests/nested/engine/test_kvm_engine.py", "-p", "no:cacheprovider", "--collect-only", "-q"]

    def collected():
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {"LAMBDO_PASSED": str(passed)}, stdout=subprocess.PIPE, text=True,
                              timeout=60, check=True)
        return [line for line in done.stdout.splitlines() if "::" in line]

    everything = collected()
    passed.write_text("".join(f"{name}\n" for name in everything[1:]))
    assert len(everything) > 1
    assert collected() == everything[:1]


def test_every_outcome_directly(tmp_path):
    outcomes = harness.run_tests([harness.DirectRunner({})], as_tests(EVERYWHERE), tmp_path)
    check(EVERYWHERE, outcomes)
    assert harness.count(outcomes) == (4, 8, 1)


def test_a_machine_that_never_starts_is_told_and_leaves_nothing(setup, tmp_path):
    setup.kernel = ROOT / "README.md"
    runner = harness.NestedRunner(setup, tmp_path)
    outcome, = harness.run_tests([runner], [NestedTest("never", "true")], tmp_path)
    assert (outcome.verdict, runner.machines) == ("failed", harness.BOOT_ATTEMPTS)
    assert "the machine ended by itself (QEMU's status 1" in outcome.reason


def test_a_machine_that_starts_too_slowly_is_told_and_ended(setup, tmp_path):
    with Machine(setup, tmp_path / "console.log") as machine:
        with pytest.raises(MachineLost, match="did not start in 0.1 s"):
            machine.wait_ready(0.1)
    assert all(process.returncode is not None for process in machine.processes)
    assert not machine.folder.exists()


@pytest.mark.parametrize("arguments, status, last_line", [
    (["--command", "exit 5"], 1, "0 passed, 1 failed"),
    (["--command", "exit 0"], 0, "1 passed, 0 failed"),
    (["--command", "exit 77"], 0, "0 passed, 0 failed, 1 skipped"),
    (["--on", "nested", "--kernel", "/nonexistent"], 1, f"0 passed, {len(suites.suites('build', 'kernel'))} failed"),
    (["no-such-test"], 1, None),
])
def test_the_command_line_ends_with_the_counts(arguments, status, last_line, tmp_path):
    place = ["--on", "direct", "--logs", str(tmp_path), "--results", str(tmp_path), "--build", str(tmp_path)]
    done = subprocess.run([sys.executable, str(pathlib.Path(harness.__file__)), *place, *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    assert done.returncode == status, done.stdout
    if last_line:
        assert done.stdout.splitlines()[-1] == last_line


@pytest.mark.parametrize("status, seconds, verdict", [
    (0, 1, "passed"), (1, 1, "failed"), (77, 1, "skipped"), (137, 10, "failed"), (139, 1, "failed"), (255, 1, "failed"),
])
def test_a_status_decides_the_outcome(status, seconds, verdict):
    assert judge(status, seconds, 10).verdict == verdict


def test_modules_come_after_what_they_need_and_once():
    text = "a/kvm-amd.ko: a/kvm.ko b/ccp.ko a/irq.ko\na/kvm.ko: a/irq.ko\na/irq.ko:\nb/ccp.ko: b/rng.ko\nb/rng.ko:\n"
    ordered = initramfs.modules_in_order(text, ["kvm_amd", "kvm"])
    assert ordered == ["a/irq.ko", "a/kvm.ko", "b/rng.ko", "b/ccp.ko", "a/kvm-amd.ko"]
    assert initramfs.modules_in_order(text, ["virtiofs", "kvm"], "kernel/fs/fuse/virtiofs.ko\n") == ["a/irq.ko", "a/kvm.ko"]
    with pytest.raises(KeyError):
        initramfs.modules_in_order(text, ["nothing"])


def test_the_archive_is_one_that_cpio_reads(tmp_path):
    archive = initramfs.build_archive(["folder"], {"folder/odd": (0o644, b"abc"), "run": (0o755, b"#!/bin/sh\n")})
    subprocess.run(["busybox", "cpio", "-id"], input=archive, cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    assert (tmp_path / "folder" / "odd").read_bytes() == b"abc"
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755


# From here on the tests wait for what was tried in nested hosts.


def test_several_nested_hosts_share_the_tests(tried):
    outcomes, are_the_same_machines = tried.result("shared")
    assert [outcome.verdict for outcome in outcomes] == ["passed", "passed", "failed", "passed"]
    assert are_the_same_machines


def test_every_outcome_in_nested_hosts(tried):
    outcomes, machines = tried.result("outcomes")
    check(EVERYWHERE + NESTED_ONLY, outcomes)
    assert machines == 3
    assert (tried.setup.results / "kept").read_text() == "kept\n"
    assert (tried.folder / "output-without-end-of-line.log").read_bytes() == b"abc"
    assert (tried.folder / "forges-an-end.log").read_bytes() == b"\n\036deadbeef 0 0\n"
    assert (ROOT / "README.md").read_bytes() == tried.readme


@pytest.mark.parametrize("name", list(SAID))
def test_only_what_the_emulator_broke_is_tried_again(tried, name):
    _, attempts, wanted_machines = SAID[name]
    outcomes, machines = tried.result(name)
    assert [outcome.verdict for outcome in outcomes] == ["passed" if attempts == 2 else "failed", "failed"]
    assert (tried.setup.results / f"{name}-again").read_text() == attempts * "\n"
    assert (tried.setup.results / f"{name}-always").read_text() == attempts * "\n"
    assert machines == wanted_machines


def test_a_lost_machine_is_replaced_as_often_as_a_test_says(tried):
    outcomes, machines = tried.result("lost")
    assert [outcome.verdict for outcome in outcomes] == ["passed", "failed"]
    assert "its kernel panicked" in outcomes[1].reason
    assert machines == 2


def test_a_hung_machine_is_told(tried):
    status, output, lost = tried.result("hung")
    assert (status, output) == (0, "".join(f"{number}\n" for number in range(1, 100001)).encode())
    assert lost.startswith("the machine hung: no answer 1 s after the limit of 1 s")
