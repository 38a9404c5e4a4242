"""What tests of images from registries need; conftest.py takes the fixtures from here."""
import shutil

import pytest

import registry_server
import small_images

NEEDED = ("docker-registry", "skopeo", "openssl", "htpasswd", "busybox", "zstd")


def need_tools():
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; ./dev install installs them")


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """A plain one, with images of every kind."""
    need_tools()
    folder = tmp_path_factory.mktemp("registry")
    made = registry_server.Registry(folder / "registry")
    for name, image in images().items():
        # skopeo would choose a platform of an index, and unpack zstd where it makes schema 2 of OCI.
        more = ["--all"] if name == "index" else ["--format", "v2s2"] if name == "schema2" else []
        made.push(small_images.write_layout(folder / name, image), f"test/{name}:1", *more)
    yield made
    made.close()


def images():
    arm = small_images.standard(architecture="arm64")
    standard = small_images.standard()
    return {"schema2": standard, "oci": standard, "zstd": small_images.standard("zstd"),
            "plain": small_images.standard("plain"), "mixed": small_images.standard(["zstd", "gzip"]),
            "index": small_images.index_of([arm, standard])}
