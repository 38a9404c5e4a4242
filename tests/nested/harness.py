"""Runs the KVM suites: in a nested host, or directly where this machine's own KVM is usable.

A test that fails, hangs, takes the machine down or never runs makes the run fail; after a lost machine the
remaining tests get a new one. All tests are spread over two nested hosts. The last line is "N passed, N failed[, N skipped]".
"""
import argparse
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from machine import ROOT, Machine, MachineLost, Setup, SetupError
from nested_test import EMULATORS_FAULT, SKIPPED_STATUS, NestedTest, Outcome, judge
import guest_images
import suites

LOG_TAIL_LINES = 40
BOOT_ATTEMPTS = 3


def say(*lines):
    """Whole lines, also where several threads have something to say."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


class Log:
    """A test's output: all of it in a file, its end for messages, and on the terminal while it comes if asked."""

    def __init__(self, path, live):
        self.path = path
        self.live = live
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "wb")
        self.start = 0

    def write(self, data):
        self.file.write(data)
        self.file.flush()
        if self.live:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def begin(self):
        """Another attempt."""
        self.start = self.file.tell()

    def shows(self, pattern):
        """Whether this attempt's output has it."""
        return pattern.search(self.path.read_bytes(), self.start) is not None

    def end(self):
        """Closes the file; gives its last lines."""
        self.file.close()
        with open(self.path, errors="replace") as file:
            return list(collections.deque((line.rstrip() for line in file if line.strip()), LOG_TAIL_LINES))


class NestedRunner:
    """Runs tests in a nested host, which starts with the first of them and again after it was lost."""
    emulated = True

    def __init__(self, setup, logs, boot_limit_s=120):
        self.setup = setup
        self.logs = logs
        self.boot_limit_s = boot_limit_s
        self.machine = None
        self.machines = 0

    def run(self, test, log, attempt):
        attempts_left = BOOT_ATTEMPTS
        while self.machine is None:
            attempts_left -= 1
            self._boot(attempts_left)
        return self.machine.run(f"NESTED_ATTEMPT={attempt}; {test.command}", test.timeout_s, log.write)

    def _boot(self, attempts_left):
        self.machines += 1
        self.machine = Machine(self.setup, self.logs / f"machine-{self.machines}" / "console.log")
        try:
            ready_s = self.machine.wait_ready(self.boot_limit_s)
        except MachineLost as lost:
            self.close()
            if not attempts_left:
                raise
            say(f"nested: the nested host did not come up, which is tried again: {lost}")
        else:
            say(f"nested: the nested host was ready after {ready_s:.1f} s")

    def is_broken(self):
        """Whether the machine's own kernel shows signs of the emulator's faults."""
        return self.machine is not None and self.machine.console_shows(EMULATORS_FAULT)

    def close(self):
        if self.machine is not None:
            self.machine.close()
            self.machine = None


class DirectRunner:
    """Runs tests on this machine, in namespaces as the nested host would."""
    emulated = False

    def __init__(self, environment):
        self.environment = os.environ | environment

    def run(self, test, log, attempt):
        start = time.monotonic()
        command = ["timeout", "--signal=KILL", str(test.timeout_s), "unshare", "--fork", "--pid", "--kill-child",
                   "--mount-proc", "sh", "-c", f"{test.command}\nexit $?"]
        environment = self.environment | {"NESTED_ATTEMPT": str(attempt)}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            while data := process.stdout.read1():
                log.write(data)
        status = process.returncode if process.returncode >= 0 else 128 - process.returncode
        return status, time.monotonic() - start

    def close(self):
        pass


def run_test(runner, test, log):
    """The outcome of one test, whatever happens to the machine."""
    missing = [path for path in test.files if not (ROOT / path).exists()]
    if missing:
        return Outcome("failed", f"{missing[0]} is missing: build it first")
    for attempt in range(1, test.attempts + 1):
        log.begin()
        last = attempt == test.attempts
        try:
            status, seconds = runner.run(test, log, attempt)
        except MachineLost as lost:
            runner.close()
            if last:
                return Outcome("failed", str(lost))
            say(f"nested: {test.name}: the nested host was lost, which starts again with a new one: {lost}")
            continue
        if last or status in (0, SKIPPED_STATUS) or not runner.emulated:
            break
        if runner.is_broken():
            runner.close()
        elif not log.shows(EMULATORS_FAULT):
            break
        say(f"nested: {test.name}: failed, and the emulator broke a kernel meanwhile: once more")
    lines = log.end()
    return judge(status, seconds, test.timeout_s, lines[-1] if lines else "")


def run_and_tell(runner, test, logs, live):
    log = Log(logs / f"{test.name}.log", live)
    outcome = run_test(runner, test, log)
    tail = log.end()
    reason = f": {outcome.reason}" if outcome.reason else ""
    lines = [f"nested: {test.name}: {outcome.verdict} ({outcome.seconds:.1f} s){reason}"]
    if outcome.verdict == "failed" and not live:
        lines += [f"  the end of {log.path}:", *(f"  | {line}" for line in tail)]
    say(*lines)
    return outcome


def run_tests(runners, tests, logs, live=False):
    """Runs all tests, on each of the runners one after another, and says what came of each; gives the outcomes."""
    outcomes = {}
    waiting = collections.deque(tests)

    def work(runner):
        while True:
            try:
                test = waiting.popleft()
            except IndexError:
                return
            outcomes[test] = run_and_tell(runner, test, logs, live)

    # Ends with this process, and QEMU with its thread.
    others = [threading.Thread(target=work, args=(runner,), daemon=True) for runner in runners[1:]]
    for thread in others:
        thread.start()
    work(runners[0])
    for thread in others:
        thread.join()
    return [outcomes.get(test, Outcome("failed", "it did not run")) for test in tests]


