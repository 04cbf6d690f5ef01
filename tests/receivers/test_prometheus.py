"""Prometheus and VictoriaMetrics scrape the port, promtool and strict parsers read it: all numbers are the ledger's."""

from __future__ import annotations

import gzip
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from daemon.house import House
from receivers.programs import Program, eventually, fetch, fetch_json, free_port
from receivers.truth import answered, ledger, mixed_mail, parsed, scrape, series

MESSAGES = series("phoenixdkim_messages_total")


@pytest.fixture(scope="module")
def house(key):
    port = free_port()
    with House(key, exporters=f'[exporters.http]\nlisten = ["127.0.0.1:{port}", "[::1]:{port}"]\n') as made:
        made.port = port
        eventually("the port is served", lambda: fetch(f"http://127.0.0.1:{port}/metrics"))
        yield made


def scrape_config(port, **more):
    lines = [
        "global:",
        "  scrape_interval: 1s",
        "  scrape_timeout: 1s",
        "scrape_configs:",
        "- job_name: phoenixdkim",
        *(f"  {name}: {value}" for name, value in more.items()),
        f"  static_configs: [{{targets: ['127.0.0.1:{port}']}}]",
    ]
    return "\n".join(lines) + "\n"


def prometheus(port):
    web = free_port()
    made = Program(
        [
            "prometheus",
            "--config.file={home}/prometheus.yml",
            "--storage.tsdb.path={home}/data",
            f"--web.listen-address=127.0.0.1:{web}",
            "--log.level=warn",
        ],
        lambda _: fetch(f"http://127.0.0.1:{web}/-/ready"),
        {"prometheus.yml": scrape_config(port)},
    )
    made.api = f"http://127.0.0.1:{web}/api/v1"
    return made


def victoria_metrics(port):
    web = free_port()
    made = Program(
        [
            "victoria-metrics",
            "-promscrape.config={home}/scrape.yml",
            "-storageDataPath={home}/data",
            f"-httpListenAddr=127.0.0.1:{web}",
            "-search.latencyOffset=0s",
            "-loggerLevel=WARN",
        ],
        lambda _: fetch(f"http://127.0.0.1:{web}/health"),
        {"scrape.yml": scrape_config(port)},
    )
    made.api = f"http://127.0.0.1:{web}/api/v1"
    return made


@pytest.mark.parametrize("reader", [prometheus, victoria_metrics])
def test_a_scraper_has_every_number_of_the_ledger(house, reader):
    with reader(house.port) as program:

        def query():
            answer = fetch_json(f"{program.api}/query", query='{__name__=~"phoenixdkim_.*"}')
            return answered(answer["data"]["result"], "instance", "job") if answer else {}

        eventually("a first scrape", query)
        mixed_mail(house)
        truth = ledger(house)
        found = eventually("the numbers of now", lambda: (v := query()).get(MESSAGES) == truth[MESSAGES] and v)
        assert {name: found.get(name) for name in truth} == pytest.approx(truth, rel=1e-13, abs=0)
        beside = {name for name, _ in found} - {name for name, _ in truth}
        assert all(name.startswith("phoenixdkim_exporter_") for name in beside)
        assert found[series("phoenixdkim_exporter_up", exporter="http")] == 1
        targets = fetch_json(f"{program.api}/targets")["data"]["activeTargets"]
        assert [(target["health"], target["lastError"]) for target in targets] == [("up", "")]


def target_healths(program):
    """Of each target: "unknown" until it was scraped, then "up" or "down"."""
    told = fetch_json(f"{program.api}/targets") or {"data": {"activeTargets": []}}
    return [target["health"] for target in told["data"]["activeTargets"]]


def test_prometheus_asks_for_openmetrics_and_gets_the_types_and_help_texts(house):
    with prometheus(house.port) as program:
        # Prometheus notes metadata family by family while it reads, and the target as up when it has read all.
        eventually("a whole scrape", lambda: (healths := target_healths(program)) and set(healths) == {"up"})
        found = fetch_json(f"{program.api}/targets/metadata")["data"]
        types = {entry["metric"]: entry["type"] for entry in found}
        # OpenMetrics names a counter's family without _total: that is what Prometheus asked for.
        assert types["phoenixdkim_messages"] == "counter"
        assert types["phoenixdkim_dns_duration_seconds"] == "histogram"
        units = {entry["metric"]: entry["unit"] for entry in found}
        assert units["phoenixdkim_dns_duration_seconds"] == "seconds"
        assert all(entry["help"] for entry in found)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_formats_are_clean_and_tell_the_same_over_both_addresses(house, host):
    mixed_mail(house, 1)
    truth = ledger(house)
    text = scrape(house.port, host=host)
    openmetrics = scrape(house.port, headers="Accept: application/openmetrics-text\r\n", host=host)
    zipped = scrape(house.port, headers="Accept-Encoding: gzip\r\n", host=host)
    assert gzip.decompress(zipped) == text
    for body, parse in ((text, parse_text), (openmetrics, parse_openmetrics)):
        found = parsed(parse(body.decode()))
        assert {name: found.get(name) for name in truth} == truth
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    # promtool reads the text format alone. OpenMetrics is that with counters' families named without _total, so it
    # misses the counters' help texts, and must miss nothing else.
    counters = {f"{f.name}_total no help text" for f in parse_openmetrics(openmetrics.decode()) if f.type == "counter"}
    done = subprocess.run(["promtool", "check", "metrics"], input=openmetrics, capture_output=True, text=False)
    assert set(done.stderr.decode().splitlines()) == counters
