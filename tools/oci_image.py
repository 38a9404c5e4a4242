"""Writes an image of one layer as an OCI image layout (OCI image 1.1, image-layout.md), and says of which recipe one is.

Usage: oci_image.py write FOLDER --layer FILE --diff-id HEX [--env NAME=VALUE]... [...]   FILE is moved into FOLDER
       oci_image.py recipe FOLDER                                                         prints nothing where there is none
"""
import argparse
import hashlib
import json
import pathlib
import platform

RECIPE = "io.lambdo.recipe"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MEDIA_TYPE = "application/vnd.oci.image."


def file_digest(path):
    hashed = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            hashed.update(piece)
    return hashed.hexdigest()


def descriptor(kind, digest, size, **more):
    return {"mediaType": MEDIA_TYPE + kind, "digest": f"sha256:{digest}", "size": size, **more}


def put_json(blobs, kind, document, **more):
    content = json.dumps(document, indent=1).encode()
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return descriptor(kind, digest, len(content), **more)


def write(options):
    blobs = options.folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    digest = file_digest(options.layer)
    layer = descriptor("layer.v1.tar+zstd", digest, options.layer.stat().st_size)
    options.layer.rename(blobs / digest)
    target = {"architecture": ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux"}
    config = put_json(blobs, "config.v1+json", {
        **target, "created": "1970-01-01T00:00:00Z",
        "config": {"Env": options.env, "User": options.user, "WorkingDir": options.working_dir},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{options.diff_id}"]}})
    annotations = {"org.opencontainers.image.title": options.title, RECIPE: options.recipe}
    manifest = put_json(blobs, "manifest.v1+json", {
        "schemaVersion": 2, "mediaType": MEDIA_TYPE + "manifest.v1+json", "config": config, "layers": [layer],
        "annotations": annotations}, platform=target, annotations={"org.opencontainers.image.ref.name": "latest"})
    (options.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}\n')
    (options.folder / "index.json").write_text(json.dumps({
        "schemaVersion": 2, "mediaType": MEDIA_TYPE + "index.v1+json", "manifests": [manifest]}, indent=1) + "\n")


def recipe(options):
    try:
        index = json.loads((options.folder / "index.json").read_text())
        digest = index["manifests"][0]["digest"].removeprefix("sha256:")
        manifest = json.loads((options.folder / "blobs/sha256" / digest).read_text())
        print(manifest["annotations"][RECIPE])
    except (OSError, ValueError, KeyError, IndexError):
        pass


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    writing = commands.add_parser("write")
    writing.add_argument("folder", type=pathlib.Path)
    writing.add_argument("--layer", type=pathlib.Path, required=True)
    writing.add_argument("--diff-id", required=True)
    writing.add_argument("--recipe", required=True)
    writing.add_argument("--title", required=True)
    writing.add_argument("--env", action="append", default=[])
    writing.add_argument("--user", default="")
    writing.add_argument("--working-dir", default="")
    writing.set_defaults(run=write)
    reading = commands.add_parser("recipe")
    reading.add_argument("folder", type=pathlib.Path)
    reading.set_defaults(run=recipe)
    options = parser.parse_args()
    options.run(options)


main()
