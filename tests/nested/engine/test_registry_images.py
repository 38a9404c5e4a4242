"""Images from the distribution's registry in microVMs: pulled by a server as its languages, and as archives of the
original's layout, which boot with nothing of ours in them.
"""
import base64
import json
import subprocess

import pytest

import configs
import registry_fixtures
import registry_server
import small_images
from conftest import NESTED_BUILD

KINDS = list(registry_fixtures.images())
SHOW = f"{small_images.SHOW}; id -u; id -g; echo $FROM_IMAGE $PATH $LAMBDO_IMAGE_WORKDIR"
SHOWN = small_images.SHOWN + "1234\n5678\nyes /bin /data\n"


def from_image(name, image):
    return {"name": name, "image": image, "warm": 0, "steps": [{"command": "sh {{filename}} {{args}}"}]}


def test_a_server_pulls_images_of_every_kind_and_runs_programs_in_them(servers, registry, tmp_path):
    languages = [from_image(kind, f"{registry.host}/test/{kind}:1") for kind in KINDS]
    serving = servers.start(languages, images={"store": str(tmp_path / "store")},
                            registries={"hosts": {registry.host: {"plain_http": True}}})
    for kind in KINDS:
        answer = serving.run(kind, {"main.sh": SHOW})
        assert (answer["status"], answer["stdout"], answer["stderr"], answer["engine"]) == (0, SHOWN, "", "kvm"), (kind, answer)


def test_an_image_behind_tls_and_a_password_runs(servers, tmp_path):
    registry_fixtures.need_tools()
    tls = registry_server.make_authority(tmp_path / "tls")
    registry = registry_server.Registry(tmp_path / "registry", auth="basic", tls=tls)
    try:
        layout = small_images.write_layout(tmp_path / "image", small_images.standard())
        reference = registry.push(layout, "test/private:1")
        credentials = tmp_path / "docker"
        credentials.mkdir()
        entry = {"auth": base64.b64encode(f"{registry_server.USER}:{registry_server.PASSWORD}".encode()).decode()}
        (credentials / "config.json").write_text(json.dumps({"auths": {registry.host: entry}}))
        (credentials / "config.json").chmod(0o600)
        serving = servers.start([from_image("private", reference)], images={"store": str(tmp_path / "store")},
                                registries={"ca_file": str(tls[0]), "credentials": str(credentials)})
        assert serving.run("private", {"main.sh": SHOW})["stdout"] == SHOWN
    finally:
        registry.close()


INIT = """#!/bin/busybox sh
/bin/busybox echo "init: with the image's $(/bin/busybox cat /data/replaced) and $(/bin/busybox cat /config.yaml)"
/agent
/bin/busybox poweroff -f
"""


@pytest.mark.parametrize("compression", ["", "lz4", "zstd"])
def test_an_archive_in_the_originals_layout_boots_to_its_own_init(registry, tmp_path, compression):
    files = {"init": INIT, "agent": "#!/bin/busybox sh\n/bin/busybox echo agent: it runs\n", "config.yaml": "the settings\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    more = ["--compression", compression] if compression else []
    for output in ("first.img", "second.img"):
        subprocess.run([configs.BINARY, "initramfs", "--image", "test/oci:1", "--registry-url", f"http://{registry.host}/v2/",
                        "--init", "init", "--agent", "agent", "--agent-config", "config.yaml", "--output", output, *more],
                       cwd=tmp_path, check=True, timeout=600)
    assert (tmp_path / "first.img").read_bytes() == (tmp_path / "second.img").read_bytes()
    booted = subprocess.run([NESTED_BUILD / "boot_initramfs", tmp_path / "first.img"], capture_output=True,
                            text=True, timeout=600)
    assert booted.returncode == 0, booted
    assert "init: with the image's new and the settings" in booted.stdout, booted
    assert "agent: it runs" in booted.stdout, booted
