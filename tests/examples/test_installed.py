"""The example packages, installed as wheels beside ours, enabled in TOML, fed by the real daemon and real mail."""

from __future__ import annotations

import importlib.metadata
import json
import sysconfig
import time
from collections import Counter
from pathlib import Path

import pytest
from phoenixdkim_otlp.naming import otel_name

import phoenixdkim
from collector import Collector
from daemon.house import BODY, FIELDS, House, signed
from exposition import read_text
from interop.peers import KeyPair
from phoenixdkim.events import event_types
from phoenixdkim.metrics import CATALOGUE, Kind
from phoenixdkim.testing.contract import series_of
from phoenixdkim.testing.milter_protocol import apply

EXPORTERS = """\
[exporters.textfile]
path = "{{metrics}}/x.prom"
interval = 0.5
[exporters.otlp]
endpoint = "{endpoint}"
instance = "mx1"
interval = 0.5
[exporters.jsonlines]
path = "{{metrics}}/events.jsonl"
interval = 0.5
"""


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def test_what_is_tested_is_what_was_installed():
    site = Path(sysconfig.get_path("purelib"))
    assert Path(phoenixdkim.__file__).is_relative_to(site)
    for name in ("phoenixdkim", "phoenixdkim-otlp", "phoenixdkim-jsonlines"):
        found = importlib.metadata.distribution(name)
        assert found.read_text("direct_url.json") is None or '"editable": true' not in found.read_text(
            "direct_url.json"
        )
    points = {point.name for point in importlib.metadata.entry_points(group="phoenixdkim.exporters")}
    assert points == {"textfile", "http", "otlp", "jsonlines"}


def send(house):
    """Mail of all kinds; returns how many messages."""
    sent = 0
    signed_fields = FIELDS
    for _ in range(20):
        with house.client() as client:
            reply = client.send_message(FIELDS, BODY)
        assert signed(reply)
        signed_fields = apply(reply, FIELDS)
        sent += 1
    for fields, body in ((signed_fields, BODY), (signed_fields, b"changed\r\n"), (FIELDS, BODY)):
        for _ in range(7):
            with house.client() as client:
                client.send_message(fields, body, client_address="192.0.2.1")
            sent += 1
    return sent


def test_every_series_of_the_ledger_arrives(collector):
    key = KeyPair.rsa("example.com")
    with House(key, exporters=EXPORTERS.format(endpoint=collector.endpoint)) as house:
        sent = send(house)
        assert house.stop() == 0
        text = read_text((house.metrics / "x.prom").read_text())
        lines = [json.loads(line) for line in (house.metrics / "events.jsonl").read_text().splitlines()]
        log = house.log()
    assert "failed" not in log, log
    assert text["phoenixdkim_messages_total", ()] == sent
    assert text["phoenixdkim_verifications_total", (("result", "pass"),)] == 7
    assert collector.resource == {
        "service.name": "phoenixdkim",
        "service.version": phoenixdkim.__version__,
        "service.instance.id": "mx1",
    }
    compared = 0
    for spec in CATALOGUE:
        if spec.event is None:
            continue
        seen = collector.metrics[otel_name(spec)]
        combinations = {
            tuple((name, event.labels()[name]) for name in spec.labels) for event in spec.event.combinations()
        }
        assert set(seen.points) == combinations
        for labels, point in seen.points.items():
            compared += 1
            key_ = tuple(sorted(labels))
            assert abs(point.start / 1e9 - time.time()) < 120, "since the daemon's start"
            if spec.kind is Kind.COUNTER:
                assert point.value == text[spec.name, key_]
                continue
            assert point.value == pytest.approx(text[f"{spec.name}_sum", key_])
            total = 0
            for bound, number in zip((*map(str, spec.buckets), "+Inf"), point.counts, strict=True):
                total += number
                assert total == text[f"{spec.name}_bucket", tuple(sorted((*labels, ("le", bound))))]
    assert compared == sum(spec.series() for spec in CATALOGUE if spec.event is not None)
    # Gauges and the exporters' own.
    up = collector.metrics["phoenixdkim.exporter.up"].points
    assert set(up) == {(("exporter", name),) for name in ("textfile", "otlp", "jsonlines")}
    assert up[("exporter", "otlp"),].value == 1
    assert "phoenixdkim.exporter.jsonlines_lines" in collector.metrics
    assert "phoenixdkim.exporter.textfile_last_write_timestamp" in collector.metrics
    # The lines, summed up.
    events = {
        (kind.__name__, tuple(event.labels().items())): event for kind in event_types() for event in kind.combinations()
    }
    found = Counter()
    for line in lines:
        found[series_of(events[line["event"], tuple(line["labels"].items())])] += line["count"]
    for name, labels in {series_of(event) for event in events.values()}:
        assert found[name, labels] == text[name, tuple(sorted(labels))]
    assert sum(found.values()) > sent


def test_a_collector_that_is_gone_is_told_once_and_mail_goes_on(collector):
    key = KeyPair.rsa("example.com")
    endpoint = collector.endpoint
    collector.close()
    with House(key, exporters=EXPORTERS.format(endpoint=endpoint)) as house:
        house.wait_for("does not take metrics; tried again at each interval")
        assert signed(house.send())
        before = house.log().count("does not take metrics")
        deadline = time.monotonic() + 30
        path = house.metrics / "x.prom"
        own = "phoenixdkim_exporter_otlp_failures_total"
        while not path.exists() or read_text(path.read_text()).get((own, ()), 0) < 3:
            assert time.monotonic() < deadline, house.log()
            time.sleep(0.1)
        assert house.log().count("does not take metrics") == before
        assert house.stop() == 0
