"""End-to-end tests: real servers, real programs, raw sockets. Run by ./dev test, several at a time (scheduling.py), or by
hand as root:

  LAMBDO_BIN, LAMBDO_AGENT  the binaries (build/release)
  LAMBDO_IMAGES             folder of the languages' images (build/images)
  LAMBDO_STORE              folder in which all servers keep them (build/image-store)
  LAMBDO_SLOW=1             all time limits eight times as long; taken by itself for binaries with sanitizers
  LAMBDO_LOAD_RUNS          runs of the load test (400); ./dev test-load takes 10000, with which the figure is promised
  LAMBDO_NETWORK_RUNS       guests with a network, one after another (120); ./dev test-load takes 5000
  LAMBDO_KILL_POINTS        kills of a server under load (4); ./dev test-load takes 50
"""
import pathlib
import resource
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent / name) for name in ("registry", "")]

pytest.register_assert_rewrite("http_client", "ledger", "server")
pytest_plugins = ["scheduling"]

import configs  # noqa: E402
import ledger  # noqa: E402
import private_network  # noqa: E402
import server  # noqa: E402
from registry_fixtures import registry  # noqa: E402, F401

SHARED_LANGUAGES = ("bash", "python")


def need_images(languages):
    if missing := configs.missing_images(languages):
        pytest.skip(f"no image of {', '.join(missing)} in {configs.IMAGES}: run ./dev images {' '.join(missing)}")


def pytest_sessionstart(session):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    missing = [str(path) for path in (configs.BINARY, configs.SERVER_BINARY, configs.AGENT) if not path.exists()]
    if missing:
        pytest.exit(f"not built: {', '.join(missing)}; run ./dev build, or set LAMBDO_BIN and LAMBDO_AGENT", 2)
    if session.config.getoption("numprocesses", None):
        # Before the processes begin: unpacking would take the processors from the first tests, which have limits of time.
        for name in set(configs.STEPS) - set(configs.missing_images(configs.STEPS)):
            configs.rootfs(name)


class Servers:
    """Starts servers and, at the end, stops each and checks that nothing of it is left."""

    def __init__(self, folder):
        self.folder = folder
        self.started = []

    def prepare(self, languages=("bash",), arguments=(), name=None, **sections):
        need_images([entry["name"] if isinstance(entry, dict) else entry for entry in languages])
        folder = self.folder / (name or f"server{len(self.started)}")
        folder.mkdir(parents=True, exist_ok=True)
        created = server.Server(folder, configs.config(folder, languages, **sections), arguments)
        created.temporary_dir.mkdir(exist_ok=True)
        self.started.append((created, ledger.take_host(created)))
        return created

    def start(self, *args, **kwargs):
        return self.prepare(*args, **kwargs).start()

    def stop_all(self):
        problems = []
        for created, before in reversed(self.started):
            if created.process is None:
                continue
            try:
                created.stop()
                for kind in ("cgroup ", "mount ", "temporary ", "file ", "network "):
                    wanted = {key: count for key, count in before.items() if key.startswith(kind)}
                    ledger.wait_until_equal(ledger.collections.Counter(wanted), lambda: ledger.collections.Counter(
                        {key: count for key, count in ledger.take_host(created).items() if key.startswith(kind)}),
                        5 * configs.SLOW, f"what the server {created.folder.name} leaves on the machine")
            except AssertionError as problem:
                problems.append(str(problem))
            finally:
                if created.process.poll() is None:
                    created.kill()
        assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def world():
    """This thread, and all that it starts, in a network namespace whose uplink leads to the world."""
    if missing := private_network.missing_tools():
        pytest.skip(f"needs {', '.join(missing)} to make network namespaces")
    with private_network.private_network() as process:
        yield process


@pytest.fixture
def servers(tmp_path):
    """A factory of servers for one test."""
    made = Servers(tmp_path)
    yield made
    made.stop_all()


@pytest.fixture(scope="module")
def shared_servers(tmp_path_factory):
    """A factory of servers for one file of tests."""
    made = Servers(tmp_path_factory.mktemp("shared"))
    yield made
    made.stop_all()
