"""POST /run with a microVM for each run: programs, limits, guests that end badly, and that nothing is left of them."""
import concurrent.futures
import os
import pathlib
import time

import pytest

import configs
import http_client
import ledger
import small_images
from conftest import HOSTILE_AGENT, Servers, guests, held, language, tiny_language, vmm, wait_until_idle
from server import run_body, wait_until

# 300 for a long look.
RUNS = int(os.environ.get("LAMBDO_KVM_RUNS", "20"))
PROGRAMS = {
    "bash": {"main.sh": '. lib/greet.sh\necho "$# $1 $COLOUR"\ngreet\ncat\necho oops >&2\nexit 7\n',
             "lib/greet.sh": "greet() { echo from the library; }\n"},
    "python": {"main.py": "import os, sys\nfrom lib.greet import greet\n"
                          "print(len(sys.argv) - 1, sys.argv[1], os.environ['COLOUR'])\ngreet()\n"
                          "print(sys.stdin.read(), end='')\nprint('oops', file=sys.stderr)\nsys.exit(7)\n",
               "lib/greet.py": "def greet():\n    print('from the library')\n"},
    "node": {"main.js": "const args = process.argv.slice(2);\nconsole.log(args.length, args[0], process.env.COLOUR);\n"
                        "require('./lib/greet').greet();\nprocess.stdout.write(require('fs').readFileSync(0));\n"
                        "console.error('oops');\nprocess.exitCode = 7;\n",
             "lib/greet.js": "exports.greet = () => console.log('from the library');\n"},
    "c": {"main.c": '#include <stdio.h>\n#include <stdlib.h>\n#include "lib/greet.h"\nint main(int argc, char** argv) {\n'
                    '  printf("%d %s %s\\n", argc - 1, argv[1], getenv("COLOUR"));\n  greet();\n'
                    '  for (int c; (c = getchar()) != EOF;) putchar(c);\n  fprintf(stderr, "oops\\n");\n  return 7;\n}\n',
          "lib/greet.h": "void greet(void);\n",
          "lib/greet.c": '#include <stdio.h>\nvoid greet(void) { puts("from the library"); }\n'},
}


TINY = {"version": "tiny"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory, tiny_archive):
    """One server for all tests that need nothing of their own but a guest: no guest waits in it."""
    languages = [language(name) for name in PROGRAMS]
    languages += [tiny_language(tiny_archive), tiny_language(tiny_archive, version="four", vm={"vcpus": 4, "memory_mb": 512})]
    made = Servers(tmp_path_factory.mktemp("shared"))
    yield made.start(languages, runner={"max_running": 8})
    made.stop_all()


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_program_gets_files_arguments_environment_and_input_and_its_exit_code_comes_back(shared, name):
    answer = shared.run(name, PROGRAMS[name], version=configs.VERSIONS[name], args=["one"], env={"COLOUR": "blue"},
                        input="line 1\nline 2\n")
    assert answer["stdout"] == "1 one blue\nfrom the library\nline 1\nline 2\n", answer
    assert (answer["status"], answer["stderr"], answer["engine"]) == (7, "oops\n", "kvm")


def test_c_program_that_does_not_compile_gives_the_compilers_words(shared):
    answer = shared.run("c", "int main(void) { return nothing; }\n")
    assert answer["status"] == 1
    assert "nothing" in answer["stderr"]
    assert len(answer["steps"]) == 1


def test_eight_guests_at_once_each_have_their_own_machine(shared):
    code = "echo $SECRET >/tmp/secret; sleep 5; cat /tmp/secret; cat /proc/sys/kernel/random/boot_id; nproc"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: shared.run("bash", code, **TINY, env={"SECRET": f"canary-{n}"},
                                                     limits={"wall_ms": 60000}), range(8)))
    lines = [answer["stdout"].split() for answer in answers]
    assert [line[0] for line in lines] == [f"canary-{n}" for n in range(8)]
    assert len({line[1] for line in lines}) == 8, "two guests were the same machine"
    wait_until(lambda: not guests(shared.pid), 10, "guests of finished runs are still there")


def test_vcpus_and_memory_are_those_of_the_language(shared):
    answer = shared.run("bash", "nproc; awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo", version="four")
    vcpus, memory_mb = map(int, answer["stdout"].split())
    assert vcpus == 4
    assert 400 <= memory_mb <= 512


def test_spinning_program_is_killed_at_its_deadline(shared):
    answer = shared.run("bash", "while :; do :; done", **TINY, limits={"wall_ms": 2000})
    assert (answer["status"], answer["stderr"]) == (128, "Timeout")
    assert answer["steps"][0]["timed_out"]
    # On hardware that is 100 ms; the emulated clock of a nested host is not that fine.
    assert answer["timings"]["execute_us"] < 4_000_000


