"""A registry of the tests' own that does what it should, but for what a test tells it to do otherwise."""
import http.server
import re
import socket
import ssl
import threading
import time

PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<what>[^/]+)$")


class Answer:
    """What is sent for a request. A test changes any of it."""

    def __init__(self, status=200, headers=(), body=b""):
        self.status = status
        self.headers = dict(headers)
        self.body = body
        self.length = None       # Content-Length, where it is not the body's
        self.chunk_bytes = None  # the body in pieces of this size ...
        self.pause_s = 0         # ... with so long between them
        self.cut_after = None    # the connection ends after so many bytes of the body
        self.endless = False     # the body goes on until the client goes


class ScriptedRegistry:
    """`change(request, answer)`, where there is one, may change each answer; the request has path and headers."""

    def __init__(self, change=None, tls=None):
        self.images = {}  # (name, tag or digest) -> Image
        self.blobs = {}
        self.change = change
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.serve(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls[1], tls[2])
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.host = f"localhost:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, image, name="test/image", tag="1"):
        self.blobs |= image.blobs
        for what in (tag, image.digest):
            self.images[name, what] = image
        return f"{self.host}/{name}:{tag}"

    def answer(self, request):
        if request.path == "/v2/":
            return Answer(body=b"{}")
        match = PATH.match(request.path.partition("?")[0])
        if not match:
            return Answer(404, body=b'{"errors":[{"code":"NAME_UNKNOWN","message":"what is that"}]}')
        if match["kind"] == "manifests":
            image = self.images.get((match["name"], match["what"]))
            content = self.blobs.get(image.digest if image else match["what"])
            if content is None:
                return Answer(404, body=b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such tag"}]}')
            kind = image.manifest["mediaType"] if image else "application/vnd.oci.image.manifest.v1+json"
            digest = image.digest if image else match["what"]
            return Answer(headers={"Content-Type": kind, "Docker-Content-Digest": digest}, body=content)
        content = self.blobs.get(match["what"])
        if content is None:
            return Answer(404, body=b'{"errors":[{"code":"BLOB_UNKNOWN","message":"no such blob"}]}')
        answer = Answer(headers={"Content-Type": "application/octet-stream"}, body=content)
        wanted = re.match(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if wanted:
            start = int(wanted[1])
            answer.status = 206
            answer.headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            answer.body = content[start:]
        return answer

    def serve(self, request):
        self.requests.append((request.command, request.path, dict(request.headers)))
        answer = self.answer(request)
        if self.change:
            self.change(request, answer)
        try:
            self.send(request, answer)
        except OSError:
            request.close_connection = True

    @staticmethod
    def send(request, answer):
        request.send_response(answer.status)
        for name, value in answer.headers.items():
            request.send_header(name, value)
        if answer.endless:
            request.send_header("Connection", "close")
            request.close_connection = True
        else:
            request.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
        request.end_headers()
        if request.command == "HEAD":
            return
        body = answer.body if answer.cut_after is None else answer.body[:answer.cut_after]
        size = answer.chunk_bytes or max(len(body), 1)
        for start in range(0, len(body), size):
            request.wfile.write(body[start:start + size])
            if answer.pause_s:
                time.sleep(answer.pause_s)
        while answer.endless:
            request.wfile.write(bytes(65536))
        if answer.cut_after is not None or (answer.length or 0) > len(body):
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)

    def asked(self, part):
        return [entry for entry in self.requests if part in entry[1]]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def slow_blobs(chunk_bytes=4096, pause_s=0.05):
    """A change that lets blobs come in small pieces."""
    def change(request, answer):
        if "/blobs/" in request.path:
            answer.chunk_bytes, answer.pause_s = chunk_bytes, pause_s
    return change
