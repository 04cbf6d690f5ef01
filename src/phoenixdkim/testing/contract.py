"""What every exporter owes, as tests to inherit from. Needs pytest, and the exporter's package installed.

class TestMine(ExporterContract):
    exporter = "mine"

    def open_receiver(self, place):                  # starts what receives; returns the exporter's TOML table
        self.path = place / "events"
        return {"path": str(self.path)}

    def received(self):                              # what has come out so far, series by series
        return Counter(...)

The exporter runs in the process that a daemon would give it, with a ledger that the tests fill. Every series of every
counter that counts events is compared.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import pytest

from phoenixdkim.metrics import CATALOGUE, PLUGIN_PREFIX, HistogramSample, Kind
from phoenixdkim.testing.exporter_process import PATIENCE, ExporterProcess
from phoenixdkim.testing.stream import Series, every_event, series_of

__all__ = ["Delivery", "ExporterContract", "Series", "series_of"]


class Delivery(StrEnum):
    """What an exporter hands on."""

    EVENTS = "events"
    """Events since the last tick: what a kill leaves undelivered is lost, and counted."""
    STATES = "states"
    """Totals: what one tick misses the next one has, so nothing is ever lost."""


class ExporterContract:
    """Base of the tests of one exporter; set ``exporter`` and ``delivers``, override the methods of the receiver."""

    exporter: ClassVar[str]
    """Name of the entry point."""
    delivers: ClassVar[Delivery] = Delivery.EVENTS
    may_lose: ClassVar[bool] = False
    """Whether the receiver may refuse what comes too fast, as a datagram socket does: what is lost must be counted."""
    seen_after_stop: ClassVar[bool] = True
    """Whether ``received`` works after the stop; an exporter that must be asked can't be asked by then."""
    kills: ClassVar[int] = 5
    """How many times the process is killed."""

    # To override.

    def open_receiver(self, place: Path) -> dict[str, Any]:
        """Start what the exporter sends to, and return the exporter's table; ``place`` is an empty directory."""
        raise NotImplementedError

    def received(self) -> Mapping[Series, float]:
        """Value of each counter's series as the receiver has it now; those that are zero may be missing.

        A series is a name of the catalogue and its labels in the catalogue's order; ``series_of(event)`` makes one.
        For an exporter that delivers events it is the sum of all that came.
        """
        raise NotImplementedError

    def close_receiver(self) -> None:
        """End the receiver."""

    def break_receiver(self) -> None:
        """Make the receiver unreachable for good: end it, remove its directory, fill its disk."""

    # The tests.

    @pytest.fixture
    def process(self, tmp_path: Path) -> Iterator[ExporterProcess]:
        """The exporter's process, with the receiver; not started yet."""
        table = {"type": self.exporter, "interval": 0.1, **self.open_receiver(tmp_path)}
        try:
            with ExporterProcess(table, "contract") as process:
                yield process
        finally:
            self.close_receiver()

    def test_a_check_finds_no_fault(self, process: ExporterProcess) -> None:
        """Hooks, options and metrics are as they must be."""
        faults = process.check()
        assert faults == [], "; ".join(faults)

    def test_an_option_that_does_not_exist_is_refused(self, process: ExporterProcess) -> None:
        """A misspelt option must not pass in silence."""
        process.table["no_such_option"] = 1
        faults = process.check()
        assert any("no_such_option" in fault for fault in faults), f"no fault names the option: {faults}"

    def test_every_event_arrives(self, process: ExporterProcess) -> None:
        """Each event that can exist, in the numbers in which it happened, twice over."""
        process.start()
        for _ in range(2):
            process.record(list(every_event()))
            process.settle()
        self.demand_all(process)
        assert process.failures == 0, f"hooks failed: {process.log}"

    def test_a_backlog_arrives(self, process: ExporterProcess) -> None:
        """What happened while the exporter stood still arrives when it goes on, and costs it no memory."""
        process.start()
        process.record(list(every_event()))
        process.settle()
        before = process.memory()
        process.pause()
        events = list(every_event())
        for _ in range(300):
            process.record(events)
        process.resume()
        process.settle()
        self.demand_all(process)
        process.ticks(2)
        grown = process.memory() - before
        assert grown < 16 << 20, f"{grown} octets more than before a backlog of {process.events} events"

    def test_killed_and_restarted(self, process: ExporterProcess) -> None:
        """Killed at any moment: what was received and what is counted as lost are together what happened."""
        chance = random.Random(7)
        events = list(every_event())
        process.start()
        for _ in range(self.kills):
            process.record(events)
            time.sleep(chance.random() * 0.15)
            process.record(events[: chance.randrange(len(events))])
            process.kill()
            process.start()
        process.record(events)
        process.settle()
        if self.delivers is Delivery.STATES:
            assert process.lost == 0, f"{process.lost} events counted as lost; totals lose nothing"
            self.demand_all(process)
            return
        self.demand_sum(process)

    def test_it_stops_in_time_and_delivers_what_came_last(self, process: ExporterProcess) -> None:
        """The last tick has what happened just before; no process and no thread keeps the daemon waiting."""
        process.start()
        process.ticks(1)
        process.record(list(every_event()))
        stopped = process.stop()
        assert stopped.clean, f"it had not ended after {stopped.seconds:.1f} s; its log: {process.log}"
        assert stopped.left == (), f"it leaves processes behind: {stopped.left}"
        if self.seen_after_stop:
            self.demand_all(process)

    def test_it_stops_in_time_when_nobody_receives(self, process: ExporterProcess) -> None:
        """A receiver that is gone is no reason to hang."""
        process.start()
        process.record(list(every_event()))
        process.settle()
        self.break_receiver()
        process.record(list(every_event()))
        process.settle()
        stopped = process.stop()
        assert stopped.clean, f"it had not ended after {stopped.seconds:.1f} s; its log: {process.log}"

    def test_nothing_leaks(self, process: ExporterProcess) -> None:
        """After many ticks there are as many threads and descriptors as after a few."""
        process.start()
        events = list(every_event())
        for _ in range(5):
            process.record(events)
            process.settle()
        before = process.threads(), process.descriptors()
        for _ in range(20):
            process.record(events)
            process.settle()
        after = process.threads(), process.descriptors()
        assert after[0] <= before[0], f"{before[0]} threads became {after[0]}"
        assert len(after[1]) <= len(before[1]), f"descriptors: {before[1]} became {after[1]}"

    def test_its_own_series_are_there_from_the_start_and_stay_the_same(self, process: ExporterProcess) -> None:
        """Own metrics have the right names, enums as labels, and no series comes later."""
        process.start()
        process.ticks(1)
        before = self._own(process)
        process.record(list(every_event()))
        process.settle()
        assert self._own(process) == before
        for name, labels in before:
            assert name.startswith(PLUGIN_PREFIX), f"{name} does not start with {PLUGIN_PREFIX}"
            assert len(labels) <= 5, f"{name} has {len(labels)} labels"

    # What they demand.

    def demand_all(self, process: ExporterProcess) -> None:
        """Each series of each counter is as the ledger has it, in a while at most; or ``demand_sum`` if it may lose."""
        if self.may_lose:
            self.demand_sum(process)
            return
        expected = self._expected(process)
        deadline = time.monotonic() + PATIENCE
        while (found := self._counters(self.received())) != expected and time.monotonic() < deadline:
            time.sleep(0.02)
        wrong = {series: (found.get(series, 0), value) for series, value in expected.items() if found[series] != value}
        assert not wrong, f"received and expected differ: {wrong}; its log: {process.log[-5:]}"
        assert process.lost == 0, f"{process.lost} events are counted as lost, and none was"

    def demand_sum(self, process: ExporterProcess) -> None:
        """Nothing was received that did not happen, and received and lost are together what happened."""
        expected = self._expected(process)
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self._counters(self.received())
            received = sum(found.values())
            if received + process.lost >= process.events or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        more = {series: (value, expected[series]) for series, value in found.items() if value > expected[series]}
        assert not more, f"received more than happened: {more}"
        assert received > 0, f"nothing was received at all; its log: {process.log[-5:]}"
        assert received + process.lost == process.events, (
            f"{received:g} received and {process.lost} lost are not the {process.events} that happened"
        )

    @staticmethod
    def _counters(values: Mapping[Series, float]) -> dict[Series, float]:
        """The values of counters of events, zero where there is none."""
        return {
            series_of(event): values.get(series_of(event), 0)
            for spec in CATALOGUE
            if spec.kind is Kind.COUNTER and spec.event is not None
            for event in spec.event.combinations()
        }

    def _expected(self, process: ExporterProcess) -> dict[Series, float]:
        return self._counters(
            {
                (family.spec.name, sample.labels): sample.value
                for family in process.snapshot().families
                for sample in family.samples
                if not isinstance(sample, HistogramSample)
            }
        )

    @staticmethod
    def _own(process: ExporterProcess) -> set[Series]:
        known = {spec.name for spec in CATALOGUE}
        return {
            (family.spec.name, sample.labels)
            for family in process.snapshot().families
            if family.spec.name not in known
            for sample in family.samples
        }
