"""Configuration files and requests of the original Lambdo."""
import os
import subprocess

import pytest

import configs
from conftest import need_images
from http_client import Connection

# As the original documents it; its two languages, one with a build step.
ORIGINAL = """\
apiVersion: lambdo.io/v1alpha1
kind: Config
vmm:
  kernel: /var/lib/lambdo/kernel/vmlinux.bin
api:
  web_host: 0.0.0.0
  web_port: 3000
  grpc_host: 192.168.10.1
  gprc_port: 50051
  bridge: lambdo0
  bridge_address: 192.168.10.1/24
agent:
  path: /usr/local/bin/lambdo-agent
  config: /etc/lambdo/agent.yaml
languages:
  - name: NODE
    version: 12.22
    initramfs: /var/lib/lambdo/initramfs/nodejs.img
    steps:
      - name: Run node
        command: node {{filename}}
        output:
          enabled: true
          debug: false
  - name: PYTHON
    version: 3.8
    initramfs: /var/lib/lambdo/initramfs/python.img
    steps:
      - command: python3 {{filename}}
        output:
          enabled: true
          debug: false
"""
ORIGINAL_AGENT = """\
apiVersion: lambdo.io/v1alpha1
kind: AgentConfig
grpc:
  remote_port: 50051
  remote_host: 192.168.10.1
  local_host: 0.0.0.0
  local_port: 0
"""


@pytest.mark.parametrize("text, flags", [(ORIGINAL, []), (ORIGINAL_AGENT, ["--agent"])], ids=["server", "agent"])
def test_original_file_loads_as_it_is(tmp_path, text, flags):
    path = configs.write(tmp_path, text)
    done = subprocess.run([configs.BINARY, "config", "check", *flags, path], capture_output=True, text=True,
                          timeout=20 * configs.SLOW)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "ok" in done.stdout


def start_original(servers):
    """Only what names this machine is changed; root file systems take the place of initramfs archives."""
    need_images(["python", "node"])
    text = ORIGINAL.replace("/usr/local/bin/lambdo-agent", str(configs.AGENT)).replace("0.0.0.0", "127.0.0.1")
    for name, archive in [("node", "nodejs"), ("python", "python")]:
        text = text.replace(f"initramfs: /var/lib/lambdo/initramfs/{archive}.img", f"rootfs: {configs.rootfs(name)}")
    server = servers.prepare([], arguments=["--port", "0"])
    server.config = f"{text}state_dir: {server.state_dir}\n"
    return server.start()


@pytest.mark.quick
def test_original_file_serves_original_requests(servers):
    server = start_original(servers)
    body = {"language": "NODE", "version": "12.22", "input": "", "code": [
        {"filename": "index.js", "content": "console.log('Hello World!')"}]}
    with Connection(server.address) as connection:
        answer = connection.exchange("POST", "/run", body).json()
    assert (answer["status"], answer["stdout"], answer["stderr"]) == (0, "Hello World!\n", "")


@pytest.mark.parametrize("version", ["3.8", ""])
def test_version_written_as_a_number_stays_as_it_is_written(servers, version):
    answer = start_original(servers).run("python", "print(1)", version=version)
    assert (answer["version"], answer["language"], answer["stdout"]) == ("3.8", "PYTHON", "1\n")


def test_engine_that_is_chosen_by_itself_says_what_it_is(servers):
    server = start_original(servers)
    health = server.get("/health").json()
    assert health["engine"] in ("kvm", "namespace")
    if health["engine"] == "namespace":
        assert any("auto" in warning for warning in health["warnings"]), health


def test_step_of_an_original_file_still_gets_arguments(servers):
    answer = start_original(servers).run("python", "import sys; print(sys.argv[1:])", args=["a b", "c"])
    assert answer["stdout"] == "['a b', 'c']\n"


def test_server_does_not_need_its_working_directory(servers, tmp_path):
    """Absolute paths work from anywhere."""
    before = os.getcwd()
    os.chdir("/")
    try:
        start_original(servers).run("python", "pass")
    finally:
        os.chdir(before)
