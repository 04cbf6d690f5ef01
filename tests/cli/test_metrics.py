"""``metrics``: the catalogue and its bound."""

from __future__ import annotations

import json

import pytest

from phoenixdkim.cli import main
from phoenixdkim.metrics import CATALOGUE


def test_text_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics"]) == 0
    out = capsys.readouterr().out
    for spec in CATALOGUE:
        assert f"\n{spec.name}  {spec.kind}, " in f"\n{out}"
        if spec.dotted:
            assert f"dotted: {spec.dotted}\n" in out
    assert "result: ok error" in out
    assert "buckets: 0.001 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 +Inf" in out


def test_json_and_the_number_of_series(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    by_name = {metric["name"]: metric for metric in told["metrics"]}
    assert by_name["phoenixdkim_signatures_total"]["labels"] == {
        "result": ["ok", "error"],
        "algorithm": ["rsa-sha256", "ed25519-sha256", "rsa-sha1", "other"],
    }
    assert by_name["phoenixdkim_build_info"]["labels"] == {"version": None}
    assert by_name["phoenixdkim_dns_duration_seconds"]["samples"] == 15
    # The eight metrics of the C project: 26 series of one sample and a histogram of 15.
    eight = ("build_info", "messages_total", "signatures_total", "verifications_total", "dns_queries_total")
    eight += ("dns_responses_total", "dns_duration_seconds", "dnssec_keys_total")
    assert sum(by_name[f"phoenixdkim_{name}"]["samples"] for name in eight) == 41
    assert told["series"] == sum(metric["series"] for metric in told["metrics"])
    # Pinned: a change here changes what every collector must hold.
    assert told["series"] == 93
