"""Registries and images that mean harm: each is refused with its own code, and nothing outside the store changes."""
import json
import pathlib

import pytest

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


REGISTRY = {
    "the manifest is not what its digest says": ("/manifests/", other_body, ("manifest_invalid", "digest_mismatch")),
    "the digest header names another": ("/manifests/", wrong_digest_header, ("digest_mismatch",)),
    "a blob is another": ("/blobs/", other_body, ("digest_mismatch",)),
    "a blob is too long": ("/blobs/", longer_body, ("size_mismatch",)),
    "a blob is too short": ("/blobs/", shorter_body, ("size_mismatch",)),
    "a blob never ends": ("/blobs/", endless_body, ("size_mismatch",)),
    "a manifest never ends": ("/manifests/", endless_body, ("image_too_large",)),
    "a foreign layer": ("/manifests/", foreign_layer, ("media_type_unsupported",)),
    "schema 1": ("/manifests/", schema_1, ("media_type_unsupported",)),
    "a kind that nobody knows": ("/manifests/", unknown_kind, ("media_type_unsupported",)),
    "no JSON": ("/manifests/", no_json, ("manifest_invalid",)),
    "too many layers": ("/manifests/", too_many_layers, ("image_too_large",)),
    "an enormous layer": ("/manifests/", enormous_layer, ("image_too_large",)),
    "redirects in a circle": ("/blobs/", redirect_in_a_circle, ("redirect_refused",)),
    "a redirect to a file": ("/blobs/", redirect_to_a_file, ("redirect_refused",)),
    "an error of its own": ("/manifests/", server_error, ("registry_failed",)),
}


@pytest.mark.parametrize("case", REGISTRY)
def test_a_registry_that_misbehaves_is_refused(scripted, outside, tmp_path, case):
    part, action, codes = REGISTRY[case]
    hostile = scripted(on(part, action))
    code, message = image_tool.refused(hostile.add(small_images.standard()), tmp_path / "store")
    assert code in codes, message
    check_store_is_clean(tmp_path / "store")


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
        "a hard link to nothing": (build([shell, [hard_link("evil", "nothing")]]), "layer_invalid"),
        "a whiteout through a symbolic link":
            (build([shell, [link("out", str(place))], [file("out/.wh.victim"), file("out/folder/.wh.victim")]]), None),
        "an opaque folder through a symbolic link":
            (build([shell, [link("out", str(place))], [file("out/folder/.wh..wh..opq")]]), None),
        "a whiteout of ..": (build([shell, [folder("data"), file("data/.wh...")]]), ("path_escape", "layer_invalid")),
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
        assert code in ([wanted] if isinstance(wanted, str) else wanted), message
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
