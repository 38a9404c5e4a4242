"""`lambdo image` as the tests call it, and what a store and the folders around it hold."""
import hashlib
import json
import os
import pathlib
import subprocess

import configs


def start(*arguments, store, environment=None, **more):
    return subprocess.Popen([configs.BINARY, "image", *arguments, "--store", store], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, **(environment or {})}, **more)


def run(*arguments, store, environment=None, timeout_s=60):
    process = start(*arguments, store=store, environment=environment)
    try:
        out, err = process.communicate(timeout=timeout_s * configs.SLOW)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def pull(reference, store, *arguments, **more):
    """A pull over plain HTTP that must work: the image as JSON."""
    host = reference.partition("/")[0]
    done = run("pull", "--json", "--plain-http", host, *arguments, reference, store=store, **more)
    assert done.returncode == 0, done
    return json.loads(done.stdout)["images"][0]


def refused(reference, store, *arguments, plain_http=True, **more):
    """A pull that must fail: the code and the message."""
    host = reference.partition("/")[0]
    plain = ["--plain-http", host] if plain_http else []
    done = run("pull", "--json", *plain, *arguments, reference, store=store, **more)
    assert done.returncode == 1, done
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error["code"] in done.stderr and error["message"] in done.stderr, done
    return error["code"], error["message"]


def leftovers(store):
    """What a store holds that is nobody's: sessions in tmp/ and what was found damaged."""
    return [str(path.relative_to(store)) for name in ("tmp", "damaged") for path in pathlib.Path(store, name).glob("*")]


def snapshot(folder):
    """Every file below a folder: kind, mode, owner, target and content."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            content = ""
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                content = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
            found[os.path.relpath(path, folder)] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found
