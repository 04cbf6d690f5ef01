"""For an exporter's own tests: a context that records, and snapshots made from events.

context = FakeContext(MyExporter().phoenixdkim_options()(path="/tmp/x.prom"))
context.happened(MessageProcessed(Action.SIGN), 3, [0.002])
exporter.phoenixdkim_start(context)
context.deliver(exporter)          the events since the last call, then the tick
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from phoenixdkim import __version__, metrics
from phoenixdkim.events import Event
from phoenixdkim.metrics import Family, HistogramSample, Kind, MetricSpec, Sample, Snapshot
from phoenixdkim.options import Options


class FakeContext:
    """A ``hookspecs.Context`` without a daemon."""

    def __init__(self, options: Options, name: str = "test", declared: Sequence[MetricSpec] = ()) -> None:
        """Prepare.

        Args:
            options: the exporter's checked options.
            name: the exporter's name.
            declared: the plugin's own metrics, as ``phoenixdkim_metrics`` returns them.
        """
        self.name = name
        self.options: Any = options
        self.lines: list[tuple[int, str]] = []
        """Level and text of what was logged."""
        self.log = logging.Logger(f"exporter.{name}")
        self.log.addHandler(_Recorder(self.lines))
        self.counts: dict[Event, int] = {}
        self.seconds: dict[Event, list[float]] = {}
        self.own: dict[tuple[str, tuple[str, ...]], float] = {}
        """Values of the plugin's own metrics, by name and label values."""
        self.delivered_events = 0
        self.lost_events = 0
        self._declared = tuple(declared)
        self._taken: dict[Event, int] = {}

    def happened(self, event: Event, count: int = 1, seconds: Sequence[float] = ()) -> None:
        """Let an event happen ``count`` times."""
        self.counts[event] = self.counts.get(event, 0) + count
        self.seconds.setdefault(event, []).extend(seconds)

    def pending(self) -> list[tuple[Event, int, list[float]]]:
        """Event, count and samples of what happened since the last call."""
        found = []
        for event, total in self.counts.items():
            if count := total - self._taken.get(event, 0):
                found.append((event, count, self.seconds.pop(event, [])[:count]))
        self._taken = dict(self.counts)
        return found

    def deliver(self, exporter: Any, now: float = 0.0) -> None:
        """Call the event hook for what happened since the last call, and then the tick hook."""
        for event, count, samples in self.pending():
            _call(exporter, "phoenixdkim_event", event=event, count=count, samples=samples)
        _call(exporter, "phoenixdkim_tick", now=now)

    # The context's own interface.

    def snapshot(self) -> Snapshot:
        """All metrics now."""
        return Snapshot((*(self._family(spec) for spec in metrics.CATALOGUE), *self._own_families()))

    def add(self, metric: MetricSpec, labels: Mapping[str, Enum] | None = None, amount: int = 1) -> None:
        """Record an addition."""
        key = self._key(metric, labels)
        self.own[key] = self.own.get(key, 0) + amount

    def set(self, metric: MetricSpec, value: float, labels: Mapping[str, Enum] | None = None) -> None:
        """Record a value."""
        self.own[self._key(metric, labels)] = value

    def delivered(self, events: int) -> None:
        """Record how many events of this tick are delivered."""
        self.delivered_events = events

    def lost(self, count: int) -> None:
        """Record a loss."""
        self.lost_events += count

    def _key(self, metric: MetricSpec, labels: Mapping[str, Enum] | None) -> tuple[str, tuple[str, ...]]:
        if metric not in self._declared:
            raise ValueError(f"metric '{metric.name}' was not declared")
        return metric.name, tuple(str((labels or {})[name].value) for name in metric.labels)

    def _own_families(self) -> list[Family]:
        return [
            Family(
                spec,
                tuple(
                    Sample(tuple(zip(spec.labels, values, strict=True)), self.own.get((spec.name, values), 0))
                    for values in _combinations(spec)
                ),
            )
            for spec in self._declared
        ]

    def _family(self, spec: MetricSpec) -> Family:
        if spec.event is None:
            value = {"version": __version__, "exporter": self.name}
            labels = tuple((name, value[str(kind)]) for name, kind in spec.labels.items())
            return Family(spec, (Sample(labels, 1.0 if spec.kind is Kind.GAUGE else 0.0),))
        samples: dict[tuple[tuple[str, str], ...], Sample | HistogramSample] = {}
        for event in spec.event.combinations():
            labels = tuple((name, event.labels()[name]) for name in spec.labels)
            if spec.kind is Kind.HISTOGRAM:
                before = samples.get(labels, HistogramSample(labels, (0,) * (len(spec.buckets) + 1), 0))
                assert isinstance(before, HistogramSample)
                samples[labels] = _observed(spec, before, self.seconds.get(event, []))
            else:
                known = samples.get(labels, Sample(labels, 0))
                assert isinstance(known, Sample)
                samples[labels] = Sample(labels, known.value + self.counts.get(event, 0))
        return Family(spec, tuple(samples.values()))


class _Recorder(logging.Handler):
    def __init__(self, lines: list[tuple[int, str]]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append((record.levelno, record.getMessage()))


def _observed(spec: MetricSpec, before: HistogramSample, seconds: Sequence[float]) -> HistogramSample:
    counts = list(before.counts)
    for value in seconds:
        counts[bisect_left(spec.buckets, value)] += 1
    return HistogramSample(before.labels, tuple(counts), before.sum_ns + round(sum(seconds) * 1e9))


def _combinations(spec: MetricSpec) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for kind in spec.labels.values():
        assert isinstance(kind, type)
        found = [(*values, str(member.value)) for values in found for member in kind]
    return found


def _call(exporter: Any, hook: str, **arguments: object) -> None:
    function = getattr(exporter, hook, None)
    if function is None:
        return
    code = function.__func__.__code__ if hasattr(function, "__func__") else function.__code__
    wanted = code.co_varnames[: code.co_argcount]
    function(**{name: value for name, value in arguments.items() if name in wanted})
