"""Which tests run beside others, and in which order.

Most tests wait: for a program that sleeps, a time limit, a server that ends. So several processes of pytest-xdist share
them (--dist loadgroup). What a test leaves behind is told from what its neighbours do: a server is known by its state
directory, its temporary folder and its bridge (ledger.py), and tests of networks have a network namespace of their own
(private_network.py). Marks say the rest:

  alone   fills the machine, or measures how fast something is: not beside others, but in a process of its own afterwards
  load    one of those, whose size a variable of the environment sets: ./dev test-load runs them with what is promised
  quick   tells the most for its time: ./dev test-quick runs these
"""
import pytest

# What takes longest begins first, so that no process has much left when the others are done.
LONGEST_FILES = ("test_guest_misbehaviour.py", "test_api_misbehaviour.py", "test_network.py", "test_network_ipv6.py", "test_pull.py",
                 "test_hostile.py", "test_languages.py", "test_lifecycle.py", "test_admission.py")


def pytest_configure(config):
    for mark in ("alone: runs when no other test does", "load: sized by the environment", "quick: part of ./dev test-quick"):
        config.addinivalue_line("markers", mark)


def shares_a_fixture(item):
    """Whether it uses something that the tests of its file make once for all of them."""
    names = item.fixturenames
    definitions = (item._fixtureinfo.name2fixturedefs.get(name, ()) for name in names)
    return any(fixture.scope == "module" and fixture.baseid for found in definitions for fixture in found)


def place(item):
    name = item.path.name
    return LONGEST_FILES.index(name) if name in LONGEST_FILES else len(LONGEST_FILES)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("load"):
            item.add_marker("alone")
    if not hasattr(config, "workerinput"):  # what pytest-xdist gives to each of its processes
        return
    together = {item.path for item in items if shares_a_fixture(item)}
    for item in items:
        if item.path in together:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    items.sort(key=place)
