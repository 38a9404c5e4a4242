"""Configurations for the servers of the tests. YAML holds JSON, so a dictionary is written as that."""
import functools
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("LAMBDO_BIN", ROOT / "build/release/src/cli/lambdo")).absolute()
SERVER_BINARY = BINARY.with_name("lambdo-server")
AGENT = pathlib.Path(os.environ.get("LAMBDO_AGENT", ROOT / "build/release/agent/lambdo-agent")).absolute()
IMAGES = pathlib.Path(os.environ.get("LAMBDO_IMAGES", ROOT / "build/images")).absolute()
# One store for all servers, so that an image is unpacked for the first of them only.
STORE = pathlib.Path(os.environ.get("LAMBDO_STORE", ROOT / "build/image-store")).absolute()


def is_sanitized():
    """Sanitizers cost time and hold freed memory back."""
    program = SERVER_BINARY.read_bytes() if SERVER_BINARY.exists() else b""
    return b"__asan_init" in program or b"__tsan_init" in program


SANITIZED = is_sanitized()
SLOW = 8 if os.environ.get("LAMBDO_SLOW") == "1" or SANITIZED else 1

COMPILE = "find . -name '*.c' -exec gcc -O1 -pthread -I. -o /workspace/.program -Wl,--no-as-needed -lm {} +"
STEPS = {
    "bash": [{"name": "run", "command": "bash {{filename}} {{args}}"}],
    "python": [{"name": "run", "command": "python3 {{filename}} {{args}}"}],
    "node": [{"name": "run", "command": "node {{filename}} {{args}}"}],
    "c": [{"name": "compile", "command": COMPILE, "output": {"enabled": False}},
          {"name": "run", "command": "/workspace/.program {{args}}"}],
}
VERSIONS = {"bash": "5.2", "python": "3.11", "node": "18", "c": "12"}
LIMITS = {"c": {"memory_mb": 512}}


def missing_images(languages):
    return [name for name in languages if not (IMAGES / name / "index.json").exists()]


@functools.cache
def rootfs(name):
    """The folder with the root file system of a default image, as servers have it."""
    done = subprocess.run([BINARY, "image", "import", "--json", "--store", STORE, f"oci:{IMAGES / name}"], check=True,
                          capture_output=True, text=True)
    return pathlib.Path(json.loads(done.stdout)["rootfs"])


def language(name, **changes):
    return {"name": name, "version": VERSIONS[name], "image": f"oci:{IMAGES / name}", "warm": 1,
            "limits": LIMITS.get(name, {}), "steps": STEPS[name], **changes}


def config(folder, languages=("bash",), **sections):
    """A configuration for one server below `folder`. Sections replace keys of the default ones."""
    default = {
        "apiVersion": "lambdo.io/v1alpha1",
        "kind": "Config",
        "state_dir": str(folder / "state"),
        "vmm": {"engine": "namespace"},
        "api": {"web_host": "127.0.0.1", "web_port": 0},
        "agent": {"path": str(AGENT)},
        "limits": {
            "default": {"wall_ms": 10000 * SLOW, "cpu_ms": 10000 * SLOW, "memory_mb": 256, "output_bytes": 65536,
                        "processes": 64, "disk_mb": 32},
            "max": {"wall_ms": 60000 * SLOW, "cpu_ms": 60000 * SLOW, "memory_mb": 512, "output_bytes": 16777216,
                    "processes": 256, "disk_mb": 64},
        },
        "runner": {"max_running": 16, "queue_length": 64, "queue_timeout_ms": 30000 * SLOW,
                   "drain_timeout_ms": 10000 * SLOW},
        "http": {},
        "images": {"store": str(STORE)},
        "languages": [entry if isinstance(entry, dict) else language(entry) for entry in languages],
    }
    for name, section in sections.items():
        default[name] = {**default.get(name, {}), **section} if isinstance(section, dict) else section
    return default


def write(folder, content):
    path = folder / "lambdo.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
    return path