def test_memory_bomb_is_killed_and_says_why(shared):
    answer = shared.run("bash", "x=a; while :; do x=$x$x; done", **TINY, limits={"wall_ms": 60000, "memory_mb": 64})
    assert answer["status"] == 137, answer
    assert answer["steps"][0]["oom_killed"], answer


def test_processes_are_limited(shared):
    # Not bash's, which tries for half a minute to fork.
    code = "for i in $(seq 40); do sleep 100 & done; jobs | wc -l"
    answer = shared.run("bash", code, **TINY, limits={"wall_ms": 30000, "processes": 16})
    assert "Resource temporarily unavailable" in answer["stderr"], answer
    assert shared.run("bash", code, **TINY, limits={"processes": 64})["stdout"] == "40\n"


def test_output_over_its_limit_is_cut(shared):
    answer = shared.run("bash", "yes | head -c 4000000", **TINY, limits={"wall_ms": 60000, "output_bytes": 4096})
    assert answer["steps"][0]["truncated"], answer
    assert len(answer["steps"][0]["stdout"]) == 4096


def test_program_has_no_rights_in_its_guest(shared):
    checks = {"id -u": "1000", "awk '/CapEff/ { print $2 }' /proc/self/status": "0000000000000000",
              "awk '/NoNewPrivs/ { print $2 }' /proc/self/status": "1", "kill -9 1 2>/dev/null || echo refused": "refused",
              "ls -d /.lambdo-* 2>/dev/null | wc -l": "0", "touch /usr/x 2>/dev/null || echo refused": "refused",
              "(echo b >/proc/sysrq-trigger) 2>/dev/null || echo refused": "refused", "echo alive": "alive"}
    answer = shared.run("bash", "\n".join(checks), **TINY)
    assert answer["stdout"].split("\n")[:-1] == list(checks.values()), answer
    # All that it may kill: itself.
    assert shared.run("bash", "kill -9 -1; echo alive", **TINY)["stdout"] in ("", "alive\n")


def test_client_that_leaves_takes_its_guest_along(shared):
    connection = shared.connect()
    body = run_body("bash", "sleep 1000", **TINY, limits={"wall_ms": 60000})
    connection.socket.send(http_client.request("POST", "/run", body))
    wait_until(lambda: shared.get("/health").json()["running"] == 1 and guests(shared.pid), 60, "no run")
    # Its guest has booted, and its program sleeps.
    wait_until_idle(shared.pid)
    assert guests(shared.pid)
    connection.close()
    wait_until(lambda: not guests(shared.pid), 10, "the guest outlives its client")


@pytest.fixture(scope="module")
def boot_timeout_ms(shared):
    """Enough for a guest to start its first program, and not more: that is waited for by those that never come up."""
    began = time.monotonic()
    shared.run("bash", "true", **TINY)
    return int(1000 * max(3, 2 * (time.monotonic() - began)))


@pytest.mark.parametrize("how, code, message, console", [
    ("panic", "guest_panic", "panicked", "Kernel panic"),
    ("power-off", "guest_ended", "power off", "hostile: started"),
    ("reset", "guest_ended", "reset", "hostile: started"),
    ("silent", "guest_boot_timeout", "did not register", "hostile: started"),
    ("garbage", "guest_boot_timeout", "did not register", "hostile: started"),
    ("flood", "guest_boot_timeout", "did not register", "hostile: a line that nobody asked for"),
])
def test_guest_that_does_not_come_up_is_told_apart(servers, tiny_archive, boot_timeout_ms, how, code, message, console):
    changes = {"boot_timeout_ms": boot_timeout_ms} if code == "guest_boot_timeout" else {}
    serving = servers.start([tiny_language(tiny_archive)], agent={"path": str(HOSTILE_AGENT)},
                            vmm=vmm(kernel_arguments=f"hostile={how}", **changes))
    response = serving.post_run({"language": "bash", "code": [{"filename": "a", "content": ""}]}, 120)
    assert response.json()["error"]["code"] == code, response
    assert message in response.json()["error"]["message"], response
    assert response.status in (502, 504)
    wait_until(lambda: not guests(serving.pid), 10, "the guest is still there")
    assert serving.get("/health").status == 200
    assert console in serving.log(), "its last console lines are not in the log"


