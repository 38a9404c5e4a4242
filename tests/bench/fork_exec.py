"""What a run is compared with: fork+exec of the same program from the same files, without any sandbox.

The worker is a process of its own that has entered the image with chroot once, in a mount namespace with a tmpfs on
/workspace. It starts the program with posix_spawn (vfork and exec: the cheapest start that there is), reads what it
prints to the end and waits for it. What it measures is from before posix_spawn to after waitpid.
"""
import json
import os
import subprocess
import sys
import time

import configs

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class ForkExec:
    """`image` None: the host's own files."""

    def __init__(self, image, program, file_name, content):
        setup = "true"
        if image is not None:
            setup = f"mount -t tmpfs workspace '{image}/workspace' && mount -t proc proc '{image}/proc'"
        self.worker = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", f"{setup} && exec \"$@\"", "sh", sys.executable, __file__,
             json.dumps([str(image) if image else None, program, file_name, content])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})

    def measure_ns(self):
        self.worker.stdin.write(b"\n")
        self.worker.stdin.flush()
        return int(self.worker.stdout.readline())

    def close(self):
        self.worker.stdin.close()
        self.worker.wait(10)


def start_and_wait(program, arguments, nothing):
    began = time.perf_counter_ns()
    reading, writing = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_DUP2, writing, 2)]
    child = os.posix_spawn(program, arguments, ENVIRONMENT, file_actions=actions)
    os.close(writing)
    output = b""
    while data := os.read(reading, 65536):
        output += data
    _, status = os.waitpid(child, 0)
    ended = time.perf_counter_ns()
    os.close(reading)
    if status != 0 or output != b"hello\n":
        raise SystemExit(f"{arguments} gave status {status} and {output!r}")
    return ended - began


def main():
    image, program, file_name, content = json.loads(sys.argv[1])
    nothing = os.open("/dev/null", os.O_RDONLY)
    if image:
        os.chroot(image)
        os.chdir("/workspace")
    else:
        os.chdir(os.environ.get("TMPDIR", "/tmp"))
    path = f"{os.getcwd()}/{file_name}"
    # No open(): it would look for its codec in the image.
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(file, content.encode())
    os.close(file)
    while os.read(0, 1):
        os.write(1, b"%d\n" % start_and_wait(program, [program, path], nothing))
    os.unlink(path)


if __name__ == "__main__":
    main()
