"""Names, data points, failures, and the contract that every exporter owes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from phoenixdkim_otlp.exporter import FAILURES, LAST_EXPORT, OtlpExporter, OtlpOptions
from phoenixdkim_otlp.naming import otel_name, otel_unit, prometheus_name
from pydantic import ValidationError

from collector import Collector
from phoenixdkim.events import Action, DnsResponse, DnsResult, MessageProcessed
from phoenixdkim.metrics import CATALOGUE, HistogramSample, Kind, Snapshot
from phoenixdkim.testing.contract import Delivery, ExporterContract, Series
from phoenixdkim.testing.exporter import FakeContext


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def bench(collector: Collector, **options: Any) -> tuple[FakeContext, OtlpExporter]:
    context = FakeContext(OtlpOptions(endpoint=collector.endpoint, **options), declared=[FAILURES, LAST_EXPORT])
    exporter = OtlpExporter()
    exporter.phoenixdkim_start(context)
    return context, exporter


@pytest.mark.parametrize("spec", CATALOGUE, ids=[spec.name for spec in CATALOGUE])
def test_the_mapping_to_prometheus_gives_the_names_back(spec: Any) -> None:
    name, unit = otel_name(spec), otel_unit(spec)
    assert prometheus_name(name, unit, spec.kind is Kind.COUNTER) == spec.name
    assert not name.endswith(("_total", "_seconds"))
    assert unit == "s" or unit == "" or (unit[0] + unit[-1] == "{}" and unit[1:-1].isalpha())


def test_names_and_units() -> None:
    found = {spec.name: (otel_name(spec), otel_unit(spec)) for spec in CATALOGUE}
    assert found["phoenixdkim_messages_total"] == ("phoenixdkim.messages", "{message}")
    assert found["phoenixdkim_signatures_total"] == ("phoenixdkim.signatures", "{signature}")
    assert found["phoenixdkim_verifications_total"] == ("phoenixdkim.verifications", "{message}")
    assert found["phoenixdkim_dns_queries_total"] == ("phoenixdkim.dns.queries", "{query}")
    assert found["phoenixdkim_dns_duration_seconds"] == ("phoenixdkim.dns.duration", "s")
    assert found["phoenixdkim_exporter_up"] == ("phoenixdkim.exporter.up", "")
    assert len(set(found.values())) == len(CATALOGUE)


def demand(collector: Collector, snapshot: Snapshot, start: float) -> None:
    """Every series of a snapshot is as the collector has it."""
    specs = {family.spec.name for family in snapshot.families} - {"phoenixdkim_build_info"}
    assert len(collector.metrics) == len(specs)
    for family in snapshot.families:
        if family.spec.name not in specs:
            continue
        seen = collector.metrics[otel_name(family.spec)]
        assert (seen.unit, seen.help) == (otel_unit(family.spec), family.spec.help)
        assert set(seen.points) == {sample.labels for sample in family.samples}
        for sample in family.samples:
            point = seen.points[sample.labels]
            if isinstance(sample, HistogramSample):
                assert (seen.kind, point.counts, point.bounds) == ("histogram", sample.counts, family.spec.buckets)
                assert point.value == pytest.approx(sample.sum_ns / 1e9)
                assert not point.extremes, "what is not known is not told"
            else:
                assert seen.kind == ("sum" if family.spec.kind is Kind.COUNTER else "gauge")
                assert point.value == sample.value
            assert point.start == (0 if seen.kind == "gauge" else round(start * 1e9))


def test_every_series_arrives(collector: Collector) -> None:
    context, exporter = bench(collector, instance="mx1")
    context.happened(MessageProcessed(Action.SIGN), 3, [0.0005, 0.0006, 100.0])
    context.happened(DnsResponse(DnsResult.TIMEOUT), 1, [5.0])
    context.deliver(exporter, now=1795528800.5)
    before = context.snapshot()
    assert collector.resource["service.name"] == "phoenixdkim"
    assert collector.resource["service.instance.id"] == "mx1"
    assert collector.resource["service.version"] == before.families[0].samples[0].labels[0][1]
    context.own.clear()  # the round told of itself after it had left
    demand(collector, context.snapshot(), 0.0)
    assert {p.at for seen in collector.metrics.values() for p in seen.points.values()} == {1795528800_500000000}
    exporter.phoenixdkim_stop()


def test_gzip_and_headers(collector: Collector) -> None:
    context, exporter = bench(collector, compression="gzip", headers={"X-Tenant": "mail"})
    context.deliver(exporter)
    assert collector.requests == 1
    assert (collector.headers["content-encoding"], collector.headers["x-tenant"]) == ("gzip", "mail")
    exporter.phoenixdkim_stop()


@pytest.mark.parametrize("status", [400, 503])
def test_a_collector_that_refuses_is_told_once_and_counted(collector: Collector, status: int) -> None:
    context, exporter = bench(collector, timeout=0.3)
    collector.status = status
    context.deliver(exporter)
    context.deliver(exporter)
    assert context.own[FAILURES.name, ()] == 2
    assert [text.partition(" ")[2] for _, text in context.lines] == [
        "does not take metrics; tried again at each interval"
    ]
    collector.status = 200
    context.deliver(exporter, now=7.0)
    assert context.own[LAST_EXPORT.name, ()] == 7.0
    assert context.lines[-1][1].endswith("takes metrics again")
    exporter.phoenixdkim_stop()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "127.0.0.1:4318"}, "write a URL"),
        ({"timeout": 3.0}, "timeout = 3 must be less than stop_timeout = 2"),
        ({"compression": "zip"}, "'none' or 'gzip'"),
        ({"headers": {"X": 1}}, "valid string"),
    ],
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        OtlpOptions(**options)


class TestContract(ExporterContract):
    """What every exporter owes."""

    exporter = "otlp"
    delivers = Delivery.STATES

    def open_receiver(self, place: Path) -> dict[str, Any]:
        self.collector = Collector()
        return {"endpoint": self.collector.endpoint}

    def received(self) -> Mapping[Series, float]:
        return {
            (spec.name, labels): point.value
            for spec in CATALOGUE
            if spec.kind is Kind.COUNTER and otel_name(spec) in self.collector.metrics
            for labels, point in self.collector.metrics[otel_name(spec)].points.items()
        }

    def break_receiver(self) -> None:
        self.collector.close()

    def close_receiver(self) -> None:
        self.collector.close()
