"""From a snapshot to the SDK's metrics data.

The snapshot has totals and whole histograms already, so nothing is measured again: its buckets become histogram data
points of cumulative temporality, whose start is when the daemon's counters were zero. Smallest and largest value are
left out, because the daemon does not keep them.
"""

from __future__ import annotations

from typing import Final, cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from phoenixdkim.metrics import Family, HistogramSample, Kind, Sample, Snapshot
from phoenixdkim_otlp import __version__
from phoenixdkim_otlp.naming import otel_name, otel_unit

_SCOPE: Final = InstrumentationScope("phoenixdkim_otlp", __version__)
_BUILD: Final = "phoenixdkim_build_info"
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
# What the wire may leave out, the SDK's type must have.
_UNKNOWN: Final = cast(float, None)


def metrics_data(snapshot: Snapshot, instance: str, now: float) -> MetricsData:
    """All metrics of a snapshot.

    Args:
        snapshot: the daemon's metrics now.
        instance: ``service.instance.id`` of the resource.
        now: Unix time of the snapshot in seconds.
    """
    start, at = _nanoseconds(snapshot.started), _nanoseconds(now)
    metrics = [_metric(family, start, at) for family in snapshot.families if family.spec.name != _BUILD]
    resource = Resource(
        {"service.name": "phoenixdkim", "service.version": _version(snapshot), "service.instance.id": instance}
    )
    scope = ScopeMetrics(_SCOPE, metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _version(snapshot: Snapshot) -> str:
    for family in snapshot.families:
        if family.spec.name == _BUILD:
            return dict(family.samples[0].labels)["version"]
    return ""


def _metric(family: Family, start: int, at: int) -> Metric:
    spec = family.spec
    name, unit = otel_name(spec), otel_unit(spec)
    if spec.kind is Kind.HISTOGRAM:
        points = [
            HistogramDataPoint(
                dict(sample.labels),
                start,
                at,
                sample.count,
                sample.sum_ns / 1e9,
                sample.counts,
                spec.buckets,
                _UNKNOWN,
                _UNKNOWN,
            )
            for sample in family.samples
            if isinstance(sample, HistogramSample)
        ]
        return Metric(name, spec.help, unit, Histogram(points, _CUMULATIVE))
    numbers = [sample for sample in family.samples if isinstance(sample, Sample)]
    if spec.kind is Kind.COUNTER:
        sums = [NumberDataPoint(dict(sample.labels), start, at, int(sample.value)) for sample in numbers]
        return Metric(name, spec.help, unit, Sum(sums, _CUMULATIVE, is_monotonic=True))
    # A gauge has no start; zero is "not set" on the wire.
    return Metric(
        name, spec.help, unit, Gauge([NumberDataPoint(dict(sample.labels), 0, at, sample.value) for sample in numbers])
    )


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000_000)
