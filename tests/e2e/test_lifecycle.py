"""Starting, stopping, being killed, and clients that leave."""
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

import configs
import http_client
import ledger
from server import run_body, wait_until

SLEEP = "echo begun; sleep ${1:-1000}"


def new_marker():
    return f"marker-{time.monotonic_ns()}"


class Background:
    """A run whose answer is taken later."""

    def __init__(self, server, code, **fields):
        self.response = None
        self.problem = None
        self.server = server
        self.body = run_body("bash", code, **fields)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            self.response = self.server.post_run(self.body)
        except (OSError, AssertionError) as problem:
            self.problem = problem

    def wait(self):
        self.thread.join(60 * configs.SLOW)
        assert not self.thread.is_alive(), "no answer"
        return self


def sleeping(server, seconds=1000):
    """A run that sleeps, once its program is there."""
    marker = new_marker()
    run = Background(server, SLEEP, args=[str(seconds), marker])
    server.wait_for_process(marker)
    return run, marker


def gone_within(marker, seconds):
    wait_until(lambda: not ledger.processes_with(marker), seconds, f"{marker} lives on")


# ---- clients that leave

@pytest.mark.quick
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_client_that_leaves_mid_run_takes_its_guest_along_within_a_second(servers, how):
    server = servers.start()
    marker = new_marker()
    with server.same_ledger():
        with server.connect() as connection:
            connection.send(http_client.request("POST", "/run", run_body("bash", SLEEP, args=["1000", marker])))
            server.wait_for_process(marker)
            if how == "reset":
                linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
                connection.socket.setsockopt(http_client.socket.SOL_SOCKET, http_client.socket.SO_LINGER, linger)
        gone_within(marker, 1)
        server.assert_works()


def test_client_that_leaves_the_queue_gives_its_place_up(servers):
    server = servers.start(runner={"max_running": 1, "queue_length": 1})
    first, marker = sleeping(server, 2 * configs.SLOW)
    with server.connect() as connection:
        connection.send(http_client.request("POST", "/run", run_body("bash", "echo never")))
        wait_until(lambda: "lambdo_runs{state=\"queued\"} 1" in server.get("/metrics").body.decode(), 5, "not queued")
    wait_until(lambda: "lambdo_runs{state=\"queued\"} 0" in server.get("/metrics").body.decode(), 2, "still queued")
    next_one = Background(server, "echo next")
    assert first.wait().response.status == 200
    assert next_one.wait().response.json()["stdout"] == "next\n"
    gone_within(marker, 1)


# ---- ending

@pytest.mark.quick
def test_sigterm_lets_runs_finish_and_takes_no_new_ones(servers):
    server = servers.start()
    runs = [sleeping(server, 1.5 * configs.SLOW)[0] for _ in range(3)]
    with server.connect() as kept:
        assert kept.exchange("GET", "/health").status == 200
        server.terminate()
        wait_until(lambda: refuses(server), 2, "the server still takes new work")
        kept_answer(kept)
    health = server.get("/health")
    assert (health.status, health.json()["status"], health.json()["running"]) == (503, "draining", 3), health
    assert "3 runs may end first; the signal again gives up what is left" in server.log()
    for run in runs:
        response = run.wait().response
        assert response is not None, run.problem
        assert response.status == 200 and response.json()["stdout"] == "begun\n", response
    assert server.wait() == 0


def refuses(server):
    """New runs are refused, with the reason and when to come back."""
    response = server.post_run(run_body("bash", "true"))
    if response.status == 200:
        return False
    assert (response.status, response.error()[0]) == (503, "shutting_down"), response
    assert int(response.header("retry-after")) >= 1
    return True


def kept_answer(connection):
    """A connection from before is closed, or told."""
    try:
        connection.send(http_client.request("GET", "/health"))
        response = connection.response()
    except OSError:
        return
    assert response is None or response.status == 503, response


