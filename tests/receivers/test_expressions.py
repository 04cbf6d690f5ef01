"""Each expression of rules, dashboard and documentation has data in a Prometheus that has scraped a busy daemon."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from daemon.traffic import BusyHouse
from interop.peers import KeyPair
from receivers.expressions import RULES, blocks, names, of_the_dashboard, of_the_pages, without_thresholds
from receivers.programs import eventually, free_port
from receivers.prometheus_server import Prometheus

EXPORTERS = """\
[exporters.http]
listen = "127.0.0.1:{port}"
[exporters.textfile]
path = "{{metrics}}/phoenixdkim.prom"
interval = 1
[exporters.statsd]
address = "unix:{{base}}/nobody-listens"
interval = 1
"""


@pytest.fixture(scope="module")
def prometheus(key: KeyPair) -> Iterator[Prometheus]:
    port = free_port()
    with (
        BusyHouse(key, EXPORTERS.format(port=port)) as house,
        Prometheus([f"127.0.0.1:{port}"], [RULES]) as server,
    ):

        def seen() -> bool:
            house.round()
            return server.query("count_over_time(instance:phoenixdkim_messages:rate5m[5m]) >= 5") != []

        eventually("five evaluations of the rules", seen)
        yield server


def demand_data(server: Prometheus, where: str, expression: str) -> None:
    unknown = names(expression) - server.names()
    assert not unknown, f"{where}: no such metric: {', '.join(sorted(unknown))}"
    found = server.query(without_thresholds(expression))
    assert any(not math.isnan(value) for _, value in found), f"{where}: no data: {expression}\n{found}"


def test_each_rule_has_data(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 20
    for rule in rules:
        assert rule["health"] == "ok", rule
        demand_data(prometheus, rule["name"], rule["query"])
        if rule["type"] == "recording":
            demand_data(prometheus, rule["name"], rule["name"])


def test_each_query_of_the_dashboard_has_data(prometheus: Prometheus) -> None:
    for title, expression in of_the_dashboard():
        demand_data(prometheus, title, expression)


def test_each_query_of_the_documentation_has_data(prometheus: Prometheus) -> None:
    found = list(of_the_pages())
    assert len(found) > 10
    for page, expression in found:
        demand_data(prometheus, page, expression)


def test_what_adds_up_adds_up(prometheus: Prometheus) -> None:
    identities = blocks("docs/metrics.md", "What adds up")
    assert len(identities) >= 5
    for query in identities:
        values = [value for _, value in prometheus.query(query)]
        assert values == [0.0], query


@pytest.mark.parametrize(
    "expression",
    [
        "rate(phoenixdkim_mesages_total[5m])",
        'phoenixdkim_verifications_total{result="passed"}',
        "sum(phoenixdkim_messages_total) by (job) and phoenixdkim_sessions",
        "sum(instance:phoenixdkim_message:rate5m)",
    ],
)
def test_an_expression_without_data_is_found(prometheus: Prometheus, expression: str) -> None:
    with pytest.raises(AssertionError, match=r"no such metric|no data"):
        demand_data(prometheus, "here", expression)
