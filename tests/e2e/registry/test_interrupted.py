"""Pulls that end in the middle, by ^C or by kill -9, and servers that serve while they pull."""
import json
import os
import pathlib
import random
import signal
import time

import pytest

import configs
import image_tool
import small_images
from registry_fixtures import need_tools
from scripted_registry import ScriptedRegistry, slow_blobs
from server import wait_until

KILLS = 50


@pytest.fixture
def slow():
    made = ScriptedRegistry(slow_blobs())
    yield made
    made.close()


def start_pull(reference, store, *arguments):
    return image_tool.start("pull", "--plain-http", reference.partition("/")[0], *arguments, reference, store=store)


def wait_for_blob(registry, timeout_s=20):
    deadline = time.monotonic() + timeout_s * configs.SLOW
    while not registry.asked("/blobs/"):
        assert time.monotonic() < deadline, "nobody asks for a blob"
        time.sleep(0.01)


@pytest.mark.parametrize("which, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_pull_and_leaves_nothing_half_made(slow, tmp_path, which, status):
    reference = slow.add(small_images.standard())
    pulling = start_pull(reference, tmp_path / "store")
    wait_for_blob(slow)
    time.sleep(0.3)
    began = time.monotonic()
    pulling.send_signal(which)
    _, errors = pulling.communicate(timeout=20 * configs.SLOW)
    assert time.monotonic() - began < 5 * configs.SLOW
    assert (pulling.returncode, "interrupted" in errors) == (status, True), errors
    store = tmp_path / "store"
    assert image_tool.leftovers(store) == []
    assert list((store / "rootfs").iterdir()) == list((store / "names").iterdir()) == []


def test_progress_without_a_terminal_is_a_line_for_each_layer_and_phase(registry, tmp_path):
    done = image_tool.run("pull", "--plain-http", registry.host, f"{registry.host}/test/oci:1", store=tmp_path / "store")
    assert done.returncode == 0, done
    lines = done.stderr.splitlines()
    for phase in ("fetching (", "fetched", "unpacking", "unpacked"):
        assert sum(f" {phase}" in line for line in lines) == 2, (phase, lines)
    assert "\x1b" not in done.stderr
    assert done.stdout == f"{registry.host}/test/oci:1 {image_tool.pull(f'{registry.host}/test/oci:1', tmp_path / 'store')['digest']}\n"


def test_progress_on_a_terminal_fits_it_and_is_redrawn(slow, tmp_path):
    import fcntl
    import pty
    import struct
    import subprocess
    import termios
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 70, 0, 0))
    slow.change = slow_blobs(64 << 10, 0.02)
    reference = slow.add(small_images.build([[small_images.file("data", os.urandom(3 << 20))] for _ in range(3)]))
    process = subprocess.Popen(
        [configs.BINARY, "image", "pull", "--plain-http", slow.host, reference, "--store", tmp_path / "store"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=follower, env={**os.environ, "TERM": "xterm"})
    os.close(follower)
    text = b""
    try:
        while piece := os.read(leader, 65536):
            text += piece
    except OSError:
        pass
    assert process.wait(30) == 0, text
    os.close(leader)
    frames = text.decode().split("\x1b[4A")
    assert len(frames) >= 3, "it was drawn again"
    for line in text.decode().replace("\x1b[4A", "").replace("\x1b[1A", "").replace("\x1b[K", "").replace("\x1b[J", "").split("\n"):
        assert len(line.replace("\r", "")) < 70 or line.startswith("in the store "), repr(line)
    assert "%" in text.decode() and "[=" in text.decode()


def test_a_pull_that_was_killed_anywhere_is_done_right_by_the_next(registry, tmp_path):
    need_tools()
    whole = tmp_path / "whole"
    layers = [small_images.shell_layer(), *([small_images.file(f"data{i}", os.urandom(1 << 20))] for i in range(4)),
              small_images.changes_layer()]
    reference = registry.push(small_images.write_layout(tmp_path / "layout", small_images.build(layers)), "test/killed:1")
    began = time.monotonic()
    expected = image_tool.snapshot(image_tool.pull(reference, whole)["rootfs"])
    takes_s = time.monotonic() - began
    chance = random.Random(4)
    store = tmp_path / "store"
    killed = 0
    for number in range(KILLS):
        if number % 10 == 0:
            image_tool.run("rm", reference, store=store)
            image_tool.run("prune", store=store)
        pulling = start_pull(reference, store, "--quiet")
        time.sleep(chance.uniform(0, takes_s))
        pulling.kill()
        pulling.communicate()
        killed += pulling.returncode == -signal.SIGKILL
        if number % 5 == 4:
            pulled = image_tool.pull(reference, store)
            assert image_tool.snapshot(pulled["rootfs"]) == expected
            assert image_tool.leftovers(store) == []
            image_tool.run("rm", reference, store=store)
            image_tool.run("prune", store=store)
    assert killed > KILLS // 4, "most pulls were over before they could be killed"
    assert image_tool.pull(reference, store)["digest"]
    assert image_tool.leftovers(store) == []
    names = {path.relative_to(store).parts[0] for path in pathlib.Path(store).rglob("*")}
    assert names == {path.relative_to(whole).parts[0] for path in pathlib.Path(whole).rglob("*")}
    assert len(list((store / "blobs/sha256").iterdir())) == len(list((whole / "blobs/sha256").iterdir()))


def test_a_server_serves_others_while_an_image_comes(servers, slow, tmp_path):
    reference = slow.add(small_images.standard())
    made = servers.prepare(["bash"], registries={"hosts": {slow.host: {"plain_http": True}}},
                           images={"store": str(tmp_path / "store")})
    made.config["languages"].append({"name": "shell", "image": reference, "warm": 1,
                                     "steps": [{"command": "sh {{filename}}"}]})
    made.start(wait_for_images=False)
    made.wait_for_language("bash", "ready")
    made.wait_for_language("shell", "fetching")
    made.assert_works()
    body = {"language": "shell", "code": [{"filename": "main.sh", "content": "id -u"}]}
    answer = made.post_run(body)
    assert answer.status == 503 and answer.json()["error"]["code"] == "unavailable", answer
    assert "being fetched" in answer.json()["error"]["message"]
    wait_until(lambda: next(entry["done_bytes"] for entry in made.get("/health").json()["languages"]
                            if entry["language"] == "shell") > 0, 20, "no progress is told")
    states = {entry["name"]: entry["state"] for entry in made.get("/languages").json()["languages"]}
    assert states == {"bash": "ready", "shell": "fetching"}
    slow.change = None
    made.wait_for_language("shell", "ready", 60)
    assert made.post_run(body).json()["stdout"] == "1234\n"
    # What it runs from stays, whoever prunes.
    assert image_tool.run("rm", reference, store=tmp_path / "store").returncode == 0
    freed = json.loads(image_tool.run("prune", "--json", store=tmp_path / "store").stdout)
    assert freed["rootfs"] == 0, freed
    assert made.post_run(body).json()["stdout"] == "1234\n"


def test_a_server_that_is_stopped_while_it_pulls_leaves_nothing(servers, slow, tmp_path):
    made = servers.prepare(["bash"], registries={"hosts": {slow.host: {"plain_http": True}}},
                           images={"store": str(tmp_path / "store")})
    made.config["languages"].append({"name": "shell", "image": slow.add(small_images.standard()), "warm": 1,
                                     "steps": [{"command": "sh {{filename}}"}]})
    made.start(wait_for_images=False)
    made.wait_for_language("bash", "ready")
    wait_for_blob(slow)
    made.stop()
    assert image_tool.leftovers(tmp_path / "store") == []


def test_an_image_that_cannot_be_had_yet_is_tried_again(servers, tmp_path):
    made = ScriptedRegistry()
    image = small_images.standard()
    reference = f"{made.host}/test/image:1"
    serving = servers.prepare([], registries={"hosts": {made.host: {"plain_http": True}}},
                              images={"store": str(tmp_path / "store")})
    serving.config["languages"] = [{"name": "shell", "image": reference, "warm": 0,
                                    "steps": [{"command": "sh {{filename}}"}]}]
    serving.start(wait_for_images=False)
    serving.wait_for_language("shell", "failed")
    assert serving.get("/health").status == 200
    made.add(image)
    serving.wait_for_language("shell", "ready")
    assert "could not be made ready" in serving.log()
    made.close()
