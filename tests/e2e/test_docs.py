"""The examples of docs/api.md run as they are printed, and give answers of the shape that is shown."""
import json
import re
import shutil
import subprocess

import pytest

import configs

TEXT = (configs.ROOT / "docs/api.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)
# (command, the JSON shown after it or None)
EXAMPLES = [(text, json.loads(BLOCKS[i + 1][1]) if i + 1 < len(BLOCKS) and BLOCKS[i + 1][0] == "json" else None)
            for i, (kind, text) in enumerate(BLOCKS) if kind == "" and text.startswith("curl")]


@pytest.fixture(scope="module")
def serving(shared_servers):
    missing = [tool for tool in ("curl", "jq") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; ./dev install installs them")
    return shared_servers.start([configs.language("python"), "bash", "node", "c"])


def shape(value):
    """Keys and types of a value; of lists only the first entry."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(entry) for entry in value[:1]]
    return type(value).__name__


def run_example(serving, command):
    here = command.replace("127.0.0.1:3000", "%s:%d" % serving.address)
    done = subprocess.run(["bash", "-o", "pipefail", "-c", here], capture_output=True, text=True,
                          timeout=60 * configs.SLOW)
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.quick
@pytest.mark.parametrize("command, shown", EXAMPLES, ids=[command.split("-d")[0][-30:] for command, _ in EXAMPLES])
def test_example_runs_as_printed(serving, command, shown):
    output = run_example(serving, command)
    assert output.strip()
    if shown is not None:
        body = output.split("\n\n", 1)[1] if "curl -s -i" in command else output
        assert shape(json.loads(body)) == shape(shown)


def test_examples_show_what_really_comes(serving):
    """Of the answers that are the same every time."""
    first, limits = EXAMPLES[0], EXAMPLES[3]
    answer = json.loads(run_example(serving, first[0]))
    assert [answer[key] for key in ("status", "stdout", "stderr", "language", "version")] == [
        first[1][key] for key in ("status", "stdout", "stderr", "language", "version")]
    assert answer["steps"][0]["command"] == first[1]["steps"][0]["command"]
    answer = json.loads(run_example(serving, limits[0]))
    assert (answer["status"], answer["stderr"]) == (limits[1]["status"], limits[1]["stderr"])
    error = EXAMPLES[-1]
    assert json.loads(run_example(serving, error[0]).split("\n\n", 1)[1]) == error[1]
