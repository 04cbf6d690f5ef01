"""The catalogue is what administrators build on: names, kinds, labels and their values stay as they are."""

from __future__ import annotations

import pytest

from phoenixdkim.cli.metrics import label_values
from phoenixdkim.metrics import CATALOGUE

RESULTS = "pass fail none neutral policy temperror permerror"
ALGORITHMS = "rsa-sha256 ed25519-sha256 rsa-sha1 other"
DNS_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

CONTRACT = {
    "build_info": ("gauge", {"version": ""}),
    "messages_total": ("counter", {}),
    "signatures_total": ("counter", {"result": "ok error", "algorithm": ALGORITHMS}),
    "verifications_total": ("counter", {"result": RESULTS}),
    "dns_queries_total": ("counter", {}),
    "dns_responses_total": ("counter", {"result": "success timeout error"}),
    "dns_duration_seconds": ("histogram", {}),
    "dnssec_keys_total": ("counter", {"status": "secure insecure bogus unavailable unknown"}),
    "signature_verifications_total": ("counter", {"result": RESULTS, "algorithm": ALGORITHMS}),
    "unsigned_messages_total": (
        "counter",
        {
            "reason": "not_trusted no_rule no_from multiple_from invalid_from bare_cr_or_lf line_too_long"
            " eight_bit hidden_header_name header_too_large key_missing signing_error signing_off"
            " overloaded closing internal_error"
        },
    ),
    "message_duration_seconds": ("histogram", {"action": "sign verify pass error"}),
    "dns_cache_total": ("counter", {"result": "hit negative_hit miss"}),
    "errors_total": ("counter", {"stage": "connect envelope header body end_of_message reply processes"}),
    "log_lines_lost_total": ("counter", {}),
    "sessions": ("gauge", {}),
    "config_last_reload_success": ("gauge", {}),
    "config_last_reload_timestamp_seconds": ("gauge", {}),
    "worker_restarts_total": ("counter", {}),
    "exporter_up": ("gauge", {"exporter": ""}),
    "exporter_failures_total": ("counter", {"exporter": ""}),
    "exporter_lost_total": ("counter", {"exporter": ""}),
}
DOTTED = {
    "messages_total": ("phoenixdkim.messages", {}),
    "signatures_total": (
        "phoenixdkim.signatures.ok.rsa-sha256",
        {"result": "ok", "algorithm": "rsa-sha256"},
    ),
    "verifications_total": ("phoenixdkim.verifications.pass", {"result": "pass"}),
    "dnssec_keys_total": ("phoenixdkim.dnssec.secure", {"status": "secure"}),
    "dns_queries_total": ("phoenixdkim.dns.queries", {}),
    "dns_responses_total": ("phoenixdkim.dns.responses.timeout", {"result": "timeout"}),
    "dns_duration_seconds": ("phoenixdkim.dns.duration", {}),
}
SPECS = {spec.name.removeprefix("phoenixdkim_"): spec for spec in CATALOGUE}


def test_there_are_these_metrics_and_no_others() -> None:
    assert SPECS.keys() == CONTRACT.keys()
    assert len(SPECS) == len(CATALOGUE)


@pytest.mark.parametrize("name", CONTRACT)
def test_kind_labels_and_values(name: str) -> None:
    kind, labels = CONTRACT[name]
    spec = SPECS[name]
    assert spec.kind == kind
    shown = {label: " ".join(values or ()) for label, values in label_values(spec).items()}
    assert {label: sorted(values.split()) for label, values in shown.items()} == {
        label: sorted(values.split()) for label, values in labels.items()
    }
    assert spec.help.endswith(".")
    assert spec.detail.endswith(".")


def test_buckets_of_dns_durations() -> None:
    assert SPECS["dns_duration_seconds"].buckets == DNS_BOUNDS


@pytest.mark.parametrize("name", DOTTED)
def test_dotted_names(name: str) -> None:
    dotted, labels = DOTTED[name]
    assert f"phoenixdkim.{SPECS[name].dotted_name(labels)}" == dotted
