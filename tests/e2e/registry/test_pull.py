"""Images of every kind from the distribution's registry, and programs that run in them."""
import base64
import json
import subprocess

import pytest

import configs
import image_tool
import registry_server
import small_images
from registry_fixtures import need_tools

KINDS = ["schema2", "oci", "zstd", "plain", "mixed", "index"]


def language(image, **more):
    return {"name": "shell", "image": image, "warm": 0, "steps": [{"command": "sh {{filename}} {{args}}"}], **more}


def run_in(servers, image, store, code):
    """The output of a program in a server that has only this image's language, and fetches nothing."""
    made = servers.prepare([], name="pulled", images={"store": str(store), "pull": "never"})
    made.config["languages"] = [language(image)]
    made.start()
    answer = made.run("shell", {"main.sh": code})
    assert (answer["status"], answer["stderr"]) == (0, ""), answer
    return answer["stdout"]


@pytest.mark.quick
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_pulled_and_a_program_runs_in_it(servers, registry, tmp_path, kind):
    store = tmp_path / "store"
    reference = f"{registry.host}/test/{kind}:1"
    pulled = image_tool.pull(reference, store)
    assert pulled["fetched"] and pulled["rootfs"], pulled
    assert pulled["platform"] == "linux/amd64"
    assert not image_tool.leftovers(store)
    again = image_tool.pull(reference, store)
    assert (again["fetched"], again["digest"]) == (False, pulled["digest"])
    shown = run_in(servers, reference, store, f"{small_images.SHOW}; id -u; id -g; echo $FROM_IMAGE $PATH $LAMBDO_IMAGE_WORKDIR")
    assert shown == small_images.SHOWN + "1234\n5678\nyes /bin /data\n"


def test_a_digest_pulls_that_image(registry, tmp_path):
    by_tag = image_tool.pull(f"{registry.host}/test/oci:1", tmp_path / "store")
    by_digest = image_tool.pull(f"{registry.host}/test/oci@{by_tag['digest']}", tmp_path / "store")
    assert (by_digest["digest"], by_digest["fetched"]) == (by_tag["digest"], False)


def test_a_platform_is_chosen(registry, tmp_path):
    reference = f"{registry.host}/test/index:1"
    arm = image_tool.pull(reference, tmp_path / "store", "--platform", "linux/arm64", "--no-unpack")
    assert (arm["platform"], arm["rootfs"]) == ("linux/arm64", None)
    code, message = image_tool.refused(reference, tmp_path / "store", "--platform", "linux/s390x")
    assert code == "platform_missing" and "linux/amd64" in message


def test_what_is_not_there_is_told(registry, tmp_path):
    assert image_tool.refused(f"{registry.host}/test/none:1", tmp_path / "store")[0] == "not_found"
    assert image_tool.refused(f"{registry.host}/test/oci:none", tmp_path / "store")[0] == "not_found"
    assert not image_tool.leftovers(tmp_path / "store")


def credentials(folder, host, password=registry_server.PASSWORD):
    folder.mkdir(exist_ok=True)
    secret = base64.b64encode(f"{registry_server.USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": secret}}}))
    (folder / "config.json").chmod(0o600)
    return {"DOCKER_CONFIG": str(folder)}


@pytest.fixture(scope="module", params=["basic", "token"])
def guarded(request, tmp_path_factory):
    need_tools()
    folder = tmp_path_factory.mktemp("guarded")
    tokens = registry_server.TokenServer(folder / "tokens") if request.param == "token" else None
    made = registry_server.Registry(folder / "registry", auth=tokens or "basic")
    made.reference = made.push(small_images.write_layout(folder / "image", small_images.standard()), "test/private:1")
    yield made
    made.close()
    if tokens:
        tokens.close()


def test_credentials_open_a_guarded_registry(guarded, tmp_path):
    environment = credentials(tmp_path / "docker", guarded.host)
    assert image_tool.pull(guarded.reference, tmp_path / "store", environment=environment)["fetched"]


def test_without_credentials_it_stays_closed_and_no_secret_is_told(guarded, tmp_path):
    nobody = {"DOCKER_CONFIG": str(tmp_path)}
    assert image_tool.refused(guarded.reference, tmp_path / "store", environment=nobody)[0] == "unauthorized"
    wrong = credentials(tmp_path / "docker", guarded.host, "not the secret")
    code, message = image_tool.refused(guarded.reference, tmp_path / "store", environment=wrong)
    assert code == "unauthorized" and "not the secret" not in message


def test_a_credential_helper_is_asked_also_by_a_server(servers, guarded, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    helper = programs / "docker-credential-test"
    helper.write_text("#!/bin/sh\nread host\n"
                      f'echo \'{{"Username": "{registry_server.USER}", "Secret": "{registry_server.PASSWORD}"}}\'\n')
    helper.chmod(0o755)
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"credHelpers": {guarded.host: "test"}}))
    made = servers.prepare([], images={"store": str(tmp_path / "store")},
                           registries={"credentials": str(folder), "hosts": {guarded.host: {"plain_http": True}}})
    made.config["languages"] = [language(guarded.reference)]
    made.environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    made.start()
    assert made.run("shell", {"main.sh": "id -u"})["stdout"] == "1234\n"


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    need_tools()
    folder = tmp_path_factory.mktemp("secure")
    tls = registry_server.make_authority(folder / "tls")
    made = registry_server.Registry(folder / "registry", tls=tls)
    made.reference = made.push(small_images.write_layout(folder / "image", small_images.standard()), "test/secure:1")
    yield made
    made.close()