def test_sigint_drains_like_sigterm(servers):
    server = servers.start()
    run, _ = sleeping(server, 1)
    server.process.send_signal(signal.SIGINT)
    assert run.wait().response.status == 200
    assert server.wait() == 0


def test_idle_server_ends_at_once(servers):
    server = servers.start()
    server.run("bash", "true")
    began = time.monotonic()
    server.terminate()
    assert server.wait() == 0
    assert time.monotonic() - began < 2 * configs.SLOW


def test_idle_connections_do_not_hold_the_end_up(servers):
    server = servers.start()
    with server.connect() as connection:
        assert connection.exchange("GET", "/health").status == 200
        began = time.monotonic()
        server.terminate()
        assert server.wait() == 0
        assert time.monotonic() - began < 2 * configs.SLOW


def test_second_sigterm_kills_what_still_runs(servers):
    server = servers.start(runner={"drain_timeout_ms": 60000})
    run, marker = sleeping(server)
    server.terminate()
    time.sleep(0.3)
    assert server.process.poll() is None, "the first signal does not wait for runs"
    began = time.monotonic()
    server.terminate()
    server.wait()
    assert time.monotonic() - began < 3 * configs.SLOW
    gone_within(marker, 1)
    response = run.wait().response
    assert response is None or response.status == 503, response


def test_drain_timeout_kills_what_still_runs(servers):
    server = servers.start(runner={"drain_timeout_ms": 700})
    run, marker = sleeping(server)
    began = time.monotonic()
    server.terminate()
    server.wait()
    assert 0.6 < time.monotonic() - began < 0.7 + 3 * configs.SLOW
    gone_within(marker, 1)
    response = run.wait().response
    assert response is None or response.status == 503, response


# ---- being killed

@pytest.mark.quick
@pytest.mark.parametrize("also_launcher", [False, True], ids=["server", "server and launcher"])
@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.4])
def test_killed_server_leaves_nothing_that_the_next_start_does_not_remove(servers, also_launcher, delay_s):
    server = servers.start(["bash", "python"])
    server.wait_warm()
    before = ledger.take(server)
    _, marker = sleeping(server)
    runs = [Background(server, "sleep 1000", args=[marker]) for _ in range(4)]
    time.sleep(delay_s)
    launchers = ledger.children(server.pid)
    assert launchers, "the launcher is no child of the server"
    if also_launcher:
        for pid in launchers:
            os.kill(pid, signal.SIGKILL)
    server.kill()
    began = time.monotonic()
    server.start()
    assert time.monotonic() - began < 5 * configs.SLOW
    gone_within(marker, 2)
    server.assert_works()
    server.wait_warm()
    ledger.wait_until_equal(before, lambda: ledger.take(server), 5 * configs.SLOW)
    for run in runs:
        # Before the server died too, it may have told that the launcher had.
        response = run.wait().response
        assert response is None or (also_launcher and response.status >= 500), response


def test_guests_of_a_killed_server_die_without_a_next_start(servers):
    server = servers.start()
    _, marker = sleeping(server)
    server.kill()
    gone_within(marker, 2)


def test_killed_launcher_is_noticed(servers):
    """Without its launcher a server can run nothing: it says so, and ends or stays down in /health."""
    server = servers.start()
    server.wait_warm()
    for pid in ledger.children(server.pid):
        os.kill(pid, signal.SIGKILL)

    def is_noticed():
        if server.process.poll() is not None:
            return server.process.returncode != 0
        try:
            return server.get("/health").status == 503
        except (OSError, AssertionError):
            return False
    wait_until(is_noticed, 5, "a server without a launcher says that it is well")
    assert "launcher" in server.log()
    server.kill()
    server.start().assert_works()


def test_agent_that_dies_mid_run_is_an_error_and_not_a_result(servers):
    server = servers.start()
    with server.same_ledger():
        run, marker = sleeping(server)
        os.kill(agent_above(server, marker), signal.SIGKILL)
        response = run.wait().response
        assert (response.status, response.error()[0]) == (502, "agent_lost"), response
        gone_within(marker, 1)
        server.assert_works()


