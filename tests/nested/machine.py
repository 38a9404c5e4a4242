"""One nested host: QEMU emulates a machine with AMD SVM, in which the KVM of an ordinary kernel works.

Nothing is copied into it. virtiofsd shows it this machine's file system read-only, under the same paths, and
what is written inside goes into its memory, but for one folder of results. See docs/nested-harness.md.
"""
import base64
import os
import pathlib
import secrets
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import initramfs

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "tests" / "nested"
VIRTIOFSD = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
MODULES = ("virtio_pci", "virtio_console", "virtiofs", "overlay", "kvm-amd", "tun")
# The kernel inside trusts the emulated clock and CPU, and leaves out what only slows emulation. Its ticks come by
# themselves: an interrupt is lost now and then, and a timer that is to be set anew after each would be lost for good.
COMMAND_LINE = ("console=ttyS0 quiet loglevel=4 panic=-1 oops=panic tsc=reliable no_timer_check mitigations=off "
                "nokaslr random.trust_cpu=on highres=off nohz=off cryptomgr.notests swiotlb=noforce i8042.noaux i8042.nokbd "
                # Certificates, jitter entropy, types for BPF and names for tracing: two seconds of a boot, for nothing here.
                "initcall_blacklist=load_system_certificate_list,jent_mod_init,bpf_tcp_ca_kfunc_init,"
                "bpf_dummy_struct_ops_init,trace_eval_init")
CONSOLE_LIMIT_BYTES = 16 << 20


class MachineLost(Exception):
    """The machine ended, panicked or fell silent; the text says which, and what its console said last."""


class SetupError(Exception):
    """Something is missing on this machine; the text says what to do."""


class Setup:
    """What machines are made of: config only, many machines may use one. `folder` is made by tools/nested_host.sh."""

    def __init__(self, folder=None, results=None, memory_mib=4096, cpus=1, environment=None, counted=False):
        self.folder = pathlib.Path(folder or ROOT / "build" / "nested-host").resolve()
        self.kernel = self.folder / "vmlinuz"
        self.modules = self.folder / "modules"
        self.results = pathlib.Path(results or ROOT / "build" / "nested").resolve()
        self.memory_mib = memory_mib
        self.cpus = cpus
        self.counted = counted
        self.environment = dict(environment or {})

    def check(self):
        if os.geteuid() != 0:
            raise SetupError("the nested host needs root, for the read-only view of the file system it is shown")
        for path in (self.kernel, self.modules / "modules.dep"):
            if not path.exists():
                raise SetupError(f"{path} is missing; run ./dev test-kvm, which fetches it")
        for program in ("qemu-system-x86_64", "busybox", "unshare", "setpriv"):
            if not shutil.which(program):
                raise SetupError(f"{program} is missing; run ./dev test-kvm, which installs it")
        if not any(os.path.exists(path) for path in VIRTIOFSD):
            raise SetupError(f"none of {', '.join(VIRTIOFSD)} is there; install QEMU's or the virtiofsd package")

    def describe(self):
        """Which kernel and QEMU, of which packages."""
        def text_of(path):
            return path.read_text().strip() if path.exists() else "unknown"
        return f"kernel {text_of(self.folder / 'VERSION')}, packages: {text_of(self.folder / 'SOURCE')}"

    def qemu(self):
        """QEMU with the folders of its firmware: the one beside the kernel, else the one that is installed."""
        unpacked = self.folder / "qemu" / "usr"
        if not unpacked.exists():
            return ["qemu-system-x86_64"]
        return [str(unpacked / "bin/qemu-system-x86_64"), "-L", str(unpacked / "share/qemu"), "-L", str(unpacked / "share/seabios")]

    def archive(self):
        dependencies, builtin = ((self.modules / name).read_text() for name in ("modules.dep", "modules.builtin"))
        paths = initramfs.modules_in_order(dependencies, MODULES, builtin)
        names = [initramfs.module_name(path) + ".ko" for path in paths]
        variables = self.environment | {
            "NESTED_ROOT": ROOT, "NESTED_RESULTS": self.results, "NESTED_MODULES": self.modules,
            "NESTED_TERM": os.environ.get("TERM", "vt100")}
        exports = "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in variables.items())
        files = {
            "init": (0o755, (HERE / "guest_init.sh").read_bytes()),
            "busybox": (0o755, pathlib.Path(shutil.which("busybox")).read_bytes()),
            "nested.env": (0o644, exports.encode()),
            "modules/order": (0o644, "".join(f"{name}\n" for name in names).encode()),
        }
        files |= {f"modules/{name}": (0o644, initramfs.read_module(self.modules / path)) for name, path in zip(names, paths)}
        return initramfs.build_archive(("dev", "proc", "sys", "host", "over", "root", "modules"), files)


