"""What clients do wrong, over raw sockets. After each the server answers and the next run succeeds."""
import contextlib
import json
import socket
import time

import pytest

import configs
from http_client import request
from server import run_body, wait_until

MAX_BODY_BYTES = 100_000
MAX_HEADER_BYTES = 8192
HEADER_TIMEOUT_S = BODY_TIMEOUT_S = 0.6 * configs.SLOW
IDLE_TIMEOUT_S = 1.5 * configs.SLOW
HTTP = {
    "max_body_bytes": MAX_BODY_BYTES, "max_header_bytes": MAX_HEADER_BYTES, "max_connections": 1500,
    "header_timeout_ms": int(HEADER_TIMEOUT_S * 1000), "body_timeout_ms": int(BODY_TIMEOUT_S * 1000),
    "idle_timeout_ms": int(IDLE_TIMEOUT_S * 1000), "write_timeout_ms": 1000 * configs.SLOW,
}
FILE = {"filename": "main.sh", "content": "true"}


@pytest.fixture(scope="module")
def serving(shared_servers):
    server = shared_servers.start(["bash", "python"], http=HTTP)
    server.run("bash", "true")
    return server


@pytest.fixture(autouse=True)
def still_works(serving):
    with serving.same_ledger():
        yield
        serving.assert_works()


def post(headers=b"", body=b"", version=b"HTTP/1.1"):
    return b"POST /run " + version + b"\r\nHost: x\r\n" + headers + b"\r\n" + body


def chunked(*parts):
    return post(b"Transfer-Encoding: chunked\r\n", b"".join(parts))