def agent_above(server, marker):
    """The agent of the guest in which this process runs: the first process of its pid namespace."""
    below = ledger.descendants(server.pid)
    pid = next(pid for pid in below if marker in ledger.read_text(f"/proc/{pid}/cmdline"))
    while not re.search(r"^NSpid:.*\t1$", ledger.read_text(f"/proc/{pid}/status"), re.MULTILINE):
        pid = below[pid][0]
    return pid


# ---- starting

def test_second_server_on_a_state_directory_is_refused(servers):
    first = servers.start()
    first.wait_settled()
    second = servers.prepare(state_dir=first.state_dir)
    began = time.monotonic()
    assert second.spawn().wait() != 0
    assert time.monotonic() - began < 5 * configs.SLOW
    assert first.state_dir in second.log() and str(first.pid) in second.log(), second.log()
    first.assert_works()


def test_state_directory_is_free_again_after_the_end(servers):
    first = servers.start()
    first.stop()
    servers.start(state_dir=first.state_dir).assert_works()


def test_state_directory_is_for_its_owner_only(servers):
    server = servers.start()
    for folder, folders, files in os.walk(server.state_dir):
        for path in [folder, *(os.path.join(folder, name) for name in folders + files)]:
            assert os.lstat(path).st_mode & 0o077 == 0, path


def test_port_in_use_is_a_clear_error(servers):
    first = servers.start()
    second = servers.prepare(arguments=["--port", str(first.address[1])])
    assert second.spawn().wait() != 0
    assert str(first.address[1]) in second.log(), second.log()
    first.assert_works()


def test_port_of_the_command_line_goes_before_the_file(servers):
    with http_client.socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert servers.start(arguments=["--port", str(port)]).address[1] == port


def test_port_can_be_taken_again_at_once(servers):
    first = servers.start()
    first.run("bash", "true")
    port = first.address[1]
    first.stop()
    servers.start(arguments=["--port", str(port)]).assert_works()


def test_serve_is_what_happens_without_a_command(servers):
    server = servers.prepare()
    path = configs.write(server.folder, server.config)
    with open(server.log_path, "wb") as log:
        server.process = subprocess.Popen([configs.BINARY, "--config", path], stderr=log)
    wait_until(lambda: "listening" in server.log() or server.process.poll() is not None, 10, "not listening")
    server.stop()


HEAD = "apiVersion: lambdo.io/v1alpha1\nkind: Config\n"
LANGUAGES = "languages:\n  - name: bash\n    rootfs: /nonexistent\n    steps:\n      - command: bash {{filename}}\n"
# (file, line of the error or None, what the message names)
BAD_CONFIGS = [
    ("", 1, "empty"),
    ("a: [\n", None, "YAML"),
    ("kind: Config\n" + LANGUAGES, 1, "apiVersion"),
    (HEAD + "api:\n  web_port: many\n" + LANGUAGES, 4, "api.web_port"),
    (HEAD + "api:\n  web_port: 70000\n" + LANGUAGES, 4, "api.web_port"),
    (HEAD + "vmm:\n  engine: qemu\n" + LANGUAGES, 4, "vmm.engine"),
    (HEAD + "languages:\n  - steps:\n      - command: x\n", 4, "name"),
    (HEAD + "languages:\n  - name: bash\n", 4, "steps"),
    (HEAD + "languages:\n  - name: bash\n    steps:\n      - command: x {{file}}\n", 6, "{{file}}"),
    (HEAD + LANGUAGES + "limits:\n  max: {wall_ms: 0}\n", 9, "wall_ms"),
    (HEAD + LANGUAGES + "languages: []\n", 8, "languages"),
]


