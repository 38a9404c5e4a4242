"""A server under test: started from a generated configuration, asked, stopped, held to account for what it holds."""
import contextlib
import os
import re
import signal
import subprocess
import time

import configs
import http_client
import ledger

LISTENING = re.compile(r"listening.*\bhost=\"?([^\" ]+)\"?.*\bport=(\d+)")


class Server:
    def __init__(self, folder, config, arguments=()):
        self.folder = folder
        self.config = config
        self.arguments = arguments
        self.state_dir = config["state_dir"] if isinstance(config, dict) else str(folder / "state")
        self.temporary_dir = folder / "tmp"
        self.log_path = folder / "server.log"
        self.process = None
        self.address = None
        self.environment = {}

    # ---- life

    def spawn(self):
        """Starts the process without waiting for anything."""
        self.temporary_dir.mkdir(parents=True, exist_ok=True)
        config_path = configs.write(self.folder, self.config)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [configs.BINARY, "serve", "--config", config_path, *self.arguments], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(self.temporary_dir), **self.environment})
        return self

    def start(self, wait_for_images=True):
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.spawn()
        deadline = time.monotonic() + 30 * configs.SLOW
        while not (match := LISTENING.search(self.log()[log_start:])):
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log()}"
            assert time.monotonic() < deadline, f"the server does not listen:\n{self.log()}"
            time.sleep(0.005)
        self.address = (match[1], int(match[2]))
        while self.get("/health").status != 200:
            assert time.monotonic() < deadline, f"the server is not healthy:\n{self.log()}"
            time.sleep(0.01)
        while wait_for_images and (missing := self.not_ready()):
            assert time.monotonic() < deadline, f"languages are not ready: {missing}\n{self.log()}"
            time.sleep(0.01)
        return self

    def not_ready(self):
        """Name and detail of the languages whose guests cannot be started yet."""
        return [(entry["language"], entry["detail"]) for entry in self.get("/health").json()["languages"]
                if entry["state"] != "ready"]

    def wait_for_language(self, name, state, timeout_s=30):
        def there():
            return any(entry["language"] == name and entry["state"] == state
                       for entry in self.get("/health").json()["languages"])
        wait_until(there, timeout_s, f"{name} is not {state}: {self.get('/health')}\n{self.log()}")

    @property
    def pid(self):
        return self.process.pid

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s=30):
        """The exit status; a server that does not end is killed and failed."""
        try:
            return self.process.wait(timeout_s * configs.SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not end within {timeout_s * configs.SLOW} s:\n{self.log()}") from None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """A server that may still be running is stopped, and must leave well and leave nothing."""
        if self.process.poll() is None:
            self.terminate()
            assert self.wait() == 0, f"the server ended with status {self.process.returncode}:\n{self.log()}"

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # ---- requests

    def connect(self, timeout_s=60):
        return http_client.Connection(self.address, timeout_s * configs.SLOW)

    def get(self, path, headers=()):
        return http_client.exchange(self.address, "GET", path, headers=headers)

    def post_run(self, body, timeout_s=60):
        return http_client.exchange(self.address, "POST", "/run", body, timeout_s=timeout_s * configs.SLOW)

    def run(self, language, code, timeout_s=60, **fields):
        """The answer to a run that must give one. `code` is the text of one file, or a dictionary of files."""
        response = self.post_run(run_body(language, code, **fields), timeout_s)
        assert response.status == 200, response
        return response.json()

    def assert_works(self):
        """It answers, and the next run succeeds."""
        assert self.get("/health").status == 200
        answer = self.run("bash", "echo still here")
        assert (answer["status"], answer["stdout"]) == (0, "still here\n"), answer

    # ---- what it holds

    def wait_warm(self, timeout_s=30):
        deadline = time.monotonic() + timeout_s * configs.SLOW
        while not all(pool["ready"] >= pool["target"] for pool in self.get("/health").json()["pools"]):
            assert time.monotonic() < deadline, f"the pools do not fill: {self.get('/health')}\n{self.log()}"
            time.sleep(0.01)

    def wait_settled(self, timeout_s=10):
        """Full pools, and the guests in them are all that there are: those before are gone to the last cgroup."""
        self.wait_warm()
        deadline = time.monotonic() + timeout_s * configs.SLOW
        while (guests := ledger.count_guests(self)) != {sum(pool["ready"] for pool in self.get("/health").json()["pools"])}:
            assert time.monotonic() < deadline, f"guests that are in no pool: {guests}\n{self.log()[-2000:]}"
            time.sleep(0.01)

    @contextlib.contextmanager
    def same_ledger(self, timeout_s=10):
        """What happens inside must leave the server with what it had."""
        self.wait_settled()
        before = ledger.take(self)
        yield
        self.wait_warm()
        ledger.wait_until_equal(before, lambda: ledger.take(self), timeout_s * configs.SLOW)

    def command_lines(self):
        return ledger.commands_below(self.pid)

    def wait_for_process(self, marker, timeout_s=10):
        wait_until(lambda: any(marker in line for line in self.command_lines()), timeout_s,
                   f"no process with {marker} below the server")


FILE_NAMES = {"bash": "main.sh", "python": "main.py", "node": "main.js", "c": "main.c"}


def run_body(language, code, **fields):
    files = code if isinstance(code, dict) else {FILE_NAMES.get(language.lower(), "main.txt"): code}
    entries = [{"filename": name, "content": content} for name, content in files.items()]
    return {"language": language, "version": "", "input": "", "code": entries, **fields}


def wait_until(condition, timeout_s, what):
    deadline = time.monotonic() + timeout_s * configs.SLOW
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_s * configs.SLOW} s: {what}"
        time.sleep(0.005)