# (name, bytes sent, statuses allowed, error code or None for any). The connection ends after each: what follows
# cannot be told from a second request.
BROKEN = [
    ("garbage", b"\x00\xff garbage\r\n\r\n", {400}, "invalid_argument"),
    ("TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x42" * 64, {400}, "invalid_argument"),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}, None),
    ("unknown HTTP version", b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n", {400, 505}, None),
    ("unknown method", b"BREW /run HTTP/1.1\r\nHost: x\r\n\r\n", {400, 405, 501}, None),
    ("lower-case method", b"get /health HTTP/1.1\r\nHost: x\r\n\r\n", {400, 405, 501}, None),
    ("no path", b"GET HTTP/1.1\r\nHost: x\r\n\r\n", {400}, "invalid_argument"),
    ("path above the root", b"GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {400}, "invalid_argument"),
    ("escaped path above the root", b"GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {400}, "invalid_argument"),
    ("escaped NUL in the path", b"GET /health%00 HTTP/1.1\r\nHost: x\r\n\r\n", {400}, "invalid_argument"),
    ("no Host", b"GET /health HTTP/1.1\r\n\r\n", {400}, "invalid_argument"),
    ("two Hosts", b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", {400}, "invalid_argument"),
    ("unknown expectation", post(b"Content-Length: 2\r\nExpect: miracles\r\n", b"{}"), {417}, "not_implemented"),
    ("NUL in the path", b"GET /hea\0lth HTTP/1.1\r\nHost: x\r\n\r\n", {400}, "invalid_argument"),
    ("NUL in a header", b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", {400}, "invalid_argument"),
    ("space before the colon", b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n", {400}, "invalid_argument"),
    ("space before the colon of a length", post(b"Content-Length : 2\r\n", b"{}"), {400}, "invalid_argument"),
    ("header without a colon", b"GET /health HTTP/1.1\r\nHost\r\n\r\n", {400}, "invalid_argument"),
    ("header without a name", b"GET /health HTTP/1.1\r\n: x\r\n\r\n", {400}, "invalid_argument"),
    ("folded header", b"GET /health HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", {400}, "invalid_argument"),
    ("bare LF after the request line", b"GET /health HTTP/1.1\nHost: x\r\n\r\n", {400}, "invalid_argument"),
    ("bare LF after a header", b"GET /health HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", {400}, "invalid_argument"),
    ("bare LF everywhere", b"GET /health HTTP/1.1\nHost: x\n\n", {400}, "invalid_argument"),
    ("bare CR in a header", b"GET /health HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", {400}, "invalid_argument"),
    ("Content-Length and Transfer-Encoding",
     post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), {400}, "invalid_argument"),
    ("Transfer-Encoding and Content-Length",
     post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"), {400}, "invalid_argument"),
    ("Content-Length twice, equal", post(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"), {400},
     "invalid_argument"),
    ("Content-Length twice, different",
     post(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"{}x"), {400}, "invalid_argument"),
    ("Content-Length as a list", post(b"Content-Length: 2, 2\r\n", b"{}"), {400}, "invalid_argument"),
    ("negative Content-Length", post(b"Content-Length: -1\r\n"), {400}, "invalid_argument"),
    ("Content-Length with a sign", post(b"Content-Length: +2\r\n", b"{}"), {400}, "invalid_argument"),
    ("hexadecimal Content-Length", post(b"Content-Length: 0x2\r\n", b"{}"), {400}, "invalid_argument"),
    ("empty Content-Length", post(b"Content-Length: \r\n", b"{}"), {400}, "invalid_argument"),
    ("overflowing Content-Length", post(b"Content-Length: 18446744073709551618\r\n", b"{}"), {400, 413}, None),
    ("largest Content-Length", post(b"Content-Length: 9223372036854775807\r\n", b"{}"), {413}, "payload_too_large"),
    ("chunk size that is no number", chunked(b"zz\r\n{}\r\n0\r\n\r\n"), {400}, "invalid_argument"),
    ("negative chunk size", chunked(b"-2\r\n{}\r\n0\r\n\r\n"), {400}, "invalid_argument"),
    ("overflowing chunk size", chunked(b"1ffffffffffffffff\r\n{}"), {400, 413}, None),
    ("chunk longer than its size", chunked(b"2\r\n{}xx\r\n0\r\n\r\n"), {400}, "invalid_argument"),
    ("bare LF after a chunk's size", chunked(b"2\n{}\r\n0\r\n\r\n"), {400}, "invalid_argument"),
    ("chunked twice", post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), {400, 501}, None),
    ("chunked not last", post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"), {400, 501}, None),
    ("unknown coding", post(b"Transfer-Encoding: gzip\r\n", b"x"), {400, 501}, None),
    ("coding that looks like chunked", post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), {400, 501}, None),
    ("header over its cap", b"GET /health HTTP/1.1\r\nA: " + b"b" * MAX_HEADER_BYTES + b"\r\n\r\n", {431},
     "headers_too_large"),
    ("endless header", b"GET /health HTTP/1.1\r\nA: " + b"b" * 4 * MAX_HEADER_BYTES, {431}, "headers_too_large"),
    ("many headers over the cap", b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * MAX_HEADER_BYTES, {431},
     "headers_too_large"),
    ("path over the cap", b"GET /" + b"a" * 2 * MAX_HEADER_BYTES + b" HTTP/1.1\r\n\r\n", {414, 431}, None),
    ("trailers over the cap", chunked(b"0\r\nA: " + b"b" * 4 * MAX_HEADER_BYTES), {400, 431}, None),
    ("body over its cap by its length", post(b"Content-Length: %d\r\n" % (MAX_BODY_BYTES + 1)), {413},
     "payload_too_large"),
    ("body over its cap by chunks", chunked(*[b"1000\r\n" + b" " * 0x1000 + b"\r\n"] * 30), {413}, "payload_too_large"),
    ("body over its cap by one chunk", chunked(b"%x\r\n" % (MAX_BODY_BYTES * 2)), {413}, "payload_too_large"),
]


@pytest.mark.parametrize("data, statuses, code", [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_broken_request_is_refused_and_the_connection_ends(serving, data, statuses, code):
    with serving.connect() as connection:
        connection.send_as_far_as_taken(data)
        response = connection.response()
        assert response is not None, "closed without an answer"
        assert response.status in statuses, response
        assert code is None or response.error()[0] == code, response
        assert connection.is_closed_within(5), "the connection is still open"


@pytest.mark.parametrize("data, statuses, code", [row[1:] for row in BROKEN if len(row[1]) < 300],
                         ids=[row[0] for row in BROKEN if len(row[1]) < 300])
def test_broken_request_behind_a_good_one_does_not_take_its_answer(serving, data, statuses, code):
    with serving.connect() as connection:
        connection.send_as_far_as_taken(request("GET", "/health") + data)
        assert connection.response().status == 200
        response = connection.response()
        assert response is not None and response.status in statuses, response


@pytest.mark.quick
def test_smuggled_request_is_never_answered(serving):
    hidden = request("GET", "/languages")
    data = post(b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % (5 + len(hidden)), b"0\r\n\r\n" + hidden)
    with serving.connect() as connection:
        connection.send_as_far_as_taken(data)
        assert connection.response().status == 400
        assert connection.response() is None


# (name, body, what the message names). All are 400 invalid_argument.
def with_file(**fields):
    return {"language": "bash", "code": [{**FILE, **fields}]}


def with_limits(**limits):
    return {"language": "bash", "code": [FILE], "limits": limits}


BAD_BODIES = [
    ("no body", b"", "body"),
    ("not JSON", b"hello", "body"),
    ("broken JSON", b'{"language": "bash", ', "body"),
    ("two documents", b"{} {}", "body"),
    ("trailing comma", b'{"language": "bash", "code": [],}', "body"),
    ("deep arrays", b"[" * 40_000, "body"),
    ("deep objects", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "body"),
    ("deep value inside", b'{"language": "bash", "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "body"),
    ("bad UTF-8", b'{"language": "bash\xff", "code": []}', "body"),
    ("overlong UTF-8", b'{"language": "\xc0\xaf", "code": []}', "body"),
    ("bare NUL", b'{"language": "ba\0sh", "code": []}', "body"),
    ("lone surrogate", b'{"language": "\\ud800", "code": []}', ""),
    ("UTF-16", '{"language": "bash"}'.encode("utf-16"), "body"),
    ("array", [], "body"),
    ("text", "run", "body"),
    ("null", None, "body"),
    ("no language", {"code": [FILE]}, "language"),
    ("null language", {"language": None, "code": [FILE]}, "language"),
    ("number as language", {"language": 7, "code": [FILE]}, "language"),
    ("empty language", {"language": "", "code": [FILE]}, "language"),
    ("number as version", {"language": "bash", "version": 5.2, "code": [FILE]}, "version"),
    ("array as input", {"language": "bash", "input": [], "code": [FILE]}, "input"),
    ("no code", {"language": "bash"}, "code"),
    ("text as code", {"language": "bash", "code": "true"}, "code"),
    ("empty code", {"language": "bash", "code": []}, "code"),
    ("text as file", {"language": "bash", "code": ["true"]}, "code[0]"),
    ("no file name", {"language": "bash", "code": [{"content": "true"}]}, "code[0].filename"),
    ("no content", {"language": "bash", "code": [FILE, {"filename": "x"}]}, "code[1].content"),
    ("number as content", with_file(content=1), "code[0].content"),
    ("empty file name", with_file(filename=""), "code[0].filename"),
    ("file name with ..", with_file(filename="../x"), "code[0].filename"),
    ("file name with .. inside", with_file(filename="a/../../x"), "code[0].filename"),
    ("file name that is ..", with_file(filename=".."), "code[0].filename"),
    ("file name that is .", with_file(filename="."), "code[0].filename"),
    ("absolute file name", with_file(filename="/etc/passwd"), "code[0].filename"),
    ("file name of a folder", with_file(filename="a/"), "code[0].filename"),
    ("empty part", with_file(filename="a//b"), "code[0].filename"),
    ("NUL in a file name", with_file(filename="a\0b"), "code[0].filename"),
    ("long file name", with_file(filename="a" * 300), "code[0].filename"),
    ("long path", with_file(filename="a/" * 2500 + "a"), "code[0].filename"),
    ("duplicate file name", {"language": "bash", "code": [FILE, FILE]}, "code[1].filename"),
    ("file in a file", {"language": "bash", "code": [FILE, {"filename": "main.sh/x", "content": ""}]}, "main.sh"),
    ("unknown encoding", with_file(encoding="utf-7"), "code[0].encoding"),
    ("broken base64", with_file(content="*", encoding="base64"), "code[0].content"),
    ("thousands of files", {"language": "bash", "code": [{"filename": str(i), "content": ""} for i in range(2000)]},
     "code"),
    ("unknown entry point", {"language": "bash", "code": [FILE], "entrypoint": "other.sh"}, "entrypoint"),
    ("number as entry point", {"language": "bash", "code": [FILE], "entrypoint": 1}, "entrypoint"),
    ("text as args", {"language": "bash", "code": [FILE], "args": "a"}, "args"),
    ("number in args", {"language": "bash", "code": [FILE], "args": ["a", 1]}, "args[1]"),
    ("NUL in args", {"language": "bash", "code": [FILE], "args": ["a\0b"]}, "args[0]"),
    ("thousands of args", {"language": "bash", "code": [FILE], "args": ["a"] * 10_000}, "args"),
    ("array as env", {"language": "bash", "code": [FILE], "env": []}, "env"),
    ("number in env", {"language": "bash", "code": [FILE], "env": {"A": 1}}, "env.A"),
    ("= in a variable's name", {"language": "bash", "code": [FILE], "env": {"A=B": "x"}}, "env"),
    ("empty variable's name", {"language": "bash", "code": [FILE], "env": {"": "x"}}, "env"),
    ("NUL in a variable", {"language": "bash", "code": [FILE], "env": {"A": "x\0y"}}, "env.A"),
    ("array as limits", {"language": "bash", "code": [FILE], "limits": []}, "limits"),
    ("negative limit", with_limits(wall_ms=-1), "limits.wall_ms"),
    ("zero limit", with_limits(wall_ms=0), "limits.wall_ms"),
    ("broken limit", with_limits(memory_mb=1.5), "limits.memory_mb"),
    ("text as limit", with_limits(processes="10"), "limits.processes"),
    ("limit over the maximum", with_limits(wall_ms=60001 * configs.SLOW), f"{60000 * configs.SLOW}"),
    ("memory over the maximum", with_limits(memory_mb=513), "limits.memory_mb"),
    ("output over the maximum", with_limits(output_bytes=16777217), "limits.output_bytes"),
    ("processes over the maximum", with_limits(processes=257), "limits.processes"),
    ("CPU over the maximum", with_limits(cpu_ms=2**63), "limits.cpu_ms"),
    ("limit past 64 bits", with_limits(cpu_ms=2**64), ""),
    ("limit of 400 digits", with_limits(cpu_ms=10**400), ""),
    ("unknown output encoding", {"language": "bash", "code": [FILE], "output_encoding": "latin-1"}, "output_encoding"),
]


@pytest.mark.quick
@pytest.mark.parametrize("body, named", [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES])
def test_bad_body_is_refused_by_the_name_of_its_field_and_the_connection_goes_on(serving, body, named):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with serving.connect() as connection:
        response = connection.exchange("POST", "/run", data)
        assert response.status == 400, response
        code, message = response.error()
        assert code == "invalid_argument" and named in message, response
        assert connection.exchange("GET", "/health").status == 200


@pytest.mark.parametrize("body", [{"language": "cobol"}, {"language": "bash", "version": "4.0"}, {"language": "\0"}])
def test_unknown_language_or_version_names_those_that_there_are(serving, body):
    response = serving.post_run({**body, "code": [FILE]})
    assert response.status == 404
    code, message = response.error()
    assert code == "not_found"
    assert "bash" in message and "python" in message and body.get("version", body["language"]).strip("\0") in message


def test_unknown_fields_are_ignored(serving):
    response = serving.post_run({**run_body("bash", "echo ok"), "unknown": {"deep": [1, 2]}, "code2": 1})
    assert (response.status, response.json()["stdout"]) == (200, "ok\n")


# (method, path, status, code, Allow)
ROUTES = [
    ("GET", "/", 404, "not_found", None),
    ("GET", "/run/", 404, "not_found", None),
    ("POST", "/Run", 404, "not_found", None),
    ("GET", "/etc/passwd", 404, "not_found", None),
    ("GET", "/run", 405, "method_not_allowed", {"POST"}),
    ("PUT", "/run", 405, "method_not_allowed", {"POST"}),
    ("DELETE", "/health", 405, "method_not_allowed", {"GET", "HEAD"}),
    ("POST", "/languages", 405, "method_not_allowed", {"GET", "HEAD"}),
    ("POST", "/metrics", 405, "method_not_allowed", {"GET", "HEAD"}),
]


@pytest.mark.parametrize("method, path, status, code, allow", ROUTES)
def test_wrong_route_or_method_is_told_apart(serving, method, path, status, code, allow):
    with serving.connect() as connection:
        response = connection.exchange(method, path, b"" if method in ("POST", "PUT") else None)
        assert (response.status, response.error()[0]) == (status, code)
        if allow:
            allowed = {name.strip() for name in response.header("allow").split(",")}
            assert allowed - {"OPTIONS"} == allow, response
        assert connection.exchange("GET", "/health").status == 200


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_content_type_does_not_matter(serving, content_type):
    headers = [("Content-Type", content_type)] if content_type else []
    with serving.connect() as connection:
        response = connection.exchange("POST", "/run", json.dumps(run_body("bash", "echo ok")).encode(), headers)
        assert (response.status, response.json()["stdout"]) == (200, "ok\n")


def test_head_has_the_headers_of_get_and_no_body(serving):
    with serving.connect() as connection:
        get = connection.exchange("GET", "/languages")
        head = connection.exchange("HEAD", "/languages")
        assert (head.status, head.header("content-length")) == (200, str(len(get.body)))
        assert connection.exchange("GET", "/health").status == 200


def test_query_is_no_part_of_the_route(serving):
    assert serving.get("/health?verbose=1&x=%00").status == 200


def test_http_1_0_is_answered_and_closed(serving):
    with serving.connect() as connection:
        connection.send(b"GET /health HTTP/1.0\r\n\r\n")
        assert connection.response().status == 200
        assert connection.is_closed_within(5)


def test_connection_close_is_obeyed(serving):
    with serving.connect() as connection:
        response = connection.exchange("GET", "/health", headers=[("Connection", "close")])
        assert response.header("connection") == "close"
        assert connection.is_closed_within(5)


def test_expect_100_continue_is_answered_before_the_body_is_sent(serving):
    body = json.dumps(run_body("bash", "echo ok")).encode()
    with serving.connect() as connection:
        connection.send(post(b"Content-Length: %d\r\nExpect: 100-continue\r\n" % len(body)))
        assert connection.response().status == 100
        connection.send(body)
        assert connection.response().json()["stdout"] == "ok\n"


def test_expect_100_continue_with_a_body_over_its_cap_is_refused_before_it_is_sent(serving):
    with serving.connect() as connection:
        connection.send(post(b"Content-Length: %d\r\nExpect: 100-continue\r\n" % (MAX_BODY_BYTES * 10)))
        assert connection.response().status == 413


def test_body_of_exactly_the_cap_is_taken(serving):
    body = json.dumps(run_body("bash", "echo ok")).encode()
    response = serving.post_run(body + b" " * (MAX_BODY_BYTES - len(body)))
    assert (response.status, response.json()["stdout"]) == (200, "ok\n")


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_request_in_pieces_is_one_request(serving, size):
    with serving.connect() as connection:
        connection.send_in_pieces(request("POST", "/run", run_body("bash", "echo ok")), size)
        assert connection.response().json()["stdout"] == "ok\n"


@pytest.mark.parametrize("size", [1, 10, 4096])
def test_chunked_body_is_put_together_and_its_trailers_dropped(serving, size):
    body = json.dumps(run_body("bash", "echo ok")).encode()
    parts = [body[start:start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x;extension=1\r\n%s\r\n" % (len(part), part) for part in parts)
    with serving.connect() as connection:
        connection.send(chunked(chunks, b"0\r\nX-Trailer: y\r\n\r\n"))
        assert connection.response().json()["stdout"] == "ok\n"


@pytest.mark.quick
def test_pipelined_requests_are_answered_in_their_order(serving):
    slow_first = request("POST", "/run", run_body("bash", "sleep 0.3; echo first"))
    quick = [request("GET", "/health"), request("POST", "/run", run_body("bash", "echo third")),
             request("GET", "/nothing"), request("POST", "/run", b"broken"), request("GET", "/languages")]
    with serving.connect() as connection:
        connection.send(slow_first + b"".join(quick))
        answers = [connection.response() for _ in range(6)]
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 400, 200]
    assert answers[0].json()["stdout"] == "first\n" and answers[2].json()["stdout"] == "third\n"
    assert "languages" in answers[5].json()


def test_two_hundred_pipelined_requests_are_all_answered(serving):
    with serving.connect() as connection:
        connection.send(request("GET", "/health") * 200)
        assert all(connection.response().status == 200 for _ in range(200))


@pytest.mark.parametrize("start", [b"", b"G", b"GET /health HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\n"])
def test_headers_that_do_not_come_are_a_timeout(serving, start):
    with serving.connect() as connection:
        connection.send(start)
        began = time.monotonic()
        response = connection.response()
        # Somebody who has said nothing is idle, and is owed no answer.
        assert (response is None and not start) or (response.status, response.error()[0]) == (408, "timeout")
        assert connection.is_closed_within(5)
    assert time.monotonic() - began < max(HEADER_TIMEOUT_S, IDLE_TIMEOUT_S) + 2 * configs.SLOW


def test_headers_that_drip_are_a_timeout_all_the_same(serving):
    with serving.connect() as connection:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            connection.send_in_pieces(b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 1000, 1, 0.05 * configs.SLOW)
        assert time.monotonic() - began < HEADER_TIMEOUT_S + 3 * configs.SLOW


@pytest.mark.parametrize("headers, body", [
    (b"Content-Length: 100\r\n", b""), (b"Content-Length: 100\r\n", b"{"), (b"Transfer-Encoding: chunked\r\n", b""),
    (b"Transfer-Encoding: chunked\r\n", b"5\r\n{"), (b"Transfer-Encoding: chunked\r\n", b"1\r\n{\r\n")])
def test_body_that_does_not_come_is_a_timeout(serving, headers, body):
    with serving.connect() as connection:
        began = time.monotonic()
        connection.send(post(headers, body))
        response = connection.response()
        assert (response.status, response.error()[0]) == (408, "timeout")
        assert BODY_TIMEOUT_S * 0.9 < time.monotonic() - began < BODY_TIMEOUT_S + 2 * configs.SLOW
        assert connection.is_closed_within(5)


def test_idle_connection_is_closed_in_time_and_without_words(serving):
    with serving.connect() as connection:
        assert connection.exchange("GET", "/health").status == 200
        began = time.monotonic()
        assert connection.is_closed_within(IDLE_TIMEOUT_S + 2 * configs.SLOW)
        assert time.monotonic() - began > IDLE_TIMEOUT_S * 0.8


def test_thousand_idle_connections_do_not_keep_others_out(serving):
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(serving.connect()) for _ in range(1000)]
        serving.assert_works()
        assert connections[-1].exchange("GET", "/health").status == 200


def test_thousand_connections_that_come_and_go_leave_nothing(serving):
    for i in range(1000):
        with serving.connect() as connection:
            if i % 3:
                connection.send(b"POST /run HTTP/1.1\r\nContent-Length: 50\r\n\r\n{" if i % 2 else b"GET /he")


def test_client_that_never_reads_is_cut_off(serving):
    body = run_body("bash", "head -c 12000000 /dev/zero", limits={"output_bytes": 16777216})
    connection = serving.connect()
    with connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.send(request("POST", "/run", body))
        address = "%s:%d" % connection.socket.getsockname()[:2]
        wait_until(lambda: not established(address), 20, "the server keeps a connection that nobody reads")


def established(address):
    """Whether the server's end of the connection from this address is still there."""
    host, port = address.rsplit(":", 1)
    remote = "%08X:%04X" % (int.from_bytes(socket.inet_aton(host), "little"), int(port))
    with open("/proc/net/tcp", encoding="ascii") as table:
        return any(line.split()[2] == remote and line.split()[3] == "01" for line in table.readlines()[1:])