def test_tls_with_an_authority_of_its_own(secure, tmp_path):
    done = image_tool.run("pull", "--ca-file", str(secure.tls[0]), secure.reference, store=tmp_path / "store")
    assert done.returncode == 0, done
    code, message = image_tool.refused(secure.reference, tmp_path / "other", plain_http=False)
    assert code == "tls_failed", message
    done = image_tool.run("pull", secure.reference, store=tmp_path / "other")
    assert "--ca-file" in done.stderr


@pytest.mark.parametrize("host, days", [("elsewhere.example", 2), ("localhost", -1)], ids=["another host", "expired"])
def test_a_certificate_that_is_not_good_is_refused(tmp_path, host, days):
    from scripted_registry import ScriptedRegistry
    tls = registry_server.make_authority(tmp_path / "tls", host, days)
    made = ScriptedRegistry(tls=tls)
    reference = made.add(small_images.standard())
    code, _ = image_tool.refused(reference, tmp_path / "store", "--ca-file", str(tls[0]), plain_http=False)
    assert code == "tls_failed"
    made.close()


def test_a_registry_without_tls_is_not_asked_unless_that_is_wanted(registry, tmp_path):
    code, _ = image_tool.refused(f"{registry.host}/test/oci:1", tmp_path / "store", plain_http=False)
    assert code == "tls_failed"


def test_pull_all_fetches_what_a_configuration_names(registry, tmp_path, servers):
    made = servers.prepare([], images={"store": str(tmp_path / "store"), "pull": "never"},
                           registries={"hosts": {registry.host: {"plain_http": True}}})
    made.config["languages"] = [language(f"{registry.host}/test/oci:1"),
                                language(f"oci:{configs.IMAGES}/bash", version="2")]
    path = configs.write(made.folder, made.config)
    done = subprocess.run([configs.BINARY, "image", "pull", "--all", "--config", path, "--json"], capture_output=True,
                          text=True, timeout=60 * configs.SLOW)
    assert done.returncode == 0, done
    assert len(json.loads(done.stdout)["images"]) == 2
    made.start()
    assert made.run("shell", {"main.sh": "id -u"})["stdout"] == "1234\n"


def test_a_pulled_image_goes_out_and_comes_back(registry, tmp_path):
    store, other = tmp_path / "store", tmp_path / "other"
    reference = f"{registry.host}/test/mixed:1"
    digest = image_tool.pull(reference, store)["digest"]
    for place, same in [(f"oci:{tmp_path}/layout:1", True), (f"docker-archive:{tmp_path}/archive.tar:a/b:1", False)]:
        done = image_tool.run("export", reference, place, store=store)
        assert done.returncode == 0, done
        done = image_tool.run("import", "--json", place, store=other)
        assert done.returncode == 0, done
        back = json.loads(done.stdout)
        # An archive has layers that are not packed, so its manifest is another one.
        assert (back["digest"] == digest) == same
        assert image_tool.snapshot(back["rootfs"]) == image_tool.snapshot(
            image_tool.pull(reference, store)["rootfs"])


def test_ls_inspect_rm_and_prune(registry, tmp_path):
    store = tmp_path / "store"
    reference = f"{registry.host}/test/oci:1"
    digest = image_tool.pull(reference, store)["digest"]
    listed = json.loads(image_tool.run("ls", "--json", store=store).stdout)["images"]
    assert [(entry["name"], entry["digest"], entry["complete"]) for entry in listed] == [(reference, digest, True)]
    assert reference in image_tool.run("ls", store=store).stdout
    for name in (reference, digest, digest[7:19]):
        inspected = json.loads(image_tool.run("inspect", "--json", name, store=store).stdout)
        assert inspected["config"]["user"] == "worker" and len(inspected["layers"]) == 2
    assert image_tool.run("inspect", "nothing", store=store).returncode == 1
    assert image_tool.run("rm", reference, store=store).returncode == 0
    freed = json.loads(image_tool.run("prune", "--json", store=store).stdout)
    assert (freed["blobs"], freed["rootfs"]) == (4, 1), freed
    assert json.loads(image_tool.run("ls", "--json", store=store).stdout)["blob_bytes"] == 0


def test_a_digest_that_two_names_share_is_no_name_to_remove(registry, tmp_path):
    store = tmp_path / "store"
    digest = image_tool.pull(f"{registry.host}/test/oci:1", store)["digest"]
    layout = tmp_path / "layout"
    exported = image_tool.run("export", digest, f"oci:{layout}:x", store=store)
    assert exported.returncode == 0, exported
    assert image_tool.run("import", f"oci:{layout}:x", "--name", "test/other:2", store=store).returncode == 0
    refused = image_tool.run("rm", digest, store=store)
    assert refused.returncode == 1 and "invalid_argument" in refused.stderr, refused
    names = [f"{registry.host}/test/oci:1", "docker.io/test/other:2"]
    assert all(name in refused.stderr for name in names) and "write the name" in refused.stderr, refused
    # One that is not there keeps all from being removed.
    assert image_tool.run("rm", *names, "missing:1", store=store).returncode == 1
    assert image_tool.run("rm", *names, store=store).stdout == "".join(f"removed the name {name}\n" for name in names)
