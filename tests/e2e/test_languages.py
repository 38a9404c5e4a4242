"""The four languages: files, subfolders, standard input, arguments, environment, exit codes, standard error."""
import pytest

import configs
import http_client

ALL = ("bash", "python", "node", "c")

# Each prints its arguments, a variable, what a second file in a subfolder gives, its input, and a line on stderr, and
# exits with 7.
PROGRAMS = {
    "bash": {
        "main.sh": '. library/greet.sh\necho "$# $1 $2"\necho "$COLOUR"\ngreet\ncat\necho oops >&2\nexit 7\n',
        "library/greet.sh": "greet() { echo from the library; }\n",
    },
    "python": {
        "main.py": "import os, sys\nfrom library.greet import greet\nprint(len(sys.argv) - 1, *sys.argv[1:])\n"
                   "print(os.environ['COLOUR'])\ngreet()\nprint(sys.stdin.read(), end='')\n"
                   "print('oops', file=sys.stderr)\nsys.exit(7)\n",
        "library/greet.py": "def greet():\n    print('from the library')\n",
    },
    "node": {
        "main.js": "const { greet } = require('./library/greet');\nconst args = process.argv.slice(2);\n"
                   "console.log(args.length, ...args);\nconsole.log(process.env.COLOUR);\ngreet();\n"
                   "process.stdout.write(require('fs').readFileSync(0));\nconsole.error('oops');\nprocess.exitCode = 7;\n",
        "library/greet.js": "exports.greet = () => console.log('from the library');\n",
    },
    "c": {
        "main.c": '#include <stdio.h>\n#include <stdlib.h>\n#include "library/greet.h"\n'
                  "int main(int argc, char** argv) {\n"
                  '  printf("%d %s %s\\n%s\\n", argc - 1, argv[1], argv[2], getenv("COLOUR"));\n  greet();\n'
                  '  for (int c; (c = getchar()) != EOF;) putchar(c);\n  fprintf(stderr, "oops\\n");\n  return 7;\n}\n',
        "library/greet.h": "void greet(void);\n",
        "library/greet.c": '#include <stdio.h>\n#include "library/greet.h"\nvoid greet(void) { puts("from the library"); }\n',
    },
}

HELLO = {
    "bash": "echo hello",
    "python": "print('hello')",
    "node": "console.log('hello')",
    "c": '#include <stdio.h>\nint main(void) { puts("hello"); }\n',
}


@pytest.fixture(scope="module")
def serving(shared_servers):
    return shared_servers.start(ALL)


@pytest.mark.quick
@pytest.mark.parametrize("language", ALL)
def test_program_gets_files_arguments_environment_and_input_and_its_exit_code_comes_back(serving, language):
    answer = serving.run(language, PROGRAMS[language], args=["one", "two three"], env={"COLOUR": "dark blue"},
                         input="line 1\nline 2\n")
    assert answer["stdout"] == "2 one two three\ndark blue\nfrom the library\nline 1\nline 2\n"
    assert (answer["status"], answer["stderr"]) == (7, "oops\n")
    assert (answer["engine"], answer["language"]) == ("namespace", language)
    step = answer["steps"][-1]
    assert (step["exit_code"], step["signal"]) == (7, None)
    assert (step["stdout"], step["stderr"]) == (answer["stdout"], "oops\n")
    assert not (step["timed_out"] or step["oom_killed"] or step["truncated"])


@pytest.mark.quick
@pytest.mark.parametrize("language", ALL)
def test_answer_has_the_fields_of_the_contract_with_sensible_values(serving, language):
    answer = serving.run(language, HELLO[language])
    assert set(answer) == {"id", "engine", "language", "version", "status", "stdout", "stderr", "steps", "timings"}
    assert (answer["status"], answer["stdout"], answer["stderr"]) == (0, "hello\n", "")
    for step in answer["steps"]:
        assert set(step) == {"command", "exit_code", "signal", "stdout", "stderr", "wall_ms", "cpu_ms", "max_rss_kb",
                             "timed_out", "oom_killed", "truncated"}
        assert 0 < step["wall_ms"] < 60000 and 0 < step["cpu_ms"] < 60000
        assert 500 < step["max_rss_kb"] < 512 * 1024
    timings = answer["timings"]
    assert set(timings) == {"queue_us", "acquire_us", "execute_us", "total_us"}
    assert timings["execute_us"] >= 1000 * sum(step["wall_ms"] for step in answer["steps"]) - 1000
    assert timings["total_us"] >= timings["execute_us"] + timings["acquire_us"] + timings["queue_us"] - 1000


