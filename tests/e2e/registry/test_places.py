"""Images in folders and files: what the commands about them make, say, and leave alone."""
import json
import subprocess

import pytest

import configs
import image_tool
import small_images
from conftest import need_images


@pytest.fixture
def layout(tmp_path):
    small_images.write_layout(tmp_path / "layout", small_images.standard(), "1")
    return tmp_path / "layout"


def lambdo(*arguments, cwd=None):
    return subprocess.run([configs.BINARY, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60 * configs.SLOW)


@pytest.mark.parametrize("verb", [["ls"], ["inspect", "a"], ["rm", "a"], ["prune"], ["export", "a", "oci:x"]],
                         ids=lambda verb: verb[0])
def test_only_what_brings_an_image_makes_a_store(tmp_path, verb):
    done = image_tool.run(*verb, store=tmp_path / "mistyped")
    assert done.returncode == 1 and f"there is no image store in {tmp_path}/mistyped" in done.stderr, done
    assert "check the path" in done.stderr and list(tmp_path.iterdir()) == [], done


def test_a_configuration_without_a_store_yet_lists_nothing(tmp_path):
    path = configs.write(tmp_path, configs.config(tmp_path, images={"store": str(tmp_path / "store")}))
    done = lambdo("image", "ls", "--config", path)
    assert done.returncode == 0 and done.stdout == f"There are no images yet.\n0 B in all, in {tmp_path}/store\n", done
    assert json.loads(lambdo("image", "ls", "--json", "--config", path).stdout)["images"] == []
    assert not (tmp_path / "store").exists()


def test_the_store_of_a_configuration_is_taken_and_said(tmp_path, layout):
    path = configs.write(tmp_path, configs.config(tmp_path, images={"store": str(tmp_path / "store")}))
    done = lambdo("image", "import", f"oci:{layout}", "--name", "a:1", "--config", path)
    assert done.returncode == 0 and f"in the store {tmp_path}/store\n" in done.stderr, done
    listed = lambdo("image", "ls", "--config", path)
    assert "a:1" in listed.stdout and f"in {tmp_path}/store" in listed.stdout, listed
    assert json.loads(lambdo("image", "ls", "--config", path, "--json").stdout)["store"] == f"{tmp_path}/store"


def test_an_imported_image_is_not_called_fetched(tmp_path, layout):
    store = tmp_path / "store"
    assert image_tool.run("import", "--no-unpack", f"oci:{layout}", store=store).returncode == 0
    shown = image_tool.run("ls", store=store).stdout
    assert "imported" in shown and "fetched" not in shown, shown


def test_a_server_says_that_it_imports_and_not_that_it_fetches(servers, tmp_path):
    need_images(["python"])
    server = servers.prepare(["python"], images={"store": str(tmp_path / "store")})
    server.start(wait_for_images=False)
    states = set()
    while "ready" not in states:
        states |= {language["state"] for language in server.get("/languages").json()["languages"]}
        assert not states & {"fetching", "failed"}, states
    assert "importing" in states, states
    assert "unpacked as it is" not in server.log() and "without some device nodes" not in server.log(), server.log()


def test_a_layout_that_was_exported_without_a_tag_and_then_with_one_has_both(tmp_path, layout):
    store = tmp_path / "store"
    assert image_tool.run("import", f"oci:{layout}", "--name", "a:1", store=store).returncode == 0
    for destination in ("oci:out", "oci:out:tagged"):
        assert lambdo("image", "export", "--store", store, "a:1", destination, cwd=tmp_path).returncode == 0
    for source in ("oci:out", "oci:out:tagged"):
        done = lambdo("image", "import", "--store", store, source, cwd=tmp_path)
        assert done.returncode == 0, done


def test_an_export_says_all_places_and_makes_no_folders_above_its_own(tmp_path, layout):
    store = tmp_path / "store"
    assert image_tool.run("import", f"oci:{layout}", "--name", "a:1", store=store).returncode == 0
    done = image_tool.run("export", "a:1", "nowhere", store=store)
    assert done.returncode == 1 and "initramfs:FILE" in done.stderr and "docker-archive:FILE" in done.stderr, done
    for kind in ("oci", "docker-archive", "initramfs"):
        done = image_tool.run("export", "a:1", f"{kind}:{tmp_path}/none/x", store=store)
        assert done.returncode == 1 and "there is no folder" in done.stderr and f"{tmp_path}/none" in done.stderr, done
    assert not (tmp_path / "none").exists()


def test_a_path_that_is_not_there_is_named_with_where_it_came_from(tmp_path):
    done = lambdo("image", "import", "--store", tmp_path / "store", "oci:none", cwd=tmp_path)
    assert done.returncode == 1 and "oci:none: open none: No such file" in done.stderr, done
    assert "check the path" in done.stderr and "tag" not in done.stderr, done


def test_pull_goes_on_after_a_failure_and_tells_each(registry, tmp_path):
    store = tmp_path / "store"
    plain = ["--plain-http", registry.host]
    names = [f"{registry.host}/test/{name}" for name in ("none:1", "oci:1", "missing:2", "zstd:1")]
    done = image_tool.run("pull", *plain, *names, store=store)
    assert done.returncode == 1, done
    assert [line.split()[0] for line in done.stdout.splitlines()] == [names[1], names[3]], done
    assert done.stderr.count("lambdo image pull: not_found: ") == 2, done
    assert names[0] in done.stderr and names[2] in done.stderr and f"in the store {store}" in done.stderr, done
    told = json.loads(image_tool.run("pull", "--json", *plain, *names, store=store).stdout)
    assert [image["name"] for image in told["images"]] == [names[1], names[3]], told
    assert [(error["name"], error["code"]) for error in told["errors"]] == [(names[0], "not_found"), (names[2], "not_found")]
    assert told["error"]["message"] == told["errors"][0]["message"], told


def test_pull_all_goes_on_after_a_failure(tmp_path, layout):
    made = configs.config(tmp_path, [], images={"store": str(tmp_path / "store")})
    made["languages"] = [{"name": "x", "version": str(i), "image": image, "steps": [{"command": "x"}]}
                         for i, image in enumerate([f"oci:{tmp_path}/none", f"oci:{layout}", f"oci:{tmp_path}/gone"])]
    done = lambdo("image", "pull", "--all", "--config", configs.write(tmp_path, made))
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 1, done
    assert f"oci:{tmp_path}/none" in done.stderr and f"oci:{tmp_path}/gone" in done.stderr, done


def test_an_initramfs_of_a_temporary_store_gives_no_advice_about_stores(tmp_path):
    for name in ("init", "agent", "config.yaml"):
        (tmp_path / name).write_text("x")
    done = lambdo("initramfs", "--image", "oci:none", cwd=tmp_path)
    assert done.returncode == 1 and "none" in done.stderr, done
    assert "--store" not in done.stderr and "image ls" not in done.stderr, done
