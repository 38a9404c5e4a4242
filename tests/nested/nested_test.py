"""What a test for the nested host is, and what came of it."""
import dataclasses
import re
import signal

SKIPPED_STATUS = 77
KILLED_STATUS = 128 + signal.SIGKILL
# What emulation does to a kernel under a kernel, once in some hundred VMs: an exception on a wrong stack, or a lost task.
EMULATORS_FAULT = re.compile(rb"double_fault|triple fault|stack recursion|corrupted stack end|scheduling while atomic|"
                             rb"stack guard page|Fatal exception in interrupt|detected stalls on CPUs|soft lockup")


@dataclasses.dataclass(frozen=True)
class NestedTest:
    """A shell command that passes with status 0; 77 means skipped, its last line being the reason.

    It runs in the project's folder, as root, in process and mount namespaces of its own, with the paths of this
    machine. What it writes is gone afterwards, but for files under $NESTED_RESULTS. `files` must be there
    before anything starts. Emulation is 10 to 50 times slower than the machine: be generous with timeout_s.
    """
    name: str
    command: str
    files: tuple = ()
    timeout_s: int = 120
    # How often it may lose its machine, or a guest by the emulator's fault, until it has failed. $NESTED_ATTEMPT counts from 1.
    attempts: int = 1


@dataclasses.dataclass
class Outcome:
    verdict: str  # passed, failed, skipped
    reason: str = ""
    seconds: float = 0


def judge(status, seconds, limit_s, last_line=""):
    """The outcome of a command that ended with a shell's status."""
    if status == 0:
        return Outcome("passed", "", seconds)
    if status == SKIPPED_STATUS:
        return Outcome("skipped", last_line or "it gave no reason", seconds)
    if status == KILLED_STATUS and seconds >= limit_s:
        return Outcome("failed", f"it was cut after its limit of {limit_s} s", seconds)
    if 128 < status < 128 + signal.NSIG:
        return Outcome("failed", f"it was killed by {signal.Signals(status - 128).name}", seconds)
    return Outcome("failed", f"status {status}", seconds)
