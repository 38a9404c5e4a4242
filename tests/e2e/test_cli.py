"""The commands beside serve: run with the program's own exit code, doctor, help."""
import json
import subprocess

import pytest

import configs


@pytest.fixture(scope="module")
def serving(shared_servers):
    return shared_servers.start(["bash", "python"])


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
    assert (done.returncode, done.stderr.strip()) == (128, "Timeout")


def test_doctor_finds_this_machine_fit_and_can_say_so_in_json():
    done = lambdo("doctor")
    assert done.returncode == 0, done
    for subject in ("io_uring", "KVM", "cgroup", "bubblewrap"):
        assert subject.lower() in done.stdout.lower(), subject
    assert "engine" in json.loads(lambdo("doctor", "--json").stdout)


@pytest.mark.parametrize("command", [[], ["serve"], ["run"], ["doctor"], ["config"], ["config", "check"],
                                     ["image"], *[["image", verb] for verb in ("pull", "import", "ls", "inspect", "rm", "prune", "export")],
                                     ["initramfs"]])
def test_help_is_everywhere(command):
    done = lambdo(*command, "--help")
    assert done.returncode == 0 and "Usage" in done.stdout and "Examples" in done.stdout, done


@pytest.mark.parametrize("arguments", [["nonsense"], ["serve", "--nonsense"], ["serve"], []])
def test_wrong_usage_is_told_with_status_2(arguments):
    done = lambdo(*arguments)
    assert done.returncode == 2 and done.stderr, done
