"""The default images as plain newc archives, in build/guest-images, for suites that boot one without a server."""
import json
import pathlib
import subprocess

from machine import ROOT

FOLDER = ROOT / "build/guest-images"
STORE = ROOT / "build/image-store"


def run(lambdo, *arguments):
    return subprocess.run([lambdo, "image", *arguments, "--store", STORE, "--json"], cwd=ROOT, check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def prepare(build):
    """Writes those that are missing or older than their image. Images that were not built are left out, and all of them
    without a build: the suites name what they miss."""
    lambdo = ROOT / build / "src/cli/lambdo"
    if not lambdo.exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for index in sorted(pathlib.Path(ROOT / "build/images").glob("*/index.json")):
        name = index.parent.name
        imported = json.loads(run(lambdo, "import", f"oci:{index.parent}", "--no-unpack"))
        archive, mark = FOLDER / f"{name}.cpio", FOLDER / f"{name}.digest"
        if archive.exists() and mark.exists() and mark.read_text() == imported["digest"]:
            continue
        run(lambdo, "export", imported["name"], f"initramfs:{archive}")
        mark.write_text(imported["digest"])