def test_ids_of_runs_differ(serving):
    assert len({serving.run("bash", "true")["id"] for _ in range(5)}) == 5


def test_c_program_that_does_not_compile_is_not_run_and_the_compilers_words_come_back(serving):
    answer = serving.run("c", "int main(void) { return missing; }\n")
    assert answer["status"] != 0
    assert len(answer["steps"]) == 1
    assert "main.c:1" in answer["stderr"] and "missing" in answer["stderr"]
    assert answer["stdout"] == ""


def test_c_program_takes_both_steps_and_only_the_second_gives_output(serving):
    answer = serving.run("c", HELLO["c"])
    assert [step["exit_code"] for step in answer["steps"]] == [0, 0]
    assert answer["steps"][0]["stdout"] == ""
    assert answer["stdout"] == "hello\n"


@pytest.mark.parametrize("version", ["", None, "3.11"])
def test_version_empty_null_or_exact_finds_the_language_in_any_case(serving, version):
    answer = serving.run("PyThOn", {"a.py": "print('hello')"}, version=version)
    assert (answer["stdout"], answer["language"], answer["version"]) == ("hello\n", "python", "3.11")


def test_body_with_only_language_and_code_is_enough(serving):
    response = serving.post_run({"language": "bash", "code": [{"filename": "x", "content": "cat; echo done"}]})
    assert (response.status, response.json()["stdout"]) == (200, "done\n")


def test_input_is_the_file_input_input_too(serving):
    assert serving.run("bash", "cat input.input input.input", input="twice\n")["stdout"] == "twice\ntwice\n"


def test_every_step_gets_the_input_from_its_beginning(servers):
    twice = configs.language("bash", steps=[{"command": "read x; echo $x"}, {"command": "cat"}])
    answer = servers.start([twice]).run("bash", "true", input="a\nb\n")
    assert answer["stdout"] == "a\na\nb\n"
    assert [step["stdout"] for step in answer["steps"]] == ["a\n", "a\nb\n"]


def test_entrypoint_chooses_the_file_that_is_started(serving):
    files = {"first.sh": "echo first", "deep/er/second.sh": "echo second; pwd"}
    assert serving.run("bash", files)["stdout"] == "first\n"
    assert serving.run("bash", files, entrypoint="deep/er/second.sh")["stdout"] == "second\n/workspace\n"


@pytest.mark.quick
@pytest.mark.parametrize("name", ["with space.sh", "quo'te.sh", '"; echo injected; ".sh', "$(echo injected).sh",
                                  "-c.sh", "`id`.sh", "ünïcode.sh", "new\nline.sh"])
def test_file_names_are_never_read_by_the_shell(serving, name):
    answer = serving.run("bash", {name: "echo started"})
    assert (answer["status"], answer["stdout"], answer["stderr"]) == (0, "started\n", ""), answer


def test_arguments_reach_the_program_as_they_are(serving):
    arguments = ["", " ", "a b", "$HOME", "`id`", "'", '"', "*", "-n", "ü", "new\nline", "; echo injected"]
    answer = serving.run("python", "import sys; print(sys.argv[1:])", args=arguments)
    assert answer["stdout"] == f"{arguments}\n"


def test_environment_is_that_of_the_language_with_the_requests_over_it(servers):
    serving = servers.start([configs.language("bash", environment={"FIRST": "language", "SECOND": "language"})])
    answer = serving.run("bash", 'echo "$FIRST $SECOND $THIRD"', env={"SECOND": "request", "THIRD": "a\nb"})
    assert answer["stdout"] == "language request a\nb\n"


