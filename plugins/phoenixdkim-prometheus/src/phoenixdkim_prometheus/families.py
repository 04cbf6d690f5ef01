"""From a snapshot to prometheus_client's families, and to text in both formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from phoenixdkim.metrics import Family, HistogramSample, Kind, Sample, Snapshot

TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of the text format."""
OPENMETRICS_TYPE: Final = CONTENT_TYPE_LATEST
"""Content type of OpenMetrics."""


class _SnapshotCollector:
    """Gives a registry the families of one snapshot at a time."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """The families of a snapshot taken now."""
        for family in self._snapshot().families:
            yield _metric(family)

    def describe(self) -> list[Metric]:
        """Nothing, so that no snapshot is taken when the collector is registered."""
        return []


def _metric(family: Family) -> Metric:
    spec = family.spec
    names = [name for name, _ in family.samples[0].labels] if family.samples else []
    if spec.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(spec.name, spec.help, labels=names, unit=spec.unit)
        for sample in family.samples:
            if isinstance(sample, HistogramSample):
                values = [value for _, value in sample.labels]
                histogram.add_metric(values, _cumulative(spec.buckets, sample), sample.sum_ns / 1e9)
        return histogram
    made: CounterMetricFamily | GaugeMetricFamily = (
        CounterMetricFamily(spec.name, spec.help, labels=names)
        if spec.kind is Kind.COUNTER
        else GaugeMetricFamily(spec.name, spec.help, labels=names, unit=spec.unit)
    )
    for sample in family.samples:
        if isinstance(sample, Sample):
            made.add_metric([value for _, value in sample.labels], sample.value)
    return made


def _cumulative(bounds: tuple[float, ...], sample: HistogramSample) -> list[tuple[str, float]]:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(_bound, bounds), "+Inf"), sample.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets


def _bound(bound: float) -> str:
    return repr(float(bound))


class Exposition:
    """Renders snapshots. It has a registry of its own: the global one belongs to whoever uses it."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        """Prepare; ``snapshot`` is called at each rendering."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_SnapshotCollector(snapshot))

    def text(self) -> bytes:
        """The text format 0.0.4."""
        return generate_latest(self._registry)

    def openmetrics(self) -> bytes:
        """OpenMetrics 1.0."""
        rendered: bytes = generate_openmetrics(self._registry)  # type: ignore[no-untyped-call]
        return rendered