def test_guest_that_panics_during_its_run_is_an_error_and_not_a_result(servers, tiny_archive):
    # The kernel panics instead of killing a process when memory is short.
    serving = servers.start([tiny_language(tiny_archive)],
                            vmm=vmm(kernel_arguments="sysctl.vm.panic_on_oom=2"))
    body = run_body("bash", "x=a; while :; do x=$x$x; done", limits={"wall_ms": 60000, "memory_mb": 64})
    began = time.monotonic()
    response = serving.post_run(body, 120)
    assert (response.status, response.json()["error"]["code"]) == (502, "guest_panic"), response
    assert time.monotonic() - began < 50, "its end was only noticed at the run's deadline"
    assert "Kernel panic" in serving.log()


def test_runs_one_after_another_leave_nothing(servers, tiny_archive):
    serving = servers.start([tiny_language(tiny_archive, warm=2)], runner={"max_running": 2})
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for number, answer in enumerate(pool.map(lambda n: serving.run("bash", f"echo {n}"), range(4))):
            assert answer["stdout"] == f"{number}\n"
        serving.wait_warm()
        wait_until(lambda: guests(serving.pid) == 2, 20, "guests of finished runs are still there")
        before = held(serving)
        for number, answer in enumerate(pool.map(lambda n: serving.run("bash", f"echo {n}"), range(RUNS))):
            assert answer["stdout"] == f"{number}\n"
    serving.wait_warm()
    ledger.wait_until_equal(before, lambda: held(serving), 60)


def smaps_beside_guests(pid):
    """KiB of a server's memory that is not its guests' own: theirs is left out of core dumps."""
    total = mapping = 0
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as smaps:
        for line in smaps:
            if line.startswith("Pss:"):
                mapping = int(line.split()[1])
            elif line.startswith("VmFlags:") and "dd" not in line.split():
                total += mapping
    return total


def threads(pid):
    """The threads of a server, without those that the kernel gives to each of its VMs (kvm-nx-lpage-recovery)."""
    names = [path.read_text() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/comm")]
    return sum(not name.startswith("kvm-") for name in names)


def test_guest_costs_little_beside_its_memory_and_a_thread_for_each_vcpu(servers, tiny_archive, record_property):
    count = 4
    empty = servers.start([tiny_language(tiny_archive, warm=1)])
    empty.wait_warm(120)
    full = servers.start([tiny_language(tiny_archive, warm=1 + count, vm={"vcpus": 1})])
    full.wait_warm(120)
    time.sleep(2)
    cost_kib = (smaps_beside_guests(full.pid) - smaps_beside_guests(empty.pid)) / count
    per_guest = (threads(full.pid) - threads(empty.pid)) / count
    record_property("kib_per_guest", cost_kib)
    print(f"{cost_kib:.0f} KiB and {per_guest:.2f} threads a guest")
    assert cost_kib < 3 * 1024
    assert per_guest <= 1.5


def test_an_image_is_unpacked_into_a_guest_with_its_environment_and_user(servers, tmp_path):
    # A small one: an image of a distribution takes an emulated processor a minute to unpack.
    small_images.write_layout(tmp_path / "image", small_images.standard())
    entry = {"name": "image", "image": f"oci:{tmp_path / 'image'}", "warm": 0, "steps": [{"command": "sh {{filename}}"}]}
    serving = servers.start([entry], images={"store": str(tmp_path / "store")})
    program = "id -u; id -g; echo $FROM_IMAGE $HOME $LAMBDO_IMAGE_WORKDIR; touch x; stat -c %u x"
    answer = serving.run("image", {"main.sh": program})
    assert (answer["status"], answer["stdout"]) == (0, "1234\n5678\nyes /tmp /data\n1234\n"), answer


REFUSED = [
    ({"kernel": "/nonexistent"}, {}, "vmm.kernel: "),
    ({"kernel": str(configs.BINARY.parent)}, {}, "vmm.kernel: "),
    ({"kernel": "/etc/hostname"}, {}, "vmm.kernel: "),
    ({"modules": "/nonexistent"}, {}, "vmm.modules: "),
    ({"modules": "/etc"}, {}, "vmm.modules: "),
    ({}, {"initramfs": ""}, "initramfs"),
    ({}, {"initramfs": "/etc/passwd"}, "initramfs"),
    ({}, {"vm": {"memory_mb": 64}}, "vm.memory_mb"),
    ({}, {"vm": {"vcpus": 0}}, "vcpus"),
    ({}, {"vm": {"vcpus": 1000}}, "vcpus"),
]


@pytest.mark.parametrize("machine, guest, named", REFUSED)
def test_what_cannot_boot_is_refused_by_name(servers, tiny_archive, machine, guest, named):
    refused = servers.prepare([tiny_language(tiny_archive, **guest)], vmm=vmm(**machine))
    refused.spawn()
    assert refused.wait(30) == 1, refused.log()
    assert named in refused.log(), refused.log()
