"""Registries and images that mean harm: each is refused with its own code, and nothing outside the store changes."""
import base64
import json
import pathlib
import random

import pytest

import configs
import image_tool
import small_images
from scripted_registry import ScriptedRegistry
from small_images import as_json, build, changes_layer, digest_of, entry, file, folder, link, shell_layer, tar


@pytest.fixture
def scripted():
    made = []

    def start(change=None, **more):
        made.append(ScriptedRegistry(change, **more))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def outside(tmp_path):
    """What a hostile image would like to change; the same at the end as at the beginning."""
    place = tmp_path / "outside"
    (place / "folder").mkdir(parents=True)
    (place / "victim").write_text("untouched\n")
    (place / "folder/victim").write_text("untouched\n")
    (tmp_path / "store").mkdir(mode=0o700)
    before = image_tool.snapshot(place)
    elsewhere = [pathlib.Path(folder, "evil") for folder in ("/", "/tmp", "/etc", "/root", "/usr", "/nowhere", tmp_path)]
    passwd = pathlib.Path("/etc/passwd").stat().st_ino
    yield place
    assert image_tool.snapshot(place) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "store"]
    assert not [path for path in elsewhere if path.exists()]
    assert pathlib.Path("/etc/passwd").stat().st_ino == passwd


def check_store_is_clean(store):
    assert image_tool.leftovers(store) == []
    listed = json.loads(image_tool.run("ls", "--json", store=store).stdout)
    assert listed["images"] == [], "a refused image has no name"


# ---- the registry

def on(part, action):
    """A change of the answers to requests whose path has `part`."""
    def change(request, answer):
        if part in request.path:
            action(request, answer)
    return change


def other_body(_, answer):
    answer.body = bytes(byte ^ 1 for byte in answer.body)


def longer_body(_, answer):
    answer.body += b"more"


def shorter_body(_, answer):
    answer.body = answer.body[:-7]


def endless_body(_, answer):
    answer.endless = True


