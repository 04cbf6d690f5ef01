"""A stream of events that has all: every event that can exist, and measures in every bucket and on every bound."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from phoenixdkim.events import Event, event_types
from phoenixdkim.ledger import Batch
from phoenixdkim.metrics import CATALOGUE, Kind

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A series: name of the metric, and its labels in the catalogue's order."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event that happened once; ``seconds`` is its measure, None when its class has none."""

    event: Event
    seconds: float | None


def every_event() -> Iterator[Recorded]:
    """Each event that can exist, one to thirteen times; always the same ones in the same order."""
    number = 0
    for kind in event_types():
        values = itertools.cycle(_values(kind))
        for event in kind.combinations():
            number += 1
            for _ in range(1 + number * 7 % 13):
                yield Recorded(event, None if kind.measure is None else next(values))


def _values(kind: type[Event]) -> list[float]:
    """A duration inside each bucket, on each bound, none at all, and one past the last."""
    if kind.measure is None:
        return [0.0]
    bounds = kind.measure.buckets
    return [0.0, *bounds, *(bound * 0.99 for bound in bounds), bounds[-1] * 10]


def batch_of(recorded: list[Recorded]) -> Batch:
    """Events as a worker adds them to the ledger."""
    batch = Batch()
    for one in recorded:
        batch.add(one.event, one.seconds)
    return batch


def series_of(event: Event) -> Series:
    """The series of a counter that counts this event, and no event of another class."""
    for spec in CATALOGUE:
        if spec.kind is Kind.COUNTER and spec.event is type(event):
            labels = event.labels()
            return spec.name, tuple((name, labels[name]) for name in spec.labels)
    raise LookupError(f"no counter counts {event!r}")