def count(outcomes):
    verdicts = collections.Counter(outcome.verdict for outcome in outcomes)
    return verdicts["passed"], verdicts["failed"], verdicts["skipped"]


def kvm_is_usable(build):
    """Whether this machine's own KVM passes the probe, as lambdo doctor says."""
    program = ROOT / build / "src/cli/lambdo-server"
    if not program.exists():
        return False
    done = subprocess.run([program, "doctor", "--json"], stdout=subprocess.PIPE, timeout=60, check=False)
    try:
        findings = json.loads(done.stdout)["findings"]
    except ValueError:
        sys.exit(f"{program} doctor --json gave no JSON: build it anew")
    return any(finding["name"] == "kvm" and finding["grade"] == "ok" for finding in findings)


def choose(tests, wanted):
    """The wanted tests; a name may be the beginning of several."""
    chosen = []
    for name in wanted:
        found = [test for test in tests if test.name == name] or [test for test in tests if test.name.startswith(name)]
        if not found:
            sys.exit(f"error: there is no test '{name}'; there are: {', '.join(test.name for test in tests)}")
        chosen += found
    return list(dict.fromkeys(chosen)) or tests


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev test-kvm", description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", metavar="TEST", help="names or their beginnings; all tests without any")
    parser.add_argument("--shell", action="store_true", help="an interactive shell inside, with everything in place")
    parser.add_argument("--command", metavar="TEXT", help="run this shell command inside instead of tests")
    parser.add_argument("--list", action="store_true", help="say which tests there are")
    parser.add_argument("--on", choices=("auto", "nested", "direct"), default="auto",
                        help="where: auto takes this machine's KVM where the probe finds it usable")
    parser.add_argument("--build", default="build/release", help="folder with what is tested (default %(default)s)")
    parser.add_argument("--kernel", default="build/guest-kernel", help="of guests: the folder made by ./dev guest-kernel")
    parser.add_argument("--host", default="build/nested-host", help="kernel and QEMU of the nested host: the folder made by tools/nested_host.sh")
    parser.add_argument("--memory", type=int, default=4096, metavar="MIB", help="of the nested host (default %(default)s)")
    parser.add_argument("--cpus", type=int, default=1, help="of the nested host (default %(default)s)")
    parser.add_argument("--hosts", type=int, default=2, help="nested hosts at once for several tests (default %(default)s)")
    parser.add_argument("--counted", action="store_true",
                        help="a nested host of one CPU whose time is the instructions it executes: repeatable")
    parser.add_argument("--logs", default="build/logs/nested", help="folder for output and console (default %(default)s)")
    parser.add_argument("--results", default="build/nested", help="folder that tests may write ($NESTED_RESULTS)")
    parser.add_argument("--counts", metavar="FILE", help='write "PASSED FAILED SKIPPED" there')
    parser.add_argument("-v", "--verbose", action="store_true", help="show output as it comes; so by default with TEST")
    return parser.parse_args()


def make_setup(arguments):
    environment = {
        "LAMBDO_BUILD": ROOT / arguments.build, "LAMBDO_BIN": ROOT / arguments.build / "src/cli/lambdo",
        "LAMBDO_AGENT": ROOT / arguments.build / "agent/lambdo-agent", "LAMBDO_GUEST_KERNEL": ROOT / arguments.kernel,
        "NESTED_RESULTS": (ROOT / arguments.results).resolve()}
    return Setup(folder=ROOT / arguments.host, results=ROOT / arguments.results, memory_mib=arguments.memory,
                 cpus=1 if arguments.counted else arguments.cpus, counted=arguments.counted,
                 environment={name: str(value) for name, value in environment.items()})


def make_runners(arguments, setup, logs, direct, alone):
    if direct:
        return [DirectRunner(setup.environment)]
    hosts = 1 if alone else arguments.hosts
    return [NestedRunner(setup, logs / f"host-{number + 1}" if hosts > 1 else logs) for number in range(hosts)]


def run_shell(setup, logs):
    with Machine(setup, logs / "machine-shell" / "console.log", interactive=True) as machine:
        machine.wait_ready(180)
        return machine.shell()


def main():
    arguments = parse_arguments()
    logs = ROOT / arguments.logs
    tests = suites.suites(arguments.build, arguments.kernel)
    if arguments.list:
        print(*(test.name for test in tests), sep="\n")
        return 0
    setup = make_setup(arguments)
    if arguments.shell:
        return run_shell(setup, logs)
    chosen = choose(tests, arguments.tests)
    if arguments.command:
        chosen = [NestedTest("command", arguments.command, timeout_s=86400)]
    direct = not arguments.counted and (
        arguments.on == "direct" or (arguments.on == "auto" and kvm_is_usable(arguments.build)))
    print("nested: directly, this machine's KVM is usable" if direct else f"nested: in a nested host, {setup.describe()}", flush=True)
    guest_images.prepare(arguments.build)
    live = bool(arguments.verbose or arguments.tests or arguments.command)
    runners = make_runners(arguments, setup, logs, direct, live or len(chosen) == 1)
    try:
        outcomes = run_tests(runners, chosen, logs, live)
    finally:
        for runner in runners:
            runner.close()
    counts = count(outcomes)
    if arguments.counts:
        pathlib.Path(arguments.counts).write_text(" ".join(map(str, counts)) + "\n")
    print(f"{counts[0]} passed, {counts[1]} failed" + (f", {counts[2]} skipped" if counts[2] else ""))
    return 1 if counts[1] or not counts[0] + counts[2] else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(main())
    except SetupError as error:
        print(f"error: {error}\n0 passed, 1 failed", file=sys.stderr)
        sys.exit(1)
    except MachineLost as lost:
        print(f"error: {lost}\n0 passed, 1 failed", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
