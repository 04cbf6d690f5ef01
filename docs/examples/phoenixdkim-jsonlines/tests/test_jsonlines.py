"""The file: lines, rotation, a full disk, and the contract that every exporter owes."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from phoenixdkim_jsonlines.exporter import LINES, JsonLinesExporter, JsonLinesOptions

from phoenixdkim.events import Action, Algorithm, Event, MessageProcessed, MessageSigned, SignResult, event_types
from phoenixdkim.testing.contract import ExporterContract, Series, series_of
from phoenixdkim.testing.exporter import FakeContext

SIGNED = MessageSigned(SignResult.OK, Algorithm.RSA_SHA256)
PROCESSED = MessageProcessed(Action.SIGN)


class Bench:
    """An exporter with a context that records."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.context = FakeContext(JsonLinesOptions(path=str(path)), declared=[LINES])
        self.exporter = JsonLinesExporter()
        self.exporter.phoenixdkim_start(self.context)

    def tick(self, *events: Event, count: int = 1) -> None:
        for event in events:
            self.context.happened(event, count)
        self.context.deliver(self.exporter, now=1795528800.12345)

    def lines(self, path: Path | None = None) -> list[Any]:
        return [json.loads(line) for line in (path or self.path).read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "events.jsonl")
    yield made
    made.exporter.phoenixdkim_stop()


def test_one_object_for_each_event_of_a_tick(bench: Bench) -> None:
    bench.tick(SIGNED, PROCESSED, count=17)
    bench.tick(SIGNED)
    bench.tick()
    assert bench.lines() == [
        {
            "time": 1795528800.123,
            "event": "MessageSigned",
            "count": 17,
            "labels": {"result": "ok", "algorithm": "rsa-sha256"},
        },
        {"time": 1795528800.123, "event": "MessageProcessed", "count": 17, "labels": {"action": "sign"}},
        {
            "time": 1795528800.123,
            "event": "MessageSigned",
            "count": 1,
            "labels": {"result": "ok", "algorithm": "rsa-sha256"},
        },
    ]
    assert bench.context.own[LINES.name, ()] == 3


def test_the_file_may_be_renamed_or_removed(bench: Bench) -> None:
    bench.tick(SIGNED)
    bench.path.rename(bench.path.with_suffix(".1"))
    bench.tick(SIGNED, SIGNED)
    bench.path.unlink()
    bench.tick(PROCESSED)
    assert len(bench.lines(bench.path.with_suffix(".1"))) == 1
    assert [line["event"] for line in bench.lines()] == ["MessageProcessed"]
    assert bench.context.lost_events == 0
    assert len([1 for fd in os.listdir("/proc/self/fd") if _is(fd, bench.path)]) == 1


def _is(fd: str, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith(str(path.parent))
    except OSError:
        return False


@pytest.mark.parametrize("kind", ["directory", "link", "pipe", "missing"])
def test_what_is_no_file_to_append_to_is_lost_and_told_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "events.jsonl"
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "other")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path = tmp_path / "none" / "events.jsonl"
    bench = Bench(path)
    bench.tick(SIGNED, count=3)
    bench.tick(SIGNED, count=4)
    assert bench.context.lost_events == 7
    assert len(bench.context.lines) == 1
    if kind != "missing":
        path.rmdir() if kind == "directory" else path.unlink()
        bench.tick(SIGNED)
        assert [text.endswith("is written again") for _, text in bench.context.lines] == [False, True]
    assert not (tmp_path / "other").exists()
    bench.exporter.phoenixdkim_stop()


def test_a_full_disk_loses_what_did_not_fit_and_no_more(bench: Bench) -> None:
    bench.tick(SIGNED)
    size = bench.path.stat().st_size
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size * 2 + 20, before[1][1]))
        bench.tick(SIGNED, PROCESSED, count=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[1])
        signal.signal(signal.SIGXFSZ, before[0])
    assert bench.context.lost_events in (5, 10)
    whole = 2 if bench.context.lost_events == 5 else 1
    bench.tick(PROCESSED)
    text = bench.path.read_text().splitlines()
    assert len([line for line in text if _reads(line)]) == whole + 1, "a line that was cut off does not spoil the next"


def _reads(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


class TestContract(ExporterContract):
    """What every exporter owes."""

    exporter = "jsonlines"

    def open_receiver(self, place: Path) -> dict[str, Any]:
        self.path = place / "out" / "events.jsonl"
        self.path.parent.mkdir()
        self.events = {
            (kind.__name__, tuple(event.labels().items())): series_of(event)
            for kind in event_types()
            for event in kind.combinations()
        }
        return {"path": str(self.path)}

    def received(self) -> Mapping[Series, float]:
        found: Counter[Series] = Counter()
        text = self.path.read_text() if self.path.exists() else ""
        for line in text.splitlines():
            if _reads(line):
                entry = json.loads(line)
                found[self.events[entry["event"], tuple(entry["labels"].items())]] += entry["count"]
        return {series: float(value) for series, value in found.items()}

    def break_receiver(self) -> None:
        self.path.unlink()
        self.path.parent.rmdir()
