"""Small images made at test time: real tar layers, as OCI layouts that skopeo pushes.

A layer is a list of entries; `Layer.pack` gives it as gzip, zstd or plain tar. Everything is deterministic.
"""
import dataclasses
import functools
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile

MOST_KEPT_BYTES = 4 << 20
BUSYBOX = shutil.which("busybox")
OCI = "application/vnd.oci.image."
MEDIA_TYPES = {"gzip": f"{OCI}layer.v1.tar+gzip", "zstd": f"{OCI}layer.v1.tar+zstd", "plain": f"{OCI}layer.v1.tar"}


def folder(name, mode=0o755, **more):
    return entry(name, type=tarfile.DIRTYPE, mode=mode, **more)


def file(name, content="", mode=0o644, **more):
    content = content.encode() if isinstance(content, str) else content
    return entry(name, mode=mode, content=content, **more)


def link(name, target, **more):
    return entry(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777, **more)


def entry(name, content=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def tar(entries):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def pack(raw, compression):
    """A table of images packs the same layer for each of its rows: what is not large is packed once."""
    return pack_once(raw, compression) if len(raw) <= MOST_KEPT_BYTES else pack_anew(raw, compression)


@functools.lru_cache(maxsize=64)
def pack_once(raw, compression):
    return pack_anew(raw, compression)


def pack_anew(raw, compression):
    if compression == "gzip":
        return gzip.compress(raw, compresslevel=6, mtime=0)
    if compression == "zstd":
        return subprocess.run(["zstd", "-q", "-c"], input=raw, stdout=subprocess.PIPE, check=True).stdout
    return raw


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def as_json(document):
    return json.dumps(document).encode()


@dataclasses.dataclass
class Image:
    """Everything of one image by digest, and its manifest's descriptor."""
    blobs: dict
    manifest: dict

    @property
    def digest(self):
        return self.manifest["digest"]


def build(layers, compression="gzip", architecture="amd64", config=None):
    """`layers` are lists of entries, or bytes of a tar archive. `compression` may be one for each layer."""
    kinds = [compression] * len(layers) if isinstance(compression, str) else compression
    blobs, descriptors, diff_ids = {}, [], []
    for layer, kind in zip(layers, kinds):
        raw = layer if isinstance(layer, bytes) else tar(layer)
        packed = pack(raw, kind)
        blobs[digest_of(packed)] = packed
        descriptors.append({"mediaType": MEDIA_TYPES[kind], "digest": digest_of(packed), "size": len(packed)})
        diff_ids.append(digest_of(raw))
    platform = {"architecture": architecture, "os": "linux"}
    config = as_json({**platform, "config": config or {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    blobs[digest_of(config)] = config
    manifest = as_json({
        "schemaVersion": 2, "mediaType": f"{OCI}manifest.v1+json",
        "config": {"mediaType": f"{OCI}config.v1+json", "digest": digest_of(config), "size": len(config)},
        "layers": descriptors})
    blobs[digest_of(manifest)] = manifest
    return Image(blobs, {"mediaType": f"{OCI}manifest.v1+json", "digest": digest_of(manifest), "size": len(manifest),
                         "platform": platform})


def index_of(images):
    """An index of several platforms."""
    blobs = {}
    for image in images:
        blobs |= image.blobs
    index = as_json({"schemaVersion": 2, "mediaType": f"{OCI}index.v1+json",
                     "manifests": [image.manifest for image in images]})
    blobs[digest_of(index)] = index
    return Image(blobs, {"mediaType": f"{OCI}index.v1+json", "digest": digest_of(index), "size": len(index)})


def write_layout(path, image, tag="latest"):
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True)
    for digest, content in image.blobs.items():
        (blobs / digest.removeprefix("sha256:")).write_bytes(content)
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (path / "index.json").write_bytes(as_json({"schemaVersion": 2, "manifests": [
        {**image.manifest, "annotations": {"org.opencontainers.image.ref.name": tag}}]}))
    return f"oci:{path}:{tag}"


TOOLS = ("sh", "cat", "echo", "id", "ls", "env", "head", "touch", "stat", "sleep")


def shell_layer():
    """A root with a shell in it, enough for the agent to run steps."""
    with open(BUSYBOX, "rb") as program:
        entries = [folder("bin"), folder("etc"), folder("tmp", 0o1777), file("bin/busybox", program.read(), 0o755)]
    entries += [link(f"bin/{name}", "busybox") for name in TOOLS]
    entries += [file("etc/passwd", "root:x:0:0::/:/bin/sh\nworker:x:1234:5678::/:/bin/sh\n"),
                file("etc/group", "root:x:0:\nstaff:x:77:\n"),
                folder("data"), file("data/lower", "from below\n"), file("data/replaced", "old\n"),
                folder("data/hidden"), file("data/hidden/a", "a\n"), file("data/hidden/b", "b\n"),
                folder("data/opaque"), file("data/opaque/old", "old\n")]
    return entries


def changes_layer():
    """Whiteouts of a file and of a folder, an opaque folder, a replaced file."""
    return [folder("data"), file("data/replaced", "new\n"), file("data/.wh.hidden"), folder("data/opaque"),
            file("data/opaque/.wh..wh..opq"), file("data/opaque/new", "new\n"), file("data/upper", "from above\n")]


# What `find data` and the files say after both layers.
SHOW = "cd /data && for f in * opaque/*; do [ -f $f ] && echo $f: $(cat $f); done"
SHOWN = "lower: from below\nreplaced: new\nupper: from above\nopaque/new: new\n"
CONFIG = {"Env": ["PATH=/bin", "FROM_IMAGE=yes"], "User": "worker", "WorkingDir": "/data"}


def standard(compression="gzip", **more):
    return build([shell_layer(), changes_layer()], compression, **{"config": CONFIG, **more})