@pytest.mark.quick
@pytest.mark.parametrize("text, line, named", BAD_CONFIGS)
@pytest.mark.parametrize("command", [["serve", "--config"], ["config", "check"]], ids=["serve", "check"])
def test_bad_configuration_is_refused_with_file_line_and_key(tmp_path, command, text, line, named):
    path = configs.write(tmp_path, text)
    done = subprocess.run([configs.BINARY, *command, path], capture_output=True, text=True, timeout=20 * configs.SLOW)
    assert done.returncode == 1
    found = re.search(rf"{re.escape(str(path))}:(\d+): (.*)", done.stderr)
    assert found and named in found[2], done.stderr
    assert line is None or int(found[1]) == line, done.stderr


@pytest.mark.quick
@pytest.mark.parametrize("change, named", [
    ({"agent": {"path": "/nonexistent/agent"}}, "/nonexistent/agent"),
    ({"state_dir": "/proc/no/such"}, "/proc/no"),
    ({"languages": [{"name": "x", "rootfs": "/nonexistent/image", "steps": [{"command": "x"}]}]}, "/nonexistent/image"),
    ({"languages": [{"name": "x", "initramfs": "/x.img", "steps": [{"command": "x"}]}]}, "rootfs"),
    ({"vmm": {"engine": "kvm"}}, "kvm"),
])
def test_what_cannot_be_served_is_refused_by_name(servers, change, named):
    server = servers.prepare()
    server.config.update(change)
    assert server.spawn().wait() not in (0, -signal.SIGSEGV, -signal.SIGABRT)
    assert named in server.log(), server.log()


def test_configuration_file_that_is_missing_is_named(tmp_path):
    done = subprocess.run([configs.BINARY, "serve", "--config", tmp_path / "none.yaml"], capture_output=True, text=True,
                          timeout=20 * configs.SLOW)
    assert done.returncode == 1 and "none.yaml" in done.stderr


def test_ledger_sees_what_a_server_has(servers):
    """The other tests rest on it."""
    server = servers.start(["bash"], name="seen")
    server.wait_warm()
    held = ledger.take(server)
    assert any(key.startswith("cgroup ") for key in held), "the cgroups of the server are not found"
    assert held["process bwrap"] + sum(count for key, count in held.items() if "agent" in key) > 0, held
    assert sum(count for key, count in held.items() if key.startswith("server thread")) > 1
    launcher_threads = sum(count for key, count in held.items() if key.startswith("launcher thread"))
    assert launcher_threads == 1 or (configs.SANITIZED and launcher_threads > 1)
    assert any("socket" in key for key in held if key.startswith("server descriptor"))
    server.stop()
    assert not ledger.cgroup_folders(server.state_dir)


def test_logs_can_be_json_with_the_id_of_the_run(servers):
    server = servers.prepare()
    server.config["log"] = {"format": "json"}
    path = configs.write(server.folder, server.config)
    with open(server.log_path, "wb") as log:
        server.process = subprocess.Popen([configs.BINARY, "serve", "--config", path], stderr=log)
    wait_until(lambda: '"listening"' in server.log() or '"port"' in server.log(), 10, "not listening")
    line = next(line for line in map(json.loads, server.log().splitlines()) if "port" in line)
    server.address = ("127.0.0.1", line["port"])
    server.wait_for_language("bash", "ready")
    run = server.run("bash", "true")["id"]
    wait_until(lambda: run in server.log(), 2, "the run's id is not in the log")
    assert any(entry.get("run") == run for entry in map(json.loads, server.log().splitlines()))


# ---- what the server gives up

def test_every_thread_of_the_server_has_given_up_what_it_does_not_need(servers):
    server = servers.start()
    server.run("bash", "true")  # by now gRPC has its threads
    tasks = os.listdir(f"/proc/{server.pid}/task")
    assert len(tasks) > 2
    for task in tasks:
        with open(f"/proc/{server.pid}/task/{task}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        bind_low_ports = 1 << 10
        assert int(status["CapEff"], 16) & ~bind_low_ports == 0, (task, status["Name"])
        assert int(status["CapPrm"], 16) & ~bind_low_ports == 0, (task, status["Name"])
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), (task, status["Name"])
