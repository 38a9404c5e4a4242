"""The commands beside serve: run with the program's own exit code, doctor, help."""
import contextlib
import glob
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

import configs
from conftest import need_images
from server import wait_until


@pytest.fixture(scope="module")
def serving(shared_servers):
    return shared_servers.start(["bash", "python"])


def test_what_needs_no_engine_loads_none_of_its_libraries():
    loaded = subprocess.run(["ldd", configs.BINARY], capture_output=True, text=True, check=True).stdout
    assert "libarchive" not in loaded, "linked statically: the shared one brings XML and ICU"
    assert not [name for name in ("libgrpc", "libabsl", "libprotobuf", "libprometheus", "libnghttp2", "libnftables", "libmnl",
                                 "libseccomp", "libxml2", "libcrypto.so") if name in loaded], loaded


def test_lambdo_without_its_server_program_says_what_is_missing(tmp_path):
    alone = shutil.copy(configs.BINARY, tmp_path / "lambdo")
    for command in (["doctor"], ["serve", "--config", "x.yaml"], ["run", "--local", "--config", "x.yaml", "-l", "bash", "x.sh"]):
        done = subprocess.run([alone, *command], capture_output=True, text=True, timeout=60 * configs.SLOW)
        assert done.returncode == 1, done
        assert done.stderr == (f"lambdo {command[0]}: cannot start {tmp_path}/lambdo-server: No such file or directory\n"
                               "  -> put it and lambdo-agent beside lambdo: the three come from one build\n")


@pytest.fixture
def open_folder():
    """One that any user may read and write, with the programs of a server."""
    with tempfile.TemporaryDirectory(prefix="lambdo-test-", dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o777)
        for program in (configs.BINARY, configs.SERVER_BINARY, configs.AGENT):
            shutil.copy(program, folder)
        yield folder


def test_programs_run_without_root_too(open_folder):
    need_images(["bash"])
    shutil.copytree(configs.IMAGES / "bash", open_folder / "image")
    language = {"name": "bash", "image": f"oci:{open_folder}/image", "steps": [{"command": "bash {{filename}}"}]}
    path = configs.write(open_folder, {"apiVersion": "lambdo.io/v1alpha1", "kind": "Config", "vmm": {"engine": "namespace"},
                                       "state_dir": str(open_folder / "state"), "languages": [language]})
    path.chmod(0o644)
    (open_folder / "main.sh").write_text("id -u; cat /proc/net/dev | grep -c :\n")
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", open_folder / "lambdo", "run", "--local",
                           "--config", path, "-l", "bash", open_folder / "main.sh"], capture_output=True, text=True,
                          cwd=open_folder, env={"PATH": os.environ["PATH"], "HOME": str(open_folder)}, timeout=120 * configs.SLOW)
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[1] == "1", "nothing but a loopback interface"


def test_doctor_and_server_miss_the_agent(open_folder):
    (open_folder / "lambdo-agent").unlink()
    done = subprocess.run([open_folder / "lambdo", "doctor"], capture_output=True, text=True, timeout=60 * configs.SLOW)
    assert done.returncode == 1 and f"no lambdo-agent in {open_folder}; put the one of the same build there" in done.stdout, done
    assert "the guest agent is missing" in done.stdout, done


def test_the_server_program_refuses_what_is_not_its_own():
    done = subprocess.run([configs.SERVER_BINARY, "image", "ls"], capture_output=True, text=True, timeout=60 * configs.SLOW)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lambdo image: lambdo-server does not have this command\n  -> run lambdo instead\n"


@pytest.fixture
def program(tmp_path):
    (tmp_path / "main.sh").write_text('. helper.sh; helped "$@"; cat; echo oops >&2; exit 7\n')
    (tmp_path / "helper.sh").write_text('helped() { echo "$# $2"; }\n')
    return [tmp_path / "main.sh", tmp_path / "helper.sh"]


def lambdo(*arguments, stdin=""):
    return subprocess.run([configs.BINARY, *arguments], input=stdin, capture_output=True, text=True,
                          timeout=60 * configs.SLOW)


def where(serving, how):
    if how == "server":
        return ["--server", "http://%s:%d" % serving.address]
    own = configs.config(serving.folder / "local")
    (serving.folder / "local").mkdir(exist_ok=True)
    return ["--local", "--config", configs.write(serving.folder / "local", own)]


@pytest.mark.quick
@pytest.mark.parametrize("how", ["server", "local"])
def test_run_is_like_running_the_program(serving, program, how):
    done = lambdo("run", *where(serving, how), "-l", "bash", "-i", "-", *program, "--", "one", "two words", stdin="input\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "2 two words\ninput\n", "oops\n")


@pytest.mark.parametrize("how", ["server", "local"])
def test_run_can_give_the_whole_answer_as_json(serving, program, how):
    done = lambdo("run", *where(serving, how), "--json", "-l", "bash", *program)
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["stderr"], len(answer["steps"])) == (7, "oops\n", 1)


def test_run_says_what_is_wrong(serving, program):
    server = where(serving, "server")
    done = lambdo("run", *server, "-l", "cobol", *program)
    assert done.returncode == 1 and "cobol" in done.stderr and "python" in done.stderr
    done = lambdo("run", *server, "-l", "bash", "none.sh")
    assert done.returncode == 1 and "none.sh" in done.stderr
    done = lambdo("run", "--server", "http://127.0.0.1:1", "-l", "bash", *program)
    assert done.returncode == 1 and "127.0.0.1:1" in done.stderr
    assert lambdo("run", *server, *program).returncode == 2


