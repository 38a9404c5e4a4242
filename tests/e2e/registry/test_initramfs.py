"""`lambdo initramfs`, the original tool's flags, and the ready-made languages in the default images."""
import gzip
import os
import subprocess

import pytest

import configs
import small_images
from conftest import need_images
from scripted_registry import ScriptedRegistry, slow_blobs
from server import wait_until


def run(folder, *arguments):
    return subprocess.run([configs.BINARY, "initramfs", *arguments], cwd=folder, capture_output=True, text=True,
                          timeout=60 * configs.SLOW, env={**os.environ, "TMPDIR": str(folder / "tmp")})


@pytest.fixture
def folder(tmp_path):
    for name in ("init", "agent", "config.yaml"):
        (tmp_path / name).write_text(f"ours: {name}\n")
    (tmp_path / "tmp").mkdir()
    return tmp_path


def unpack(archive, folder):
    folder.mkdir()
    subprocess.run(["cpio", "--extract", "--quiet", "--make-directories"], cwd=folder, input=archive, check=True,
                   capture_output=True)
    return folder


def test_the_original_flags_give_the_original_layout(registry, folder):
    done = run(folder, "--image", "test/oci:1", "--registry-url", f"http://{registry.host}/v2/")
    assert (done.returncode, done.stdout) == (0, "initramfs-test-oci-1.img\n"), done
    archive = gzip.decompress((folder / "initramfs-test-oci-1.img").read_bytes())
    assert archive.startswith(b"070701")
    root = unpack(archive, folder / "root")
    for name in ("init", "agent", "config.yaml"):
        assert (root / name).read_text() == f"ours: {name}\n"
    assert os.access(root / "init", os.X_OK) and os.access(root / "agent", os.X_OK)
    assert (root / "data/replaced").read_text() == "new\n" and not (root / "data/hidden").exists()
    again = run(folder, "-i", "test/oci:1", "-r", f"http://{registry.host}/v2", "-o", "again.img")
    assert again.returncode == 0, again
    assert (folder / "again.img").read_bytes() == (folder / "initramfs-test-oci-1.img").read_bytes()
    assert list((folder / "tmp").iterdir()) == []


def test_tokens_come_from_where_the_flag_says(folder):
    def closed(request, answer):
        if request.path.startswith("/token"):
            answer.status, answer.body = 200, b'{"token": "a.b.c"}'
        elif request.headers.get("Authorization") != "Bearer a.b.c":
            answer.status, answer.body = 401, b"{}"
            answer.headers["WWW-Authenticate"] = 'Bearer realm="http://127.0.0.1:1/token",service="x"'

    registry = ScriptedRegistry(closed)
    registry.add(small_images.standard())
    base = f"http://{registry.host}"
    done = run(folder, "-i", "test/image:1", "-r", f"{base}/v2", "-a", f"{base}/token", "--compression", "none", "-o", "x")
    assert done.returncode == 0, done
    assert registry.asked("/token") and (folder / "x").read_bytes().startswith(b"070701")
    registry.close()


def test_what_a_killed_command_left_is_gone_after_the_next(folder):
    registry = ScriptedRegistry(slow_blobs())
    registry.add(small_images.standard())
    arguments = ["-i", "test/image:1", "-r", f"http://{registry.host}/v2", "-o", "x", "--quiet"]
    killed = subprocess.Popen([configs.BINARY, "initramfs", *arguments], cwd=folder,
                              env={**os.environ, "TMPDIR": str(folder / "tmp")})
    wait_until(lambda: registry.asked("/blobs/"), 20, "nobody asks for a blob")
    killed.kill()
    killed.wait()
    assert len(list((folder / "tmp").iterdir())) == 1
    # As if it had been killed while it wrote, and by another user.
    (folder / "x.lambdo-part").write_bytes(b"longer than the archive" * 1_000_000)
    (folder / "x.lambdo-part").chmod(0)
    registry.change = None
    done = run(folder, *arguments)
    assert done.returncode == 0, done
    assert list((folder / "tmp").iterdir()) == []
    assert not (folder / "x.lambdo-part").exists() and gzip.decompress((folder / "x").read_bytes()).startswith(b"070701")
    registry.close()


def test_a_damaged_layer_of_the_store_is_fetched_again_by_the_next(registry, folder, tmp_path):
    store = tmp_path / "store"
    arguments = ["-i", "test/oci:1", "-r", f"http://{registry.host}/v2", "--store", str(store), "-o", "x"]
    assert run(folder, *arguments).returncode == 0
    good = (folder / "x").read_bytes()
    largest = max((store / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    broken = run(folder, *arguments)
    assert broken.returncode == 1 and "store_invalid" in broken.stderr and "pull" in broken.stderr, broken
    assert (folder / "x").read_bytes() == good, "the old file stays"
    assert run(folder, *arguments).returncode == 0
    assert (folder / "x").read_bytes() == good


def test_what_is_missing_is_named(folder):
    (folder / "agent").unlink()
    done = run(folder, "-i", "test/image:1")
    assert done.returncode == 1 and "--agent" in done.stderr and "agent" in done.stderr, done
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "init", "tmp"]


READY_MADE = {"python": ("print('hello', input())", "main.py"), "node": ("console.log('hello', 'x')", "main.js"),
              "bash": ("read line; echo hello $line", "main.sh"),
              "c": ('#include <stdio.h>\nint main(void) { puts("hello x"); }', "main.c")}


def test_ready_made_languages_run_in_images_that_have_what_they_name(servers):
    """Their own images are on the Internet; the default ones have the same programs under the same names."""
    need_images(list(READY_MADE))
    made = servers.prepare([])
    made.config["limits"]["max"] |= {"memory_mb": 1024, "processes": 256}
    made.config["languages"] = [{"include": str(configs.ROOT / f"examples/languages/{name}.yaml"), "warm": 0,
                                 "image": f"oci:{configs.IMAGES / name}"} for name in READY_MADE]
    made.start()
    for name, (code, file_name) in READY_MADE.items():
        answer = made.run(name, {file_name: code}, input="x\n")
        assert (answer["status"], answer["stdout"]) == (0, "hello x\n"), answer
