"""The bound on a plugin's memory holds from the first line of its module, under a daemon and in a check."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest

from daemon.house import House, signed
from daemon.mistakes import Installed
from daemon.test_mistakes import run
from interop.peers import KeyPair

pytestmark = pytest.mark.usefixtures("unmeasured")

_PLUGIN = """
from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.options import Options

class Exporter:
    api_version = 1
    {body}
    @hookimpl
    def phoenixdkim_tick(self): pass
"""
_GIB = "1 << 30"
GREEDY = {
    "at_once": f"X = bytearray({_GIB})\n" + _PLUGIN.format(body=""),
    "in_pieces": "X = []\nwhile True:\n    X.append(bytes(100_000))\n",
    "in_small_pieces": "X = []\nwhile len(X) < 1 << 30:\n    X.append([len(X)])\n",
    "private_mapping": "import mmap\n"
    f"X = mmap.mmap(-1, {_GIB}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n" + _PLUGIN.format(body=""),
    "in_threads": "import threading, time\n"
    "for _ in range(1000):\n    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n",
    "caught": f"try:\n    X = bytearray({_GIB})\n"
    "except MemoryError as error:\n    raise ImportError('needs numbers') from error\n",
    "in_the_constructor": _PLUGIN.format(body=f"\n    def __init__(self): self.x = bytearray({_GIB})\n"),
    "in_options": _PLUGIN.format(
        body=f"\n    @hookimpl\n    def phoenixdkim_options(self): return bytearray({_GIB})\n"
    ),
    "in_metrics": _PLUGIN.format(body=f"\n    @hookimpl\n    def phoenixdkim_metrics(self): return [bytes({_GIB})]\n"),
    "raises_its_limit": "import resource\n"
    "with __import__('contextlib').suppress(ValueError):\n"
    "    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY,) * 2)\n"
    f"X = bytearray({_GIB})\n",
}
FULL = {
    "keeps_it": "X = []\n"
    "for size in (1 << 20, 1 << 10, 1):\n"
    "    try:\n        while True:\n            X.append(bytearray(size))\n    except MemoryError:\n        pass\n"
    + _PLUGIN.format(body=""),
}
"""Survives, and leaves nothing for anybody else."""
MODEST = {"modest": "X = bytearray(100 << 20)\n" + _PLUGIN.format(body="")}


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    package = Installed(GREEDY | FULL | MODEST, "phoenixdkim-greedy")
    yield
    package.remove()


def found_of(lines: list[str], name: str) -> str:
    return next(line for line in lines if f"exporters.{name}: " in line)


@pytest.mark.timeout(500)
def test_a_plugin_that_takes_more_is_refused_by_run_and_check_with_the_options_name(
    installed: None, key: KeyPair
) -> None:
    tables = "".join(f"[exporters.{name}]\nmemory_limit = 64\n" for name in GREEDY)
    with contextlib.closing(House(key, exporters=tables)) as house:
        status, lines = run("check", house.config, 200)
        assert status == 78
        for name in GREEDY:
            found = [line for line in lines if f"exporters.{name}: " in line]
            assert len(found) == 1, (name, lines)
            assert "its 64 MiB are used up, raise memory_limit in its table if it needs more" in found[0]
        house.start()
        assert signed(house.send()), "mail does not wait for exporters"
        for name in GREEDY:
            house.wait_for(found_of(lines, name).partition(": plugin ")[2], timeout=200)


def test_the_limit_is_the_tables(installed: None, key: KeyPair) -> None:
    with contextlib.closing(House(key, exporters="[exporters.modest]\nmemory_limit = 90\n")) as house:
        status, lines = run("check", house.config)
        assert status == 78
        assert any("exporters.modest: " in line and "its 90 MiB are used up" in line for line in lines)
    with House(key, exporters="[exporters.modest]\nmemory_limit = 150\n") as house:
        assert run("check", house.config)[0] == 0
        assert signed(house.send())


def test_mail_is_not_disturbed_by_one(installed: None, key: KeyPair) -> None:
    with House(key) as house:
        house.config.write_text(house.text + "[exporters.at_once]\n")
        house.signal(signal.SIGHUP)
        house.wait_for("its 256 MiB are used up, raise memory_limit")
        assert signed(house.send())


def test_one_that_leaves_no_memory_is_refused_with_the_options_name_too(installed: None, key: KeyPair) -> None:
    with House(key, exporters="[exporters.keeps_it]\nmemory_limit = 64\n") as house:
        status, lines = run("check", house.config)
        assert status == 78
        assert "its 64 MiB are used up, raise memory_limit" in found_of(lines, "keeps_it")
        house.wait_for("its 64 MiB are used up, raise memory_limit")
        assert signed(house.send())