def foreign_layer(_, answer):
    document = json.loads(answer.body)
    document["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    become(answer, document)


def become(answer, document):
    answer.body = as_json(document)
    answer.headers["Docker-Content-Digest"] = digest_of(answer.body)


def schema_1(_, answer):
    become(answer, {"schemaVersion": 1, "name": "x", "fsLayers": [], "history": []})
    answer.headers["Content-Type"] = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def unknown_kind(_, answer):
    become(answer, {"schemaVersion": 2, "mediaType": "application/vnd.example.thing+json"})
    answer.headers["Content-Type"] = "application/vnd.example.thing+json"


def no_json(_, answer):
    answer.body = b"<html>hello</html>"
    answer.headers["Docker-Content-Digest"] = digest_of(answer.body)


def too_many_layers(_, answer):
    document = json.loads(answer.body)
    document["layers"] = document["layers"] * 400
    become(answer, document)


def enormous_layer(_, answer):
    document = json.loads(answer.body)
    document["layers"][0]["size"] = 1 << 60
    become(answer, document)


def wrong_digest_header(_, answer):
    answer.headers["Docker-Content-Digest"] = "sha256:" + 64 * "0"


def redirect_in_a_circle(request, answer):
    answer.status = 307
    answer.headers["Location"] = request.path


def redirect_to_a_file(_, answer):
    answer.status = 307
    answer.headers["Location"] = "file:///etc/passwd"


def server_error(_, answer):
    answer.status, answer.body = 418, b'{"errors":[{"code":"DENIED","message":"I am a teapot"}]}'


def no_digest_header(_, answer):
    del answer.headers["Docker-Content-Digest"]


REGISTRY = {
    "the manifest is not what its digest says": ("/manifests/", other_body, "digest_mismatch"),
    "the digest header names another": ("/manifests/", wrong_digest_header, "digest_mismatch"),
    "a blob is another": ("/blobs/", other_body, "digest_mismatch"),
    "a blob is too long": ("/blobs/", longer_body, "size_mismatch"),
    "a blob is too short": ("/blobs/", shorter_body, "size_mismatch"),
    "a blob never ends": ("/blobs/", endless_body, "size_mismatch"),
    "a manifest never ends": ("/manifests/", endless_body, "image_too_large"),
    "a foreign layer": ("/manifests/", foreign_layer, "media_type_unsupported"),
    "schema 1": ("/manifests/", schema_1, "media_type_unsupported"),
    "a kind that nobody knows": ("/manifests/", unknown_kind, "media_type_unsupported"),
    "no JSON": ("/manifests/", no_json, "manifest_invalid"),
    "too many layers": ("/manifests/", too_many_layers, "image_too_large"),
    "an enormous layer": ("/manifests/", enormous_layer, "image_too_large"),
    "redirects in a circle": ("/blobs/", redirect_in_a_circle, "redirect_refused"),
    "a redirect to a file": ("/blobs/", redirect_to_a_file, "redirect_refused"),
    "an error of its own": ("/manifests/", server_error, "registry_failed"),
}


def check_nothing_is_stored(store):
    check_store_is_clean(store)
    assert [path for path in pathlib.Path(store, "blobs").rglob("*") if path.is_file()] == []


@pytest.mark.quick
@pytest.mark.parametrize("case", REGISTRY)
def test_a_registry_that_misbehaves_is_refused(scripted, outside, tmp_path, case):
    part, action, wanted = REGISTRY[case]
    hostile = scripted(on(part, action))
    code, message = image_tool.refused(hostile.add(small_images.standard()), tmp_path / "store")
    assert code == wanted, message
    check_store_is_clean(tmp_path / "store")
    if part == "/manifests/":
        check_nothing_is_stored(tmp_path / "store")


@pytest.mark.parametrize("header", [True, False], ids=["with its digest's header", "without a header"])
def test_another_manifest_than_the_digest_asked_for_is_refused(scripted, outside, tmp_path, header):
    """A manifest that is good in every way, but not the one that was asked for."""
    other = small_images.build([shell_layer(), [file("other")]])

    def exchange(_, answer):
        answer.body = other.blobs[other.digest]
        answer.headers["Docker-Content-Digest"] = other.digest
        if not header:
            no_digest_header(_, answer)

    hostile = scripted(on("/manifests/", exchange))
    image = small_images.standard()
    hostile.add(image)
    hostile.add(other, tag="2")
    reference = f"{hostile.host}/test/image@{image.digest}"
    code, message = image_tool.refused(reference, tmp_path / "store")
    assert code == "digest_mismatch", message
    assert other.digest in message and f"not the one asked for, {image.digest}" in message
    assert not hostile.asked("/blobs/"), "nothing of another image is fetched"
    check_nothing_is_stored(tmp_path / "store")


def test_a_manifest_of_an_index_is_what_the_index_says(scripted, outside, tmp_path):
    """The size and digest that the index has count, whatever the answer says of itself."""
    image = small_images.standard()
    index = small_images.index_of([image])
    for change, wanted in [(other_body, "digest_mismatch"), (longer_body, "size_mismatch")]:
        def fit(request, answer, change=change):
            change(request, answer)
            answer.headers["Docker-Content-Digest"] = digest_of(answer.body)

        hostile = scripted(on(f"/manifests/{image.digest}", fit))
        code, message = image_tool.refused(hostile.add(index), tmp_path / "store")
        assert code == wanted, message
        assert not hostile.asked("/blobs/")
        check_nothing_is_stored(tmp_path / "store")


def test_a_blob_that_breaks_off_is_resumed_where_it_did(scripted, outside, tmp_path):
    broken = set()

    def break_once(request, answer):
        if "/blobs/" in request.path and request.path not in broken and len(answer.body) > 1000:
            broken.add(request.path)
            answer.cut_after = len(answer.body) // 2

    registry = scripted(break_once)
    assert image_tool.pull(registry.add(small_images.standard()), tmp_path / "store")["fetched"]
    resumed = [headers["Range"] for _, path, headers in registry.requests if "Range" in headers and "/blobs/" in path]
    assert broken and len(resumed) >= len(broken)


def test_a_registry_that_asks_to_wait_is_asked_again(scripted, outside, tmp_path):
    asked = []

    def busy_first(request, answer):
        if "/manifests/" in request.path:
            asked.append(request.path)
            if len(asked) == 1:
                answer.status, answer.body = 429, b"{}"
                answer.headers["Retry-After"] = "1"

    registry = scripted(busy_first)
    assert image_tool.pull(registry.add(small_images.standard()), tmp_path / "store")["fetched"]
    assert len(asked) >= 2


def test_authorization_never_follows_to_another_host(scripted, outside, tmp_path):
    from test_pull import credentials
    elsewhere = scripted()
    image = small_images.standard()
    elsewhere.add(image)

    def send_away(request, answer):
        if not request.headers.get("Authorization"):
            answer.status, answer.body = 401, b"{}"
            answer.headers["WWW-Authenticate"] = 'Basic realm="test"'
        elif "/blobs/" in request.path:
            answer.status, answer.body = 307, b""
            answer.headers["Location"] = f"http://127.0.0.1:{elsewhere.port}{request.path}"

    registry = scripted(send_away)
    folder = tmp_path / "store" / "docker"
    environment = credentials(folder, registry.host)
    assert image_tool.pull(registry.add(image), tmp_path / "store/own", environment=environment)["fetched"]
    assert elsewhere.asked("/blobs/")
    assert not [headers for _, _, headers in elsewhere.requests if "Authorization" in headers]


def test_a_token_that_ends_in_the_middle_of_a_pull_is_renewed(scripted, outside, tmp_path):
    """The first one is good for one blob."""
    given, used, refused = [], [], []

    def guard(request, answer):
        if request.path.startswith("/token"):
            given.append(f"token-{len(given)}")
            answer.status, answer.headers = 200, {"Content-Type": "application/json"}
            answer.body = as_json({"token": given[-1], "expires_in": 300})
            return
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        is_over = token == "token-0" and used
        if is_over:
            refused.append(request.path)
        if token not in given or is_over:
            answer.status, answer.body = 401, b"{}"
            answer.headers["WWW-Authenticate"] = f'Bearer realm="http://{registry.host}/token",service="test"'
        elif "/blobs/" in request.path:
            used.append(token)

    registry = scripted(guard)
    assert image_tool.pull(registry.add(small_images.standard()), tmp_path / "store")["fetched"]
    assert len(used) == 3, "two layers and the configuration"
    assert refused and used[0] == "token-0" and "token-0" not in used[1:]


def wants_basic(request, answer):
    if not request.headers.get("Authorization"):
        answer.status, answer.body = 401, b"{}"
        answer.headers["WWW-Authenticate"] = 'Basic realm="test"'


@pytest.mark.parametrize("by", ["command", "server"])
def test_a_mirror_gets_its_own_credentials_and_a_registry_its_own(servers, scripted, outside, tmp_path, by):
    """The mirror has the manifest but not the layers, so both are asked; a helper knows a secret for each."""
    image = small_images.standard()

    def no_blobs(request, answer):
        wants_basic(request, answer)
        if "/blobs/" in request.path and answer.status != 401:
            answer.status, answer.body = 404, b"{}"

    mirror, registry = scripted(no_blobs), scripted(wants_basic)
    mirror.add(image)
    reference = registry.add(image)
    programs = tmp_path / "store/bin"
    programs.mkdir()
    (programs / "config.json").write_text('{"credsStore": "test"}')
    helper = programs / "docker-credential-test"
    helper.write_text('#!/bin/sh\nread -r host\nprintf \'{"Username":"u","Secret":"of %s"}\' "$host"\n')
    helper.chmod(0o755)
    hosts = {registry.host: {"plain_http": True, "mirrors": [f"http://{mirror.host}"]}}
    made = servers.prepare([], name="store/server", images={"store": str(tmp_path / "store/own")},
                           registries={"credentials": str(programs), "hosts": hosts})
    made.config["languages"] = [
        {"name": "shell", "image": reference, "warm": 0, "steps": [{"command": "sh {{filename}}"}]}]
    made.environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    if by == "server":
        made.start()
    else:
        done = image_tool.run("pull", "--config", configs.write(made.folder, made.config), reference,
                              store=tmp_path / "store/own", environment=made.environment)
        assert done.returncode == 0, done
    for one in (mirror, registry):
        expected = "Basic " + base64.b64encode(f"u:of {one.host}".encode()).decode()
        assert {headers["Authorization"] for _, _, headers in one.requests if "Authorization" in headers} == {expected}
        assert one.asked("/blobs/")


def test_what_a_registry_repeats_of_an_authorization_is_not_told(scripted, outside, tmp_path):
    from test_pull import credentials
    password = "not the secret"

    def parrot(request, answer):
        wants_basic(request, answer)
        sent = request.headers.get("Authorization", "")
        if sent:
            plain = base64.b64decode(sent.removeprefix("Basic ")).decode()
            # As long as words may be, so that they are cut within the secret.
            answer.status = 403
            answer.body = as_json({"errors": [{"code": plain, "message": "x" * 292 + plain.partition(":")[2] + sent}]})

    registry = scripted(parrot)
    environment = credentials(tmp_path / "store/docker", registry.host, password)
    code, message = image_tool.refused(registry.add(small_images.standard()), tmp_path / "store/own",
                                       environment=environment)
    assert code == "unauthorized" and "***" in message
    assert "not th" not in message and base64.b64encode(b"someone:not").decode()[:8] not in message


# ---- images

def hard_link(name, target):
    return entry(name, type=b"1", linkname=target, mode=0o644)


def evil_images(place):
    """Image, and the code it is refused with; None where it is harmless and must work."""
    shell = shell_layer()
    return {
        "a name with ..": (build([shell, [file("../evil", "x")]]), "path_escape"),
        "a name with .. inside": (build([shell, [file("data/../../evil", "x")]]), "path_escape"),
        "a file through a symbolic link of its own layer":
            (build([shell, [link("out", str(place)), file("out/evil", "x")]]), None),
        "a file through a symbolic link of a layer below":
            (build([shell, [link("out", str(place))], [file("out/evil", "x")]]), None),
        "a file through a relative link upwards":
            (build([shell, [link("out", "../../../../../../../" + str(place)), file("out/victim", "x")]]), None),
        "a hard link to the outside": (build([shell, [hard_link("evil", str(place / "victim"))]]), "path_escape"),
        "a hard link upwards": (build([shell, [hard_link("evil", "../../../../etc/passwd")]]), "path_escape"),
        "an absolute name": (build([shell, [file("/evil", "x")]]), "path_escape"),
        "a hard link through a symbolic link":
            (build([shell, [link("out", str(place)), hard_link("evil", "out/victim")]]), "layer_invalid"),
        "a hard link to nothing": (build([shell, [hard_link("evil", "nothing")]]), "layer_invalid"),
        "a whiteout through a symbolic link":
            (build([shell, [link("out", str(place))], [file("out/.wh.victim"), file("out/folder/.wh.victim")]]), None),
        "an opaque folder through a symbolic link":
            (build([shell, [link("out", str(place))], [file("out/folder/.wh..wh..opq")]]), None),
        "a whiteout of ..": (build([shell, [folder("data"), file("data/.wh...")]]), "layer_invalid"),
        "a loop of symbolic links":
            (build([shell, [link("a", "b"), link("b", "a"), file("a/evil", "x")]]), "layer_invalid"),
        "a layer that is no archive": (build([shell, b"this is no archive" * 1000]), "layer_invalid"),
        "a folder becomes a file and a file a folder":
            (build([shell, [file("data"), folder("etc/passwd"), file("etc/passwd/x", "x")]]), None),
        "set-user-id and devices":
            (build([shell, [file("bin/suid", "x", 0o6755), entry("dev/mem", type=b"3", devmajor=1, devminor=1)]]), None),
        "an init and an agent of its own":
            (build([shell, [file("init", "x", 0o755), folder(".lambdo"), file(".lambdo/agent", "x", 0o755)]]), None),
        "an agent that is a link": (build([shell, [folder(".lambdo"), link(".lambdo/agent", str(place / "victim"))]]), None),
        "mount points that are links":
            (build([shell, [link("proc", str(place)), link("dev", str(place)), link("workspace", str(place))]]), None),
    }


EVIL = list(evil_images(pathlib.Path("/nowhere")))


@pytest.mark.parametrize("case", EVIL)
def test_a_hostile_image_stays_within_its_own_root(servers, scripted, outside, tmp_path, case):
    image, wanted = evil_images(outside)[case]
    registry = scripted()
    reference = registry.add(image)
    store = tmp_path / "store"
    if wanted is not None:
        code, message = image_tool.refused(reference, store)
        assert code == wanted, message
        check_store_is_clean(store)
        return
    image_tool.pull(reference, store)
    made = servers.prepare([], name="store/server", images={"store": str(store), "pull": "never"})
    made.config["languages"] = [
        {"name": "shell", "image": reference, "warm": 0, "steps": [{"command": "sh {{filename}}"}]}]
    made.start()
    answer = made.run("shell", {"main.sh": "id -u"})
    assert (answer["status"], answer["stdout"]) == (0, "1000\n"), answer


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_is_stopped_at_the_cap(scripted, outside, tmp_path, compression):
    bomb = build([shell_layer(), [file("zeros", bytes(200 << 20))]], compression)
    assert sum(map(len, bomb.blobs.values())) < 4 << 20
    store = tmp_path / "store"
    config = store / "lambdo.yaml"
    config.write_text(json.dumps({
        "apiVersion": "lambdo.io/v1alpha1", "kind": "Config", "registries": {"max_unpacked_mb": 50},
        "languages": [{"name": "x", "rootfs": "/", "steps": [{"command": "x"}]}]}))
    code, message = image_tool.refused(scripted().add(bomb), store / "own", "--config", config)
    assert code == "image_too_large", message
    check_store_is_clean(store / "own")


def test_a_layer_cut_off_anywhere_is_refused_or_whole(scripted, outside, tmp_path):
    raw = tar(changes_layer())
    registry = scripted()
    whole = 0
    for cut in range(0, len(raw), 512):
        image = build([[folder("data")], raw[:cut]], "plain")
        reference = registry.add(image, tag=f"cut{cut}")
        done = image_tool.run("pull", "--json", "--plain-http", registry.host, reference, store=tmp_path / "store")
        if done.returncode == 0:
            whole += 1  # what is left ends where an entry does
        else:
            assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == "layer_invalid", (cut, done)
    assert whole < len(raw) // 512
    assert image_tool.leftovers(tmp_path / "store") == []


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_packed_layer_cut_off_anywhere_is_refused(scripted, outside, tmp_path, compression):
    image = build([[folder("data"), file("data/noise", random.Random(1).randbytes(12_000))]], compression)
    manifest = json.loads(image.blobs[image.digest])
    layer = manifest["layers"][0]
    packed = image.blobs[layer["digest"]]
    registry = scripted()
    # The last bytes are the sums over the content.
    for length in [*range(0, len(packed), 512), len(packed) - 1]:
        cut = packed[:length]
        layer |= {"digest": digest_of(cut), "size": len(cut)}
        text = as_json(manifest)
        described = {**image.manifest, "digest": digest_of(text), "size": len(text)}
        made = small_images.Image({**image.blobs, digest_of(cut): cut, digest_of(text): text}, described)
        code, message = image_tool.refused(registry.add(made, tag=f"cut{length}"), tmp_path / "store")
        assert code == "layer_invalid", (length, message)
    assert image_tool.leftovers(tmp_path / "store") == []


def test_a_refused_image_does_not_keep_a_server_from_serving(servers, scripted, outside, tmp_path):
    registry = scripted(on("/blobs/", other_body))
    made = servers.prepare(["bash"], name="store/server", registries={"hosts": {registry.host: {"plain_http": True}}})
    made.config["languages"].append({"name": "evil", "image": registry.add(small_images.standard()), "warm": 0,
                                     "steps": [{"command": "sh {{filename}}"}]})
    made.start(wait_for_images=False)
    made.wait_for_language("bash", "ready")
    made.wait_for_language("evil", "failed", 60)
    made.assert_works()
    refused = made.post_run({"language": "evil", "code": [{"filename": "x", "content": ""}]})
    assert refused.status == 503 and refused.json()["error"]["code"] == "unavailable", refused
    assert "could not be made ready" in refused.json()["error"]["message"]
    assert "digest_mismatch" in made.log()
