"""A run with very much output: its answer is whole, and building it does not hold the event loop up."""
import http.client
import json
import re

import pytest

import configs
from server import run_body

OUTPUT_BYTES = 16 << 20
# Written as six bytes each, four times over: about 400 MB of JSON.
CONTROL_CHARACTERS = f"head -c {OUTPUT_BYTES} /dev/zero | tr '\\0' '\\1'"
# One turn that builds all of it takes over a second; a turn that merely lost its processor stays below this.
LONGEST_TURN_US = 100_000 * configs.SLOW


def longest_turn_us(server):
    text = server.get("/metrics").body.decode()
    return float(re.search(r'lambdo_reactor_turn_microseconds\{statistic="longest"\} (\S+)', text)[1])


def post(server, body):
    """The standard library's client: 400 MB are too much for ours."""
    connection = http.client.HTTPConnection(*server.address, timeout=120 * configs.SLOW)
    connection.request("POST", "/run", json.dumps(body))
    response = connection.getresponse()
    assert response.status == 200
    return response.read()


@pytest.mark.alone
def test_megabytes_of_control_characters_are_answered_without_a_long_turn(servers):
    server = servers.start(["bash"])
    program = f"{CONTROL_CHARACTERS}; {CONTROL_CHARACTERS} >&2"
    body = post(server, run_body("bash", program, limits={"output_bytes": OUTPUT_BYTES}))
    assert body.count(b"\\u0001") == 4 * OUTPUT_BYTES
    frame = json.loads(body.replace(b"\\u0001", b""))
    assert (frame["status"], frame["stdout"], frame["steps"][0]["stderr"]) == (0, "", "")
    longest = longest_turn_us(server)
    print(f"longest turn {longest / 1000:.1f} ms for {len(body) >> 20} MiB of answer")
    assert longest < LONGEST_TURN_US
