"""The distribution's docker-registry on a free port of loopback, plain or with TLS, with or without users; and
the token server that goes with it."""
import base64
import http.server
import json
import os
import secrets
import socket
import ssl
import subprocess
import threading
import time

USER, PASSWORD = "someone", "a secret"


# Below those that the kernel chooses by itself, and others for each process of tests: nobody else takes a port between the
# moment in which it is found free and that in which its server listens.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = iter(range(20000 + WORKER % 12 * 1000, 21000 + WORKER % 12 * 1000))


def free_port():
    for port in PORTS:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no port is free")


def openssl(*arguments, folder):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_authority(folder, host="localhost", days=2):
    """A certificate authority and a certificate for `host`; gives (ca, certificate, key)."""
    folder.mkdir(parents=True, exist_ok=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem", "-subj", "/CN=Test authority", "-days", "10", folder=folder)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out",
            "server.csr", "-subj", f"/CN={host}", folder=folder)
    (folder / "extensions").write_text(f"subjectAltName=DNS:{host}\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
            "server.pem", "-days", str(days), "-extfile", "extensions", folder=folder)
    return folder / "ca.pem", folder / "server.pem", folder / "server.key"


class TokenServer:
    """Gives tokens that docker-registry believes (distribution's token specification): JWTs signed with RS256."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "token.key", "-out", "token.pem", "-subj",
                "/CN=Token issuer", "-days", "10", folder=folder)
        self.certificate = folder / "token.pem"
        der = subprocess.run(["openssl", "x509", "-in", self.certificate, "-outform", "DER"], check=True,
                             capture_output=True).stdout
        self.chain = [base64.b64encode(der).decode()]
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d/token" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request):
        query = dict(part.split("=", 1) for part in request.path.partition("?")[2].split("&") if "=" in part)
        self.requests.append((request.path, request.headers.get("Authorization", "")))
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.headers.get("Authorization") != expected:
            request.send_response(401)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        import urllib.parse
        scope = urllib.parse.unquote_plus(query.get("scope", ""))
        access = []
        if scope:
            kind, name, actions = scope.split(":")
            access = [{"type": kind, "name": name, "actions": actions.split(",")}]
        body = json.dumps({"token": self.sign(access), "expires_in": 300}).encode()
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def sign(self, access):
        def part(document):
            return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=")
        now = int(time.time())
        text = part({"typ": "JWT", "alg": "RS256", "x5c": self.chain}) + b"." + part({
            "iss": "test issuer", "sub": USER, "aud": "test registry", "exp": now + 300, "nbf": now - 10, "iat": now,
            "jti": secrets.token_hex(8), "access": access})
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.folder / "token.key"], input=text,
                                   check=True, capture_output=True).stdout
        return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Registry:
    """`auth` is None, "basic" or a TokenServer; `tls` what make_authority() gave."""

    def __init__(self, folder, auth=None, tls=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.tls = tls
        self.auth = auth
        self.port = free_port()
        self.host = f"localhost:{self.port}"
        config = {"version": "0.1", "log": {"level": "error"},
                  "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
                  "http": {"addr": f"127.0.0.1:{self.port}", "secret": "test"}}
        if tls:
            config["http"]["tls"] = {"certificate": str(tls[1]), "key": str(tls[2])}
        if auth == "basic":
            users = subprocess.run(["htpasswd", "-Bbn", USER, PASSWORD], check=True, capture_output=True, text=True)
            (folder / "htpasswd").write_text(users.stdout)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        elif auth is not None:
            config["auth"] = {"token": {"realm": auth.url, "service": "test registry", "issuer": "test issuer",
                                        "rootcertbundle": str(auth.certificate)}}
        (folder / "config.yml").write_text(json.dumps(config))
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=self.log,
                                        stderr=self.log, env={**os.environ, "OTEL_TRACES_EXPORTER": "none"})
        self.wait_until_up()

    def wait_until_up(self):
        deadline = time.monotonic() + 30
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    if self.tls:
                        context = ssl.create_default_context(cafile=self.tls[0])
                        context.wrap_socket(connection, server_hostname="localhost").close()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "docker-registry does not start"
                time.sleep(0.05)

    def push(self, source, name, *arguments):
        """Copies an image there with skopeo; `source` is as skopeo names it."""
        options = ["--dest-tls-verify=false"] if not self.tls else [f"--dest-cert-dir={self.tls[0].parent}"]
        if self.auth:
            options += ["--dest-creds", f"{USER}:{PASSWORD}"]
        certificates = self.folder / "certificates"
        if self.tls:
            certificates.mkdir(exist_ok=True)
            (certificates / "ca.crt").write_bytes(self.tls[0].read_bytes())
            options[0] = f"--dest-cert-dir={certificates}"
        subprocess.run(["skopeo", "copy", "-q", *options, *arguments, source, f"docker://{self.host}/{name}"],
                       check=True, capture_output=True)
        return f"{self.host}/{name}"

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
