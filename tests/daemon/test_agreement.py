"""One truth: after a stop, textfile, StatsD and the log tell of the same messages, series by series."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.house import BODY, FIELDS, House, Load, StatsdReceiver
from phoenixdkim.metrics import CATALOGUE, Kind
from phoenixdkim.testing.milter_protocol import apply

EXPORTERS = """\
[exporters.textfile]
path = "{metrics}/phoenixdkim.prom"
interval = 1
[exporters.statsd]
address = "unix:{base}/statsd.sock"
interval = 0.2
"""
SUMMARY = re.compile(r"^\S+: summary (.*)$", re.MULTILINE)


def exposed(house):
    text = (house.metrics / "phoenixdkim.prom").read_text()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def by_dotted_name():
    """Dotted name of each counter series that counts an event, and how the text format names it."""
    names = {}
    for spec in CATALOGUE:
        if spec.kind is Kind.COUNTER and spec.event is not None:
            for event in spec.event.combinations():
                labels = {name: event.labels()[name] for name in spec.labels}
                names["phoenixdkim." + spec.dotted_name(labels)] = (spec.name, tuple(sorted(labels.items())))
    return names


def total(found, name, **labels):
    return sum(
        value
        for (n, found_labels), value in found.items()
        if n == name and labels.items() <= dict(found_labels).items()
    )


@pytest.fixture
def house(key):
    house = House(key, exporters=EXPORTERS)
    receiver = StatsdReceiver(house.base / "statsd.sock")
    receiver.start()
    house.receiver = receiver
    with house:
        yield house
    if not receiver.ended:
        receiver.close()


def test_all_series_are_there_at_zero_from_the_start(house):
    deadline = time.monotonic() + 60
    while not (house.metrics / "phoenixdkim.prom").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    found = exposed(house)
    names = by_dotted_name()
    assert len(names) > 70
    assert {found[name] for name in names.values()} == {0.0}
    samples = sum(spec.series() * (len(spec.buckets) + 3) for spec in CATALOGUE if spec.buckets)
    assert len([1 for name, _ in found if name.endswith(("_bucket", "_sum", "_count"))]) == samples


@pytest.mark.parametrize("round_", range(3))
def test_after_a_stop_under_load_all_tell_the_same(house, round_):
    signed_fields = apply(house.send(), FIELDS)
    answered = 1
    with Load(house, 8, many=round_ + 1) as load:
        time.sleep(0.3)
        for fields, body in (
            (signed_fields, BODY),
            (signed_fields, b"changed\r\n"),
            ([(b"From", b" x@example.org")], BODY),
        ):
            for _ in range(5):
                with house.client() as client:
                    client.send_message(fields, body, client_address="192.0.2.1")
                answered += 1
        time.sleep(0.3)
        house.signal(signal.SIGTERM)
        assert house.wait() == 0
    put_off = sum("421" in reason for reason in load.bad)
    answered += load.good + put_off
    house.receiver.close()
    found = exposed(house)
    log = [dict(pair.split("=", 1) for pair in line.split()) for line in SUMMARY.findall(house.log())]
    lost_lines = total(found, "phoenixdkim_log_lines_lost_total")
    messages = total(found, "phoenixdkim_messages_total")
    assert messages == answered
    assert len(log) + lost_lines == messages
    # Every series of the counters, in both exporters.
    names = by_dotted_name()
    assert {name: found[series] for name, series in names.items() if found[series]} == house.receiver.counters_of(names)
    assert total(found, "phoenixdkim_exporter_lost_total") == 0
    # Series that the log tells too.
    actions = Counter(line["action"] for line in log)
    for action in ("sign", "verify", "pass", "error"):
        assert total(found, "phoenixdkim_message_duration_seconds_count", action=action) == actions[action]
    results = Counter(line["result"] for line in log if "result" in line)
    assert results["pass"] >= 5
    assert results["fail"] >= 5
    for (name, labels), value in found.items():
        if name == "phoenixdkim_verifications_total":
            assert value == results[dict(labels)["result"]]
        if name == "phoenixdkim_unsigned_messages_total":
            assert value == Counter(line.get("unsigned") for line in log)[dict(labels)["reason"]]
    assert total(found, "phoenixdkim_signatures_total", result="ok") == actions["sign"]
    # Identities.
    assert messages == total(found, "phoenixdkim_message_duration_seconds_count")
    assert total(found, "phoenixdkim_dns_queries_total") == total(found, "phoenixdkim_dns_responses_total")
    assert total(found, "phoenixdkim_dns_queries_total") == total(found, "phoenixdkim_dns_duration_seconds_count")
    for spec in CATALOGUE:
        if spec.buckets:
            for event in spec.event.combinations():
                labels = {name: event.labels()[name] for name in spec.labels}
                top = total(found, f"{spec.name}_bucket", le="+Inf", **labels)
                assert top == total(found, f"{spec.name}_count", **labels)
    missing = house.receiver.counters.get("phoenixdkim.exporter_statsd_samples_missing", 0)
    assert house.receiver.timers.get("phoenixdkim.message.duration.sign", 0) + missing >= actions["sign"]
