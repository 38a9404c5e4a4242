"""The harness itself: that what fails, hangs, crashes, panics or never starts is told, and what passes passes."""
import os
import pathlib
import signal
import subprocess
import sys

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


@pytest.fixture
def setup(tmp_path):
    made = Setup(results=tmp_path / "results", memory_mib=1024)
    try:
        made.check()
    except SetupError as error:
        pytest.skip(str(error))
    return made


def test_a_lost_machine_is_replaced_as_often_as_a_test_says(setup, tmp_path):
    runner = harness.NestedRunner(setup, tmp_path)
    first = "[ -e $NESTED_RESULTS/was-here ] || { touch $NESTED_RESULTS/was-here; sync; echo c >/proc/sysrq-trigger; sleep 60; }"
    always = "echo c >/proc/sysrq-trigger; sleep 60"
    try:
        tests = [NestedTest("first", first, timeout_s=60, attempts=2), NestedTest("always", always, timeout_s=60, attempts=2)]
        outcomes = harness.run_tests([runner], tests, tmp_path)
        assert [outcome.verdict for outcome in outcomes] == ["passed", "failed"]
        assert "its kernel panicked" in outcomes[1].reason
        assert runner.machines == 3
    finally:
        runner.close()


@pytest.mark.parametrize("said, attempts, machines", [
    ("echo exc_double_fault", 2, 1),
    ("echo '<1>watchdog: BUG: soft lockup' >/dev/kmsg", 2, 3),
    ("echo a mistake", 1, 1),
])
def test_only_what_the_emulator_broke_is_tried_again(setup, tmp_path, said, attempts, machines):
    runner = harness.NestedRunner(setup, tmp_path)
    again = f"echo >>$NESTED_RESULTS/attempts; [ $NESTED_ATTEMPT = 2 ] || {{ {said}; false; }}"
    always = f"echo >>$NESTED_RESULTS/always; {said}; false"
    try:
        tests = [NestedTest("again", again, attempts=2), NestedTest("always", always, attempts=2)]
        outcomes = harness.run_tests([runner], tests, tmp_path)
        assert [outcome.verdict for outcome in outcomes] == ["passed" if attempts == 2 else "failed", "failed"]
        assert (setup.results / "attempts").read_text() == attempts * "\n"
        assert (setup.results / "always").read_text() == attempts * "\n"
        assert runner.machines == machines
    finally:
        runner.close()


def test_several_nested_hosts_share_the_tests(setup, tmp_path):
    runners = [harness.NestedRunner(setup, tmp_path / str(number)) for number in range(2)]
    # The first two pass only when both run at once.
    meet = "touch $NESTED_RESULTS/{0}; until [ -e $NESTED_RESULTS/{1} ]; do sleep 0.1; done"
    tests = [NestedTest("one", meet.format("a", "b"), timeout_s=60), NestedTest("other", meet.format("b", "a"), timeout_s=60),
             NestedTest("fails", "false"), NestedTest("passes", "true")]
    try:
        outcomes = harness.run_tests(runners, tests, tmp_path)
        assert [outcome.verdict for outcome in outcomes] == ["passed", "passed", "failed", "passed"]
        assert [runner.machines for runner in runners] == [1, 1]
    finally:
        for runner in runners:
            runner.close()


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


def test_every_outcome_in_nested_hosts(setup, tmp_path):
    readme = (ROOT / "README.md").read_bytes()
    rows = EVERYWHERE + NESTED_ONLY
    runner = harness.NestedRunner(setup, tmp_path)
    try:
        check(rows, harness.run_tests([runner], as_tests(rows), tmp_path))
        assert (setup.results / "kept").read_text() == "kept\n"
        assert (tmp_path / "output-without-end-of-line.log").read_bytes() == b"abc"
        assert (tmp_path / "forges-an-end.log").read_bytes() == b"\n\036deadbeef 0 0\n"
        assert (ROOT / "README.md").read_bytes() == readme
        assert_tells_a_hung_machine(runner.machine)
    finally:
        runner.close()


def assert_tells_a_hung_machine(machine):
    output = []
    status, _ = machine.run("seq 1 100000", 60, output.append)
    assert (status, b"".join(output)) == (0, "".join(f"{number}\n" for number in range(1, 100001)).encode())
    os.kill(machine.qemu.pid, signal.SIGSTOP)
    with pytest.raises(MachineLost, match="the machine hung: no answer 1 s after the limit of 1 s"):
        machine.run("true", 1, output.append, grace_s=1)


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