def with_parent(command):
    """The command, ended by the kernel when we are gone, however that came."""
    return ["setpriv", "--pdeathsig", "KILL", *command]


class Machine:
    """A running nested host. Use as a context: leaving ends it and all it started."""

    def __init__(self, setup, console_log, interactive=False):
        setup.check()
        self.setup = setup
        self.console_log = pathlib.Path(console_log)
        self.console_log.parent.mkdir(parents=True, exist_ok=True)
        self.interactive = interactive
        self.processes = []
        self.sockets = []
        self.received = b""
        self.console_bytes = 0
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nested-"))
        self.started = time.monotonic()
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in reversed(self.processes):
            # Without QEMU virtiofsd ends by itself and takes its child along; it is killed where QEMU never came.
            if process is getattr(self, "qemu", None) or not hasattr(self, "qemu"):
                process.kill()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for end in self.sockets:
            end.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self):
        self.setup.results.mkdir(parents=True, exist_ok=True)
        self._start_file_server()
        archive = self.folder / "initramfs"
        archive.write_bytes(self.setup.archive())
        self.control, control_end = self._socket_pair()
        self.console, console_end = self._socket_pair()
        # Counted: an instruction is 4 ns of its time, so what other programs do on this machine is not seen inside.
        accelerator = ["tcg,thread=single", "-icount", "shift=2"] if self.setup.counted else ["tcg,thread=multi"]
        console = "stdio,id=console,signal=off,mux=on" if self.interactive else f"socket,id=console,fd={console_end.fileno()}"
        command = [
            *self.setup.qemu(), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35,memory-backend=memory", "-accel", *accelerator, "-cpu", "EPYC,+svm,+npt",
            "-smp", str(self.setup.cpus), "-m", str(self.setup.memory_mib),
            "-object", f"memory-backend-memfd,id=memory,size={self.setup.memory_mib}M,share=on",
            "-kernel", str(self.setup.kernel), "-initrd", str(archive), "-append", COMMAND_LINE,
            "-chardev", console, "-serial", "chardev:console",
            "-chardev", f"socket,id=control,fd={control_end.fileno()}",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=control,name=control",
            "-chardev", f"socket,id=files,path={self.folder / 'files'}",
            "-device", "vhost-user-fs-pci,chardev=files,tag=host",
        ]
        if self.interactive:
            command += ["-mon", "console,mode=readline"]
        self.qemu = subprocess.Popen(
            with_parent(command), pass_fds=(control_end.fileno(), console_end.fileno()),
            stdin=None if self.interactive else subprocess.DEVNULL,
            stdout=None if self.interactive else self._log("qemu.log"), stderr=self._log("qemu.log"))
        self.processes.append(self.qemu)
        for end in (control_end, console_end):
            end.close()

    def _start_file_server(self):
        """virtiofsd cannot forbid writing, so it is given a read-only view of / with one writable folder."""
        stage = self.folder / "stage"
        stage.mkdir()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sockets.append(listener)
        listener.bind(str(self.folder / "files"))
        listener.listen(1)
        # Of further file systems those that tests need: binding / shows none that is mounted below it.
        below = [path for path in ("/usr", "/home", "/root", "/tmp", *reversed(ROOT.parents), ROOT) if os.path.ismount(path)]
        mounts = [("/", stage, "ro"), *((path, f"{stage}{path}", "ro") for path in below if str(path) != "/")]
        mounts.append((self.setup.results, f"{stage}{self.setup.results}", "rw"))
        script = "set -e\n"
        for source, target, mode in mounts:
            script += f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(target))}\n"
            script += f"mount -o remount,bind,{mode} {shlex.quote(str(target))}\n"
        program = next(path for path in VIRTIOFSD if os.path.exists(path))
        script += (f"exec {program} --fd={listener.fileno()} -f -o cache=always -o log_level=err "
                   f"-o xattr -o source={shlex.quote(str(stage))}\n")
        command = with_parent(["unshare", "--mount", "--propagation", "private", "sh", "-c", script])
        self.processes.append(subprocess.Popen(
            command, pass_fds=(listener.fileno(),), stdin=subprocess.DEVNULL, stdout=self._log("virtiofsd.log"),
            stderr=subprocess.STDOUT))

    def _socket_pair(self):
        ours, theirs = socket.socketpair()
        self.sockets += [ours, theirs]
        return ours, theirs

    def _log(self, name):
        # The child has the descriptor; ours closes with the last reference.
        return open(self.console_log.with_name(name), "wb")

    def _take_console(self):
        """Moves what the console said into its log, up to a limit."""
        data = self.console.recv(65536)
        if not data:
            return False
        mode = "ab" if self.console_bytes else "wb"
        if self.console_bytes < CONSOLE_LIMIT_BYTES:
            with open(self.console_log, mode) as log:
                log.write(data)
        self.console_bytes += len(data)
        return True

    def console_shows(self, pattern):
        """Whether the console said so since the machine's start."""
        return bool(self.console_bytes) and pattern.search(self.console_log.read_bytes()) is not None

    def _lost(self, reason):
        lines = self.console_log.read_text(errors="replace").splitlines() if self.console_bytes else []
        panic = next((line for line in lines if "Kernel panic" in line), None)
        if panic:
            reason = f"its kernel panicked: {panic.split('Kernel panic', 1)[1].lstrip(' -:')}"
        elif self.qemu.poll() is not None and "did not" not in reason:
            log = self.console_log.with_name("qemu.log").read_text(errors="replace").strip().splitlines()
            said = [line for line in log if "warning" not in line]
            reason += f" (QEMU's status {self.qemu.returncode}{': ' + said[-1] if said else ''})"
        tail = "".join(f"\n  console: {line}" for line in lines[-15:])
        return MachineLost(f"{reason}; its logs are in {self.console_log.parent}{tail}")

    def _receive(self, deadline):
        """More bytes of the control port, or None when the time is over. The console is read along the way."""
        sources = [self.control, self.console]
        while True:
            left_s = deadline - time.monotonic()
            ready = select.select(sources, [], [], max(0, left_s))[0]
            if self.console in ready and not self._take_console():
                sources.remove(self.console)
            if self.control in ready:
                data = self.control.recv(65536)
                if data:
                    return data
                self.qemu.wait(10)
                while self.console in sources and select.select([self.console], [], [], 0)[0] and self._take_console():
                    pass
                raise self._lost("the machine ended by itself")
            if left_s <= 0:
                return None

    def wait_ready(self, limit_s):
        """Waits until the machine takes commands; gives the seconds since its start."""
        deadline = time.monotonic() + limit_s
        while b"\n" not in self.received:
            data = self._receive(deadline)
            if data is None:
                raise self._lost(f"the machine did not start in {limit_s} s")
            self.received += data
        line, _, self.received = self.received.partition(b"\n")
        if not line.startswith(b"ready "):
            raise self._lost(f"the machine began with {line[:80]!r}")
        return time.monotonic() - self.started

    def run(self, command, limit_s, on_output, grace_s=30):
        """Runs a shell command; its output goes to on_output(bytes). Gives (status, seconds inside).

        A command that takes longer than limit_s is killed inside (status 137); a machine that does not even
        manage that within grace_s more is MachineLost.
        """
        nonce = secrets.token_hex(16)
        encoded = base64.b64encode(command.encode()).decode()
        try:
            self.control.sendall(f"run {nonce} {limit_s} {encoded}\n".encode())
        except OSError:
            raise self._lost("the machine ended by itself") from None
        deadline = time.monotonic() + limit_s + grace_s
        mark = f"\n\036{nonce} ".encode()
        pending = b""
        while True:
            before, found, after = pending.partition(mark)
            if found and b"\n" in after:
                on_output(before)
                status, seconds = after.split()[:2]
                return int(status), float(seconds)
            if not found:
                # All but what may be the beginning of the mark.
                kept = next((size for size in range(min(len(mark), len(pending)), 0, -1)
                             if mark.startswith(pending[-size:])), 0)
                on_output(pending[:len(pending) - kept])
                pending = pending[len(pending) - kept:]
            data = self._receive(deadline)
            if data is None:
                on_output(pending)
                raise self._lost(f"the machine hung: no answer {grace_s} s after the limit of {limit_s} s")
            pending += data

    def shell(self):
        """Gives the terminal to a shell inside until it ends."""
        size = shutil.get_terminal_size()
        self.control.sendall(f"shell {size.lines} {size.columns}\n".encode())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return self.qemu.wait()
