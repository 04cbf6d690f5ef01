"""The state of an exporter as others show it: the supervisor's record beside the exporter's own page.

The page is untrusted. What is shown of it is bounded, belongs to the description that the supervisor accepted, and
never falls; a page that was overwritten makes the exporter show as down, with the last good values.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from phoenixdkim.exporters.page import MOST, Page, PageValues
from phoenixdkim.exporters.record import Facts, Record, RecordWriter
from phoenixdkim.metrics import Family, Kind, MetricSpec, Sample


@dataclass(frozen=True, slots=True)
class ExporterState:
    """An exporter at one moment.

    Attributes:
        name: the table's name.
        up: 1 while it runs and its page is sound.
        failures: failed hook calls, and processes that ended unexpectedly.
        lost: events taken and not delivered.
        families: its plugin's own metrics.
    """

    name: str
    up: int
    failures: int
    lost: int
    families: tuple[Family, ...]


class StateReader:
    """Reads an exporter's record and page; totals that it returned never fall."""

    def __init__(self, record: Record, page: Page) -> None:
        self.record = record
        self.page = page
        self._edition = -1
        self._failures = 0
        self._lost = 0
        self._values: list[int] = []
        self._sound = True
        self.heartbeat = 0
        """Monotonic nanoseconds of the last sign of life in a sound page; untrusted."""

    @property
    def name(self) -> str:
        """Name of the exporter."""
        return self.page.name

    @property
    def sound(self) -> bool:
        """Whether the page could be used when it was last read."""
        return self._sound

    def close(self) -> None:
        """Unmap both."""
        self.page.close()
        self.record.close()

    def read(self) -> ExporterState:
        """Return the state as it is now."""
        facts = self.record.read()
        values = self.page.read()
        kinds = [metric.kind for metric in facts.description for _ in metric.series]
        self._merge(facts, kinds)
        self._sound = values is not None and (values.layout != facts.layout or _sane(values, kinds))
        if values is not None and self._sound:
            self.heartbeat = values.heartbeat
            self._failures = max(self._failures, values.failures)
            self._lost = max(self._lost, values.lost)
            if values.layout == facts.layout:
                self._take(values.own, kinds)
        up = int(facts.up and self._sound)
        return ExporterState(self.name, up, self._failures + facts.deaths, self._lost, self._families(facts))

    def keep_in(self, record: RecordWriter) -> ExporterState:
        """Read the state and store its totals in the record."""
        state = self.read()
        record.keep(self._failures, self._lost, self._values)
        return state

    def _merge(self, facts: Facts, kinds: list[Kind]) -> None:
        """Take the totals of the record, which others may have seen already."""
        self._failures = max(self._failures, facts.failures)
        self._lost = max(self._lost, facts.lost)
        if facts.edition != self._edition:
            self._edition = facts.edition
            self._values = list(facts.values[: len(kinds)])
        self._take(facts.values, kinds, gauges=False)

    def _take(self, words: tuple[int, ...], kinds: list[Kind], gauges: bool = True) -> None:
        for slot, kind in enumerate(kinds):
            if kind is Kind.COUNTER:
                self._values[slot] = max(self._values[slot], words[slot])
            elif gauges:
                self._values[slot] = words[slot]

    def _families(self, facts: Facts) -> tuple[Family, ...]:
        found = []
        slot = 0
        for shown in facts.description:
            spec = MetricSpec(shown.name, shown.kind, shown.help, dotted=shown.dotted)
            samples = []
            for labels in shown.series:
                word = self._values[slot]
                samples.append(Sample(labels, _as_float(word) if shown.kind is Kind.GAUGE else word))
                slot += 1
            found.append(Family(spec, tuple(samples)))
        return tuple(found)


def _as_float(word: int) -> float:
    return float(struct.unpack("d", struct.pack("Q", word))[0])


def _sane(values: PageValues, kinds: list[Kind]) -> bool:
    """Whether the values of a plugin's own metrics are such as its process would write."""
    return all(
        math.isfinite(_as_float(word)) if kind is Kind.GAUGE else word <= MOST
        for word, kind in zip(values.own, kinds, strict=False)
    )
