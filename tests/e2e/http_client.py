"""HTTP over raw sockets: requests may be as broken as a test wants, answers are parsed strictly."""
import base64
import json
import socket
import time


class Response:
    def __init__(self, version, status, headers, body):
        self.version = version
        self.status = status
        self.headers = headers  # (lower-case name, value), in order
        self.body = body

    def header(self, name):
        """The one value of this header, or None; a header that comes twice is a mistake."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) <= 1, f"{name} comes {len(values)} times: {self.headers}"
        return values[0] if values else None

    def json(self):
        assert self.header("content-type").split(";")[0] == "application/json", self.headers
        return json.loads(self.body)

    def error(self):
        """(code, message) of an error answer."""
        answer = self.json()
        assert set(answer) == {"error"} and set(answer["error"]) == {"code", "message"}, answer
        assert answer["error"]["message"], answer
        return answer["error"]["code"], answer["error"]["message"]

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:400]!r}>"


class Connection:
    """One connection. Every wait ends after `timeout_s`."""

    def __init__(self, address, timeout_s=30):
        self.socket = socket.create_connection(address, timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_as_far_as_taken(self, data):
        """For requests that the server may refuse, and close on, before it has read all of them."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send_in_pieces(self, data, size=1, pause_s=0.0):
        for start in range(0, len(data), size):
            self.send(data[start:start + size])
            time.sleep(pause_s)

    def _receive(self):
        """False at the end of the stream; a reset is one."""
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.received += data
        return bool(data)

    def _take(self, count):
        while len(self.received) < count:
            assert self._receive(), f"the stream ended inside an answer: {self.received[:400]!r}"
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def _take_line(self):
        while b"\r\n" not in self.received:
            assert self._receive(), f"the stream ended inside an answer: {self.received[:400]!r}"
        line, self.received = self.received.split(b"\r\n", 1)
        return line.decode("latin-1")

    def response(self, to_head=False):
        """The next answer, or None where the server has closed instead."""
        while not self.received:
            if not self._receive():
                return None
        version, status, *_ = self._take_line().split(" ", 2)
        headers = []
        while line := self._take_line():
            name, value = line.split(":", 1)
            headers.append((name.lower(), value.strip()))
        response = Response(version, int(status), headers, b"")
        if not to_head and response.status >= 200 and response.status not in (204, 304):
            response.body = self._body(response)
        return response

    def _body(self, response):
        if response.header("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._take_line(), 16):
                body += self._take(size)
                assert self._take(2) == b"\r\n"
            assert self._take_line() == ""
            return body
        return self._take(int(response.header("content-length")))

    def is_closed_within(self, seconds):
        """Whether the server closes in time, without sending more."""
        assert not self.received, f"unread: {self.received[:400]!r}"
        self.socket.settimeout(seconds)
        try:
            return not self._receive()
        except TimeoutError:
            return False

    def exchange(self, method, path, body=None, headers=()):
        self.send(request(method, path, body, headers))
        response = self.response(to_head=method == "HEAD")
        assert response is not None, f"{method} {path}: the server closed without an answer"
        return response


def request(method, path, body=None, headers=()):
    """The bytes of a request; a body that is not bytes is sent as JSON."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        lines.append("Content-Type: application/json")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + (body or b"")


def exchange(address, method, path, body=None, headers=(), timeout_s=60):
    """One request on a connection of its own."""
    with Connection(address, timeout_s) as connection:
        return connection.exchange(method, path, body, [("Connection", "close"), *headers])


def base64_text(data):
    return base64.b64encode(data).decode()
