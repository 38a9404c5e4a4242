"""GET /metrics: the Prometheus text format, and numbers that follow what happens."""
import re

import pytest

import configs
from server import run_body

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@pytest.fixture(scope="module")
def serving(shared_servers):
    return shared_servers.start(["bash", "python"])


def read_metrics(server):
    """{(name, frozen labels): value}; every line must be of the format."""
    response = server.get("/metrics")
    assert response.status == 200
    assert response.header("content-type").startswith("text/plain")
    samples, types = {}, {}
    for line in response.body.decode().splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in types, f"{name} comes twice"
            types[name] = kind
        elif line and not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, f"not a sample: {line!r}"
            key = (match[1], frozenset(LABEL.findall(match[2] or "")))
            assert key not in samples, f"{line!r} comes twice"
            samples[key] = float(match[3])
            assert re.sub("_(bucket|sum|count)$", "", match[1]) in types or match[1] in types, f"no type: {line!r}"
    return samples


def value(samples, name, **labels):
    found = [number for (key, have), number in samples.items()
             if key == name and set(labels.items()) <= set(have)]
    return sum(found)


def test_names_begin_with_lambdo_and_help_is_given(serving):
    serving.run("bash", "true")
    text = serving.get("/metrics").body.decode()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert names and all(name.startswith("lambdo_") for name in names), names
    assert names == {line.split()[2] for line in text.splitlines() if line.startswith("# HELP ")}


def test_runs_are_counted_by_language_and_outcome(serving):
    before = read_metrics(serving)
    serving.run("bash", "true")
    serving.run("bash", "exit 1")
    serving.run("python", "pass")
    serving.run("bash", "sleep 9", limits={"wall_ms": 200})
    after = read_metrics(serving)
    for language, outcome, count in [("bash", "ok", 1), ("bash", "failed", 1), ("python", "ok", 1),
                                     ("bash", "timeout", 1), ("python", "failed", 0)]:
        grown = (value(after, "lambdo_runs_total", language=language, outcome=outcome)
                 - value(before, "lambdo_runs_total", language=language, outcome=outcome))
        assert grown == count, (language, outcome)


@pytest.mark.parametrize("phase", ["queue", "acquire", "execute", "total"])
def test_phases_have_histograms_by_language(serving, phase):
    name = "lambdo_run_phase_seconds"
    before = read_metrics(serving)
    serving.run("bash", "sleep 0.02")
    samples = read_metrics(serving)
    labels = {"phase": phase, "language": "bash"}
    assert value(samples, f"{name}_count", **labels) == value(before, f"{name}_count", **labels) + 1
    buckets = sorted((float(dict(have)["le"]), number) for (key, have), number in samples.items()
                     if key == f"{name}_bucket" and set(labels.items()) <= set(have))
    counts = [number for _, number in buckets]
    assert len(buckets) > 5 and counts == sorted(counts)
    assert buckets[-1] == (float("inf"), value(samples, f"{name}_count", **labels))
    if phase in ("execute", "total"):
        assert value(samples, f"{name}_sum", **labels) - value(before, f"{name}_sum", **labels) >= 0.02


def test_errors_are_counted_by_code(serving):
    before = read_metrics(serving)
    assert serving.post_run(run_body("cobol", "x")).status == 404
    assert serving.post_run({"language": "bash"}).status == 400
    after = read_metrics(serving)
    for code in ("not_found", "invalid_argument"):
        grown = (value(after, "lambdo_run_errors_total", code=code)
                 - value(before, "lambdo_run_errors_total", code=code))
        assert grown == 1, code


def test_pools_and_runs_of_this_moment_are_shown(serving):
    serving.wait_warm()
    samples = read_metrics(serving)
    assert value(samples, "lambdo_pool_guests", language="bash", state="ready") == 1
    assert value(samples, "lambdo_pool_guests", language="python", state="target") == 1
    assert value(samples, "lambdo_runs", state="running") == 0
    assert value(samples, "lambdo_runs", state="queued") == 0


def test_what_guests_used_is_summed_by_language(serving):
    before = read_metrics(serving)
    serving.run("python", "x = 0\nfor i in range(3_000_000): x += i")
    serving.wait_settled()
    samples = read_metrics(serving)
    labels = {"language": "python", "version": "3.11"}
    used = [value(each, "lambdo_guest_cpu_seconds_total", **labels) for each in (before, samples)]
    assert 0.05 < used[1] - used[0] < 30 * configs.SLOW, used
    assert 1 << 20 < value(samples, "lambdo_guest_memory_peak_bytes", **labels) <= 256 << 20


def test_the_http_server_is_shown(serving):
    before = read_metrics(serving)
    with serving.connect() as connection:
        connection.send(b"nonsense\r\n\r\n")
        assert connection.response().status == 400
    samples = read_metrics(serving)

    def grown(name, **labels):
        return value(samples, name, **labels) - value(before, name, **labels)

    assert grown("lambdo_http_errors_total", reason="malformed") == 1
    assert grown("lambdo_http_connections_total", outcome="served") == 2
    assert grown("lambdo_http_connections_total", outcome="refused") == 0
    assert grown("lambdo_http_requests_total") == 1
    assert grown("lambdo_http_bytes_total", direction="in") > 20
    assert grown("lambdo_http_bytes_total", direction="out") > 1000
    assert value(samples, "lambdo_http_connections") >= 1
    assert value(samples, "lambdo_http_buffered_bytes") == 0


@pytest.mark.quick
def test_the_documented_metrics_are_those_there_are(serving):
    serving.run("bash", "true")
    assert serving.post_run(run_body("cobol", "x")).status == 404
    text = serving.get("/metrics").body.decode()
    there = {tuple(line.split()[2:]) for line in text.splitlines() if line.startswith("# TYPE ")}
    page = (configs.ROOT / "docs/api.md").read_text()
    assert there == set(re.findall(r"^\| `(lambdo_\w+)` \| (\w+) \|", page, re.MULTILINE))


def test_odd_names_do_not_break_the_format(serving):
    for name in ('"', "\\", "a\nb", "ü", "{x}"):
        assert serving.post_run(run_body(name, "x")).status == 404
    read_metrics(serving)
