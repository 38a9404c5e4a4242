"""Real registries for a test: the distribution's, on loopback, filled by skopeo.

Usage: registry_lab.py {plain|htpasswd|token|tls}. Writes one line of JSON about what runs, and ends all of it when its
standard input ends.
"""
import base64
import contextlib
import gzip
import hashlib
import http.server
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

USER, PASSWORD = "tester", "correct horse"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stdout.decode(errors='replace')}")
    return done.stdout


class Layout:
    """An OCI layout with images of one layer each, and an index of two platforms."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.random = random.Random(4)
        images = {name: self.image(name) for name in ("amd64", "arm64")}
        multi = self.add(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(images.values())}), INDEX)
        named = {"multi": multi, "single": images["amd64"]}
        entries = [{**entry, "annotations": {"org.opencontainers.image.ref.name": name}} for name, entry in named.items()]
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))

    def add(self, content, media_type):
        data = content.encode() if isinstance(content, str) else content
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def image(self, architecture):
        content = self.random.randbytes(2_000_000)
        layer = self.add(gzip.compress(content, 1), "application/vnd.oci.image.layer.v1.tar+gzip")
        config = {"architecture": architecture, "os": "linux",
                  "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]}}
        config = self.add(json.dumps(config), "application/vnd.oci.image.config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        return {**self.add(json.dumps(manifest), MANIFEST), "platform": {"os": "linux", "architecture": architecture}}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def registry(folder, more="", tls=""):
    port = free_port()
    config = folder / f"config-{port}.yml"
    config.write_text(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                      f"storage: {{filesystem: {{rootdirectory: {folder}/storage}}}}\n"
                      f"http:\n  addr: 127.0.0.1:{port}\n{tls}{more}")
    with subprocess.Popen(["/usr/bin/docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(500):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


def fill(folder):
    Layout(folder / "layout")
    with registry(folder) as host:
        for source, target, options in (("single", "team/app:oci", []), ("multi", "team/app:multi", ["--all"]),
                                        ("single", "team/app:docker", ["--format", "v2s2"])):
            run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", *options, f"oci:{folder}/layout:{source}",
                f"docker://{host}/{target}")


def make_key(folder, name):
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{folder}/{name}.key", "-out",
        f"{folder}/{name}.crt", "-subj", f"/CN={name}", "-days", "2")


def make_certificate(folder, name, alternatives, dates=("-days", "2")):
    """Signed by ca.crt of the folder."""
    (folder / f"{name}.ext").write_text(f"subjectAltName={alternatives}\n")
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{folder}/{name}.key", "-out",
        f"{folder}/{name}.csr", "-subj", f"/CN={name}")
    run("openssl", "x509", "-req", "-in", f"{folder}/{name}.csr", "-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key",
        "-CAcreateserial", "-out", f"{folder}/{name}.crt", "-extfile", f"{folder}/{name}.ext", *dates)


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer(http.server.ThreadingHTTPServer):
    """Gives tokens for pulling to whoever knows the password."""

    def __init__(self, folder):
        self.folder = folder
        certificate = (folder / "signer.crt").read_text()
        self.certificate = "".join(certificate.split("-----")[2].split())
        super().__init__(("127.0.0.1", 0), TokenHandler)

    def token(self, service, scope):
        kind, name, _ = scope.split(":")
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self.certificate]}
        claims = {"iss": "test issuer", "sub": USER, "aud": service, "exp": now + 300, "nbf": now - 10, "iat": now,
                  "jti": os.urandom(8).hex(), "access": [{"type": kind, "name": name, "actions": ["pull"]}]}
        text = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
        signature = run("openssl", "dgst", "-sha256", "-sign", f"{self.folder}/signer.key", input=text.encode())
        return f"{text}.{encode(signature)}"


class TokenHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        allowed = self.headers.get("Authorization") == expected
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        answer = {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]}
        if allowed:
            issued = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            answer = {"token": self.server.token(query["service"][0], query["scope"][0]), "expires_in": 300,
                      "issued_at": issued}
        body = json.dumps(answer).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        pass


@contextlib.contextmanager
def token_server(folder):
    make_key(folder, "signer")
    server = TokenServer(folder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/token"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tls_hosts(folder, stack):
    """Registries with a good certificate, an expired one, one for another host, and one whose tokens are without TLS."""
    make_key(folder, "ca")
    addresses = "DNS:localhost,IP:127.0.0.1"
    make_certificate(folder, "good", addresses)
    make_certificate(folder, "expired", addresses, ("-days", "-1"))
    make_certificate(folder, "other", "DNS:other.example")
    hosts = {}
    for name in ("good", "expired", "other"):
        tls = f"  tls: {{certificate: {folder}/{name}.crt, key: {folder}/{name}.key}}\n"
        hosts[name] = stack.enter_context(registry(folder, tls=tls))
    auth = (f"auth: {{token: {{realm: 'http://127.0.0.1:1/token', service: test service, issuer: test issuer, "
            f"rootcertbundle: {folder}/ca.crt}}}}\n")
    tls = f"  tls: {{certificate: {folder}/good.crt, key: {folder}/good.key}}\n"
    hosts["open_tokens"] = stack.enter_context(registry(folder, auth, tls))
    return hosts


def main():
    mode = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="lambdo-registry-lab-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        fill(folder)
        lab = {"user": USER, "password": PASSWORD}
        if mode == "tls":
            lab.update(tls_hosts(folder, stack), ca=f"{folder}/ca.crt")
        else:
            auth = ""
            if mode == "htpasswd":
                entry = run("htpasswd", "-nbB", USER, PASSWORD)
                (folder / "htpasswd").write_bytes(entry)
                auth = f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
            elif mode == "token":
                realm = stack.enter_context(token_server(folder))
                auth = (f"auth: {{token: {{realm: '{realm}', service: test service, issuer: test issuer, "
                        f"rootcertbundle: {folder}/signer.crt}}}}\n")
            lab["host"] = stack.enter_context(registry(folder, auth))
        print(json.dumps(lab), flush=True)
        sys.stdin.read()


main()