def test_run_passes_limits_on(serving, tmp_path):
    (tmp_path / "main.sh").write_text("sleep 100\n")
    done = lambdo("run", *where(serving, "server"), "-l", "bash", "--wall-ms", "300", tmp_path / "main.sh")
    assert (done.returncode, done.stderr) == (128, "Timeout\n"), "a line of its own, for whoever reads a terminal"


def test_limits_say_what_is_allowed(program):
    done = lambdo("run", "-l", "bash", "--wall-ms", "0", *program)
    assert done.returncode == 2
    assert done.stderr == ('lambdo run: --wall-ms: "0" is not allowed; write a whole number from 1 to 86400000\n'
                           "  -> lambdo run --help says how it is used\n")


def test_a_server_that_ends_before_its_answer_is_not_one_that_cannot_be_reached(program):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def take_and_close():
            connection, _ = listener.accept()
            connection.recv(1)
            connection.close()
        thread = threading.Thread(target=take_and_close)
        thread.start()
        done = lambdo("run", "--server", "http://127.0.0.1:%d" % listener.getsockname()[1], "-l", "bash", *program)
        thread.join()
    assert done.returncode == 1 and "closed the connection before it answered" in done.stderr, done
    assert "cannot reach" not in done.stderr and "lambdo serve" not in done.stderr, done
    done = lambdo("run", "--server", "http://127.0.0.1:1", "-l", "bash", *program)
    assert "cannot reach http://127.0.0.1:1" in done.stderr and "lambdo serve" in done.stderr, done


@pytest.mark.parametrize("how", ["server", "local"])
def test_an_interrupted_run_says_so_and_leaves_nothing_running(serving, tmp_path, how):
    marker = f"{os.getpid()}{time.monotonic_ns() % 1000000}"
    (tmp_path / "main.sh").write_text(f"exec sleep 30.{marker}\n")
    running = subprocess.Popen([configs.BINARY, "run", *where(serving, how), "-l", "bash", tmp_path / "main.sh"],
                               stderr=subprocess.PIPE, text=True)
    wait_until(lambda: is_running(marker), 20, "the program does not start")
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=20 * configs.SLOW)
    assert running.returncode == 130 and errors.startswith("lambdo run: interrupted; "), errors
    wait_until(lambda: not is_running(marker), 5, "the program goes on")


def is_running(marker):
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if f"30.{marker}".encode() in file.read():
                return True
    return False


@pytest.mark.quick
@pytest.mark.parametrize("command", [["serve"], ["run", "--local", "-l", "x", "f"], ["image", "ls"]],
                         ids=lambda command: command[0])
def test_a_wrong_configuration_is_told_by_all_commands_alike(tmp_path, command):
    path = configs.write(tmp_path, "apiVersion: lambdo.io/v1alpha1\nkind: Config\nlanguages: {}\nlog: 1\n")
    done = lambdo(*command, "--config", path)
    lines = done.stderr.splitlines()
    prefix = "lambdo " + " ".join(word for word in command[:2] if not word.startswith("-")) + ": "
    assert done.returncode == 1 and f"{path}:3:" in done.stderr and f"{path}:4:" in done.stderr, done
    assert all(line.startswith((prefix, "  -> ")) for line in lines), done
    missing = lambdo(*command, "--config", tmp_path / "none.yaml")
    assert f"--config: open {tmp_path}/none.yaml: No such file" in missing.stderr, missing


def test_doctor_finds_this_machine_fit_and_can_say_so_in_json():
    done = lambdo("doctor")
    assert done.returncode == 0, done
    for subject in ("io_uring", "KVM", "cgroup", "bubblewrap"):
        assert subject.lower() in done.stdout.lower(), subject
    assert "engine" in json.loads(lambdo("doctor", "--json").stdout)


def test_doctor_looks_at_what_a_configuration_needs(tmp_path):
    config = configs.config(tmp_path, [configs.language("bash")])
    file = tmp_path / "lambdo.yaml"
    file.write_text(json.dumps(config | {"vmm": {"engine": "namespace"}}))
    done = lambdo("doctor", "--config", file)
    assert done.returncode == 0, done
    assert "The configuration's engine is namespace" in done.stdout
    assert "vmm.kernel" not in done.stdout
    file.write_text(json.dumps(config | {"vmm": {"engine": "kvm", "kernel": "/nonexistent"}}))
    done = lambdo("doctor", "--config", file)
    assert done.returncode == 1, done
    assert "The configuration's engine cannot run here" in done.stdout
    file.write_text("kind: [")
    done = lambdo("doctor", "--config", file)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"lambdo doctor: {file}:1" in done.stderr, done


@pytest.mark.parametrize("command", [[], ["serve"], ["run"], ["doctor"], ["config"], ["config", "check"],
                                     ["image"], *[["image", verb] for verb in ("pull", "import", "ls", "inspect", "rm", "prune", "export")],
                                     ["initramfs"]])
def test_help_is_everywhere(command):
    done = lambdo(*command, "--help")
    assert done.returncode == 0 and "Usage" in done.stdout and "Examples" in done.stdout, done


@pytest.mark.parametrize("arguments", [["nonsense"], ["serve", "--nonsense"], ["serve"], [], ["image"], ["image", "pull"],
                                       ["image", "nonsense"], ["config", "check"], ["initramfs"], ["doctor", "x"]])
def test_wrong_usage_is_told_with_status_2_and_in_one_style(arguments):
    done = lambdo(*arguments)
    what, hint = done.stderr.splitlines()
    assert done.returncode == 2 and what.startswith("lambdo"), done
    assert hint == "  -> " + what.partition(":")[0] + " --help says how it is used", done
