"""Snapshots: the ledger and all exporters' pages as one set of families."""

from __future__ import annotations

from collections.abc import Sequence

from phoenixdkim import metrics
from phoenixdkim.exporters.state import ExporterState, StateReader
from phoenixdkim.ledger import LedgerReader, families
from phoenixdkim.metrics import Family, MetricSpec, Sample, Snapshot


def snapshot(reader: LedgerReader, totals: Sequence[int], exporters: Sequence[StateReader], version: str) -> Snapshot:
    """All metrics at one moment.

    Args:
        reader: the ledger.
        totals: its totals, as taken for this moment.
        exporters: all enabled exporters, in order of their tables.
        version: the daemon's version.
    """
    found = families(reader, totals, version)
    states = [exporter.read() for exporter in exporters]
    if states:
        found.append(_by_exporter(metrics.EXPORTER_UP, states, [state.up for state in states]))
        found.append(_by_exporter(metrics.EXPORTER_FAILURES, states, [state.failures for state in states]))
        found.append(_by_exporter(metrics.EXPORTER_LOST, states, [state.lost for state in states]))
    # Two instances of one plugin declare the same metrics: one family, their values added. Those of two plugins differ,
    # or the second would not have been taken.
    own: dict[str, Family] = {}
    for state in states:
        for family in state.families:
            known = own.get(family.spec.name)
            if known is None:
                own[family.spec.name] = family
            elif _alike(known, family):
                own[family.spec.name] = _merged(known, family)
    return Snapshot((*found, *own.values()), reader.started)


def _by_exporter(spec: MetricSpec, states: Sequence[ExporterState], values: Sequence[int]) -> Family:
    return Family(
        spec,
        tuple(Sample((("exporter", state.name),), value) for state, value in zip(states, values, strict=True)),
    )


def _alike(first: Family, second: Family) -> bool:
    """Whether two families have the same series; two versions of a plugin may differ while one is replaced."""
    series = [[sample.labels for sample in family.samples] for family in (first, second)]
    return first.spec.kind is second.spec.kind and series[0] == series[1]


def _merged(first: Family, second: Family) -> Family:
    values: dict[tuple[tuple[str, str], ...], float] = {}
    gauge = first.spec.kind is metrics.Kind.GAUGE
    for sample in (*first.samples, *second.samples):
        assert isinstance(sample, Sample)
        before = values.get(sample.labels)
        # Of a gauge the highest is shown: a sum of two timestamps means nothing.
        values[sample.labels] = (
            sample.value if before is None else max(before, sample.value) if gauge else before + sample.value
        )
    return Family(first.spec, tuple(Sample(labels, value) for labels, value in values.items()))
