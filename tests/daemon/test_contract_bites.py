"""The contract finds what it is there to find: one exporter for each fault, and the test that must fail for it."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest

from daemon.mistakes import Installed
from phoenixdkim.events import event_types
from phoenixdkim.testing.contract import ExporterContract, series_of
from phoenixdkim.testing.exporter_process import ExporterProcess

# Placeholders of the plain one are exchanged by the faulty ones.
PLAIN = """\
import os
import threading
import time

from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.options import AbsolutePath, Options


class PlainOptions(Options):
    path: AbsolutePath


class Exporter:
    api_version = 1

    @hookimpl
    def phoenixdkim_options(self):
        return PlainOptions

    @hookimpl
    def phoenixdkim_start(self, context):
        self.context = context
        self.lines = []
        pass  # start

    @hookimpl
    def phoenixdkim_event(self, event, count):
        self.lines.append((repr(event), count))

    @hookimpl
    def phoenixdkim_tick(self):
        lines, self.lines = self.lines, []
        pass  # tick
        try:
            fd = os.open(self.context.options.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        except OSError:
            self.context.lost(sum(count for _, count in lines))
            return
        os.write(fd, "".join(f"{name}\\t{count}\\n" for name, count in lines).encode())
        os.close(fd)
        self.context.delivered(len(lines))

    @hookimpl
    def phoenixdkim_stop(self):
        pass  # stop
"""


def faulty(place, code, model="PlainOptions"):
    return PLAIN.replace(f"pass  # {place}", code).replace("return PlainOptions", f"return {model}")


FAULTS = {
    "drops": (faulty("tick", "lines = lines[1:]"), "test_every_event_arrives"),
    "doubles": (faulty("tick", "lines = lines + lines[:1]"), "test_every_event_arrives"),
    "cries_wolf": (faulty("tick", "self.context.lost(len(lines))"), "test_every_event_arrives"),
    "fails_now_and_then": (faulty("tick", "assert len(lines) < 3 or lines == []"), "test_every_event_arrives"),
    "keeps": (faulty("tick", "self.kept = getattr(self, 'kept', []) + [bytearray(24 << 20) for _ in lines[:1]]"),
              "test_a_backlog_arrives"),
    "loses_at_restart": (
        faulty("start", "self.deaf = os.path.exists(context.options.path)").replace(
            "self.lines.append", "self.deaf or self.lines.append"
        ),
        "test_killed_and_restarted",
    ),
    "slow_to_stop": (faulty("stop", "time.sleep(60)"), "test_it_stops_in_time_and_delivers_what_came_last"),
    "leaves_a_process": (
        faulty("start", "os.fork() or time.sleep(60)"),
        "test_it_stops_in_time_and_delivers_what_came_last",
    ),
    "leaks_descriptors": (faulty("tick", "os.dup(0)"), "test_nothing_leaks"),
    "leaks_threads": (faulty("tick", "threading.Thread(target=time.sleep, args=(60,)).start()"), "test_nothing_leaks"),
    "takes_anything": (
        faulty("start", "pass").replace(
            "    path: AbsolutePath\n", "    path: AbsolutePath\n    model_config = {'extra': 'allow'}\n"
        ),
        "test_a_check_finds_no_fault",
    ),
}  # fmt: skip


class Plain(ExporterContract):
    exporter = "plain"
    kills = 2

    def open_receiver(self, place):
        self.path = place / "out" / "x"
        self.path.parent.mkdir()
        return {"path": str(self.path)}

    def received(self):
        series = {repr(event): series_of(event) for kind in event_types() for event in kind.combinations()}
        found = Counter()
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            name, _, count = line.partition("\t")
            found[series[name]] += int(count)
        return found

    def break_receiver(self):
        self.path.unlink()
        self.path.parent.rmdir()


TESTS = sorted({test for _, test in FAULTS.values()})


@pytest.fixture(scope="module", autouse=True)
def installed():
    made = Installed({"plain": PLAIN, **{name: text for name, (text, _) in FAULTS.items()}}, "phoenixdkim-faulty")
    yield
    made.remove()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What never comes need not be waited for so long."""
    monkeypatch.setattr("phoenixdkim.testing.contract.PATIENCE", 2.0)


def run(kind, test):
    contract = Plain()
    with tempfile.TemporaryDirectory() as place:
        table = {"type": kind, "interval": 0.1, **contract.open_receiver(Path(place))}
        with ExporterProcess(table, "contract") as process:
            getattr(contract, test)(process)


@pytest.mark.parametrize("test", TESTS)
def test_the_plain_one_has_none(test):
    run("plain", test)


@pytest.mark.parametrize(("kind", "test"), [(name, test) for name, (_, test) in FAULTS.items()], ids=FAULTS)
def test_each_fault_is_found(kind, test):
    with pytest.raises(AssertionError) as caught:
        run(kind, test)
    assert str(caught.value), "and it is said what is wrong"
