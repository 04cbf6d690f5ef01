"""The exposition, judged by promtool and by prometheus_client's own parsers."""

import subprocess

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from phoenixdkim.dkim.results import Algorithm, SignResult
from phoenixdkim.events import Action, DnsResponse, DnsResult, MessageProcessed, MessageSigned
from phoenixdkim.metrics import CATALOGUE, Kind
from phoenixdkim.options import Options
from phoenixdkim.testing.exporter import FakeContext
from phoenixdkim_prometheus.families import Exposition


def exposition():
    context = FakeContext(Options(), name="http")
    context.happened(MessageProcessed(Action.SIGN), 3, [0.002, 0.002, 99])
    context.happened(MessageSigned(SignResult.OK, Algorithm.ED25519_SHA256), 2)
    context.happened(DnsResponse(DnsResult.TIMEOUT), 1, [2.0])
    return Exposition(context.snapshot)


def values(families):
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_promtool_finds_nothing_to_complain_of():
    done = subprocess.run(["promtool", "check", "metrics"], input=exposition().text(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_every_series_of_the_catalogue_is_there_and_no_other():
    found = list(parse_text(exposition().text().decode()))
    assert [family.name for family in found] == [
        spec.name.removesuffix("_total") if spec.kind is Kind.COUNTER else spec.name for spec in CATALOGUE
    ]
    series = sum(len(family.samples) for family in found)
    assert series == sum(spec.series() * (len(spec.buckets) + 3 if spec.buckets else 1) for spec in CATALOGUE)


def test_both_formats_tell_the_same():
    shown = exposition()
    text = values(parse_text(shown.text().decode()))
    openmetrics = values(parse_openmetrics(shown.openmetrics().decode()))
    assert text == openmetrics
    assert text["phoenixdkim_messages_total", ()] == 3
    assert text["phoenixdkim_signatures_total", (("algorithm", "ed25519-sha256"), ("result", "ok"))] == 2


def test_histograms_are_cumulative_and_in_seconds():
    text = values(parse_text(exposition().text().decode()))

    def bucket(le):
        return text["phoenixdkim_message_duration_seconds_bucket", (("action", "sign"), ("le", le))]

    assert (bucket("0.001"), bucket("0.0025"), bucket("10.0"), bucket("+Inf")) == (0, 2, 2, 3)
    assert text["phoenixdkim_message_duration_seconds_count", (("action", "sign"),)] == 3
    assert text["phoenixdkim_message_duration_seconds_sum", (("action", "sign"),)] == 99.004
    assert text["phoenixdkim_dns_duration_seconds_bucket", (("le", "2.5"),)] == 1
