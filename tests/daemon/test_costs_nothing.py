"""What is not configured costs nothing: the same processes, threads, descriptors and modules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

from daemon.house import House, signed


def seen(house):
    """What a daemon has once a message is through and its session is closed on the daemon's side too."""
    assert signed(house.send())
    deadline = time.monotonic() + 30
    before, found = None, look(house)
    while found != before:
        assert time.monotonic() < deadline
        time.sleep(0.5)
        before, found = found, look(house)
    return found


def look(house):
    """For each process of the daemon: threads, descriptors by kind, and mapped files."""
    found = []
    for pid in [house.pid, *sorted(house.descendants())]:
        threads = len(os.listdir(f"/proc/{pid}/task"))
        links = [link for fd in os.listdir(f"/proc/{pid}/fd") if (link := target(f"/proc/{pid}/fd/{fd}"))]
        # What the supervisor waits with comes and goes.
        links = [link for link in links if link != "anon_inode:[eventpoll]"]
        kinds = sorted(re.sub(r"[\d/].*", "", link) if not link.startswith("/memfd") else "memfd" for link in links)
        maps = Path(f"/proc/{pid}/maps").read_text()
        files = sorted({line.split()[-1] for line in maps.splitlines() if line.endswith(".so") or ".so." in line})
        found.append((threads, kinds, files))
    return found


def target(path):
    """Where a symbolic link leads; None when the descriptor was closed meanwhile."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None


def modules(house):
    """Modules that a daemon imports before its first fork, as Python itself tells them."""
    code = (
        "import sys; import phoenixdkim.cli.run, phoenixdkim.daemon.supervisor;"
        "print(sorted(m for m in sys.modules if not m.startswith('_')))"
    )
    program = Path(sysconfig.get_path("scripts")) / "python"
    return subprocess.run([program, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def without_plugins():
    """Hides the plugins' distributions for the time of a test."""
    site = Path(sysconfig.get_path("purelib"))
    hidden = site / "hidden-by-a-test"
    hidden.mkdir()
    names = [
        entry for entry in site.iterdir() if entry.name.startswith(("phoenixdkim_prometheus", "phoenixdkim_statsd"))
    ]
    names += [entry for entry in site.iterdir() if entry.name.startswith("_editable_impl_phoenixdkim_")]
    assert len(names) >= 2

    def hide():
        for entry in names:
            entry.rename(hidden / entry.name)

    try:
        yield hide
    finally:
        for entry in list(hidden.iterdir()):
            entry.rename(site / entry.name)
        shutil.rmtree(hidden)


def test_installed_plugins_that_are_not_configured_cost_nothing(key, without_plugins):
    with House(key) as house:
        with_plugins = seen(house), modules(house)
    without_plugins()
    with House(key) as house:
        assert (seen(house), modules(house)) == with_plugins
    processes = with_plugins[0]
    assert len(processes) == 4, "supervisor, leader, two workers"
    assert [threads for threads, _, _ in processes[:2]] == [1, 1]
    assert "prometheus_client" not in with_plugins[1]
    assert "phoenixdkim_statsd" not in with_plugins[1]