def test_servers_environment_does_not_reach_programs(serving):
    assert str(serving.temporary_dir) not in serving.run("bash", "env")["stdout"]


def test_output_that_is_not_utf8_has_replacement_characters_and_base64_keeps_it(serving):
    script = "printf 'a\\xff\\x00b\\n'; printf '\\xfe' >&2"
    answer = serving.run("bash", script)
    assert (answer["status"], answer["stdout"], answer["stderr"]) == (0, "a\ufffd\0b\n", "\ufffd")
    assert "output_encoding" not in answer
    answer = serving.run("bash", script, output_encoding="base64")
    assert answer["output_encoding"] == "base64"
    assert answer["stdout"] == answer["steps"][0]["stdout"] == http_client.base64_text(b"a\xff\x00b\n")
    assert answer["stderr"] == answer["steps"][0]["stderr"] == http_client.base64_text(b"\xfe")


def test_file_given_in_base64_is_written_byte_for_byte(serving):
    blob = bytes(range(256)) * 8
    entry = {"filename": "blob", "content": http_client.base64_text(blob), "encoding": "base64"}
    code = [{"filename": "main.py", "content": "print(open('blob', 'rb').read() == bytes(range(256)) * 8)"}, entry]
    assert serving.post_run({"language": "python", "code": code}).json()["stdout"] == "True\n"


def test_hundred_files_in_subfolders_are_all_written(serving):
    files = {"main.sh": "cat $(find part -type f | sort) | wc -l"}
    files.update({f"part/{i % 10}/{i}.txt": f"{i}\n" for i in range(100)})
    assert serving.run("bash", files)["stdout"] == "100\n"


def test_large_input_and_large_output_pass_whole(serving):
    text = "0123456789abcde\n" * (1 << 16)
    answer = serving.run("bash", "cat", input=text, limits={"output_bytes": 2 << 20})
    assert answer["stdout"] == text
    assert not answer["steps"][0]["truncated"]


def test_program_that_does_not_read_its_input_is_not_disturbed_by_it(serving):
    answer = serving.run("bash", "echo done", input="x" * (1 << 20))
    assert (answer["status"], answer["stdout"]) == (0, "done\n")


def test_steps_stop_at_the_first_that_fails(servers):
    steps = [{"command": "echo one"}, {"command": "echo two; exit 3"}, {"command": "echo three"}]
    answer = servers.start([configs.language("bash", steps=steps)]).run("bash", "true")
    assert (answer["status"], answer["stdout"], len(answer["steps"])) == (3, "one\ntwo\n", 2)


def test_languages_are_listed_with_their_limits(serving):
    listed = serving.get("/languages").json()["languages"]
    assert [(entry["name"], entry["version"]) for entry in listed] == [
        (name, configs.VERSIONS[name]) for name in ALL]
    for entry in listed:
        assert entry["limits"]["memory_mb"] == (512 if entry["name"] == "c" else 256)
        assert {"wall_ms", "cpu_ms", "memory_mb", "output_bytes", "processes"} <= set(entry["limits"])


def test_health_names_the_engine_what_to_know_about_it_and_the_pools(serving):
    health = serving.get("/health").json()
    assert (health["status"], health["engine"]) == ("ok", "namespace")
    assert any("weaker" in warning for warning in health["warnings"])
    assert [pool["language"] for pool in health["pools"]] == list(ALL)


@pytest.mark.quick
def test_guest_is_used_once_and_gives_nothing_to_the_next(serving):
    for _ in range(3):
        answer = serving.run("bash", "ls /tmp /dev/shm; cat /tmp/left 2>/dev/null; echo x | tee /tmp/left > /dev/shm/left")
        assert (answer["status"], answer["stdout"].split()) == (0, ["/dev/shm:", "/tmp:"])


@pytest.mark.quick
@pytest.mark.parametrize("language", ALL)
def test_runs_leave_nothing(serving, language):
    serving.run(language, HELLO[language])
    with serving.same_ledger():
        for _ in range(3):
            serving.run(language, HELLO[language])
