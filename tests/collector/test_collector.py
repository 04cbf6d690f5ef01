"""A Collector that scrapes, and one that takes StatsD, tell what the ledger has: every series of it."""

from __future__ import annotations

import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from daemon.traffic import BusyHouse
from daemon.truth import truth
from interop.peers import KeyPair
from phoenixdkim.metrics import CATALOGUE, PREFIX, HistogramSample, Kind, MetricSpec, Sample, Snapshot
from phoenixdkim_statsd.lines import Tags, line
from receivers.otelcol import Collector, Labels, OtlpReceiver, Point
from receivers.programs import PATIENCE, eventually, free_port

OWN = f"{PREFIX}exporter_"
"""Start of the names of what exporters count of themselves, which goes on while nothing else does."""


@pytest.fixture
def otlp() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that the exporter's user can enter; pytest closes the way to its own."""
    with tempfile.TemporaryDirectory(prefix="pdkim-collector-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def core(snapshot: Snapshot) -> Iterator[tuple[MetricSpec, Sample | HistogramSample]]:
    """Each series of the catalogue."""
    for family in snapshot.families:
        if not family.spec.name.startswith((f"{OWN}http", f"{OWN}statsd")):
            for sample in family.samples:
                yield family.spec, sample


def scraped(snapshot: Snapshot) -> dict[tuple[str, Labels], Point]:
    """What a scraping Collector must have."""
    expected = {}
    for spec, sample in core(snapshot):
        key = (spec.name, tuple(sorted(sample.labels)))
        if isinstance(sample, HistogramSample):
            expected[key] = Point(
                "histogram",
                count=sample.count,
                total=sample.sum_ns / 1e9,
                bounds=spec.buckets,
                counts=sample.counts,
                cumulative=True,
            )
        elif spec.kind is Kind.COUNTER:
            expected[key] = Point("sum", sample.value, monotonic=True, cumulative=True)
        else:
            expected[key] = Point("gauge", sample.value)
    return expected


def missing(expected: dict[tuple[str, Labels], Point], found: dict[tuple[str, Labels], Point]) -> str:
    """What differs, a line each; sums of durations may differ in the last digits that a double has."""
    lines = []
    for key, point in expected.items():
        got = found.get(key)
        if (
            got is None
            or got != Point(**{**vars(point), "total": got.total})
            or got.total != pytest.approx(point.total)
        ):
            lines.append(f"{key}: {got} is not {point}")
    return "\n".join(lines)


def wait_for(expected: Callable[[], dict[tuple[str, Labels], Point]], otlp: OtlpReceiver) -> None:
    """Wait until a receiver has all that is expected."""
    deadline = time.monotonic() + PATIENCE
    while (difference := missing(expected(), otlp.points())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert difference == ""


def test_a_scraping_collector_has_every_series(key: KeyPair, otlp: OtlpReceiver) -> None:
    port = free_port()
    with (
        BusyHouse(key, f'[exporters.http]\nlisten = "127.0.0.1:{port}"\n') as house,
        Collector(
            "prometheus.yaml",
            {"PHOENIXDKIM_HTTP": f"127.0.0.1:{port}", "OTLP_ENDPOINT": otlp.url},
            {"receivers::prometheus::config::global::scrape_interval": "500ms"},
        ),
    ):
        # All series are there before the first message.
        wait_for(lambda: scraped(truth(house.pid)), otlp)
        messages = sum(house.round() for _ in range(3))
        expected = scraped(house.settled())
        assert expected["phoenixdkim_messages_total", ()].value == messages
        wait_for(lambda: expected, otlp)
    names = {name for name, _ in otlp.points() if name.startswith(PREFIX)}
    assert {name for name in names if not name.startswith(f"{OWN}http")} == {name for name, _ in expected}
    # A label more, or a value that we do not know, would be a series more.
    assert {key for key in otlp.points() if key[0] in {name for name, _ in expected}} == set(expected)
    assert not otlp.fallen
    assert {dict(resource)["service.instance.id"] for resource in otlp.resources} == {f"127.0.0.1:{port}"}


def sent(snapshot: Snapshot, tagged: bool) -> dict[tuple[str, Labels], Point]:
    """What a Collector that takes StatsD must have: counters that are not zero, timers, gauges."""
    expected = {}
    for spec, sample in core(snapshot):
        if not spec.dotted:
            continue
        labels = dict(sample.labels)
        if tagged:
            dotted = spec.dotted_name(dict.fromkeys(labels, "")).rstrip(".")
            key = ("phoenixdkim." + ".".join(filter(None, dotted.split("."))), tuple(sorted(sample.labels)))
        else:
            key = ("phoenixdkim." + spec.dotted_name(labels), ())
        if isinstance(sample, HistogramSample):
            if sample.count:
                expected[key] = Point(
                    "histogram",
                    count=sample.count,
                    total=sample.sum_ns / 1e6,
                    bounds=tuple(bound * 1000 for bound in spec.buckets),
                    counts=sample.counts,
                    cumulative=True,
                )
        elif spec.kind is Kind.GAUGE:
            expected[key] = Point("gauge", sample.value)
        elif sample.value:
            expected[key] = Point("sum", sample.value, monotonic=True, cumulative=True)
    return expected


@pytest.mark.parametrize("tags", ["none", "datadog"])
@pytest.mark.parametrize("transport", ["udp", "unixgram"])
def test_a_collector_that_takes_statsd_has_all_that_happened(
    key: KeyPair, otlp: OtlpReceiver, open_directory: Path, tags: str, transport: str
) -> None:
    port = free_port(socket.SOCK_DGRAM)
    endpoint = f"127.0.0.1:{port}" if transport == "udp" else str(open_directory / "statsd.sock")
    address = endpoint if transport == "udp" else f"unix:{endpoint}"
    with (
        Collector(
            "statsd.yaml",
            {"STATSD_ENDPOINT": endpoint, "STATSD_TRANSPORT": transport, "OTLP_ENDPOINT": otlp.url},
            {"receivers::statsd::aggregation_interval": "1s"},
        ),
        BusyHouse(key, f'[exporters.statsd]\naddress = "{address}"\ntags = "{tags}"\ninterval = 0.2\n') as house,
    ):
        for _ in range(3):
            house.round()
        # A reload that changes the exporter's table: a second process, and so a second port, takes over.
        house.config.write_text(house.text.replace("interval = 0.2", "interval = 0.3"))
        house.signal(signal.SIGHUP)
        house.round()
        house.wait_for("reloaded: ")
        house.round()
        snapshot = house.settled()
        assert snapshot.value("phoenixdkim_exporter_statsd_samples_missing_total") == 0
        expected = sent(snapshot, tags == "datadog")
        wait_for(lambda: expected, otlp)
    assert not otlp.fallen
    strange = {key for key in otlp.points() if not key[0].startswith("phoenixdkim.exporter_")} - set(expected)
    assert not strange


LINES = b"phoenixdkim.messages:1|c\nphoenixdkim.dns.duration:3|ms"


MESSAGES = ("phoenixdkim.messages", ())
DURATION = ("phoenixdkim.dns.duration", ())


@pytest.mark.parametrize(
    ("setting", "value", "what_is_seen"),
    [
        ("enable_ip_only_aggregation", "false", lambda found: found[MESSAGES].value < 50),
        ("is_monotonic_counter", "false", lambda found: not found[MESSAGES].monotonic),
        # The receiver's default, which the file replaces.
        (
            "timer_histogram_mapping",
            "[{statsd_type: timing, observer_type: gauge}]",
            lambda found: found[DURATION].kind == "gauge",
        ),
        ("service::pipelines::metrics::processors", "[]", lambda found: not found[MESSAGES].cumulative),
        # As the file has it.
        (
            "is_monotonic_counter",
            "true",
            lambda found: (
                found[MESSAGES] == Point("sum", 50, monotonic=True, cumulative=True)
                and (found[DURATION].count, found[DURATION].total, found[DURATION].cumulative) == (50, 150, True)
            ),
        ),
    ],
)
def test_each_setting_is_needed(
    otlp: OtlpReceiver, setting: str, value: str, what_is_seen: Callable[[dict[tuple[str, Labels], Point]], bool]
) -> None:
    port = free_port(socket.SOCK_DGRAM)
    name = setting if "::" in setting else f"receivers::statsd::{setting}"
    with (
        Collector(
            "statsd.yaml",
            {"STATSD_ENDPOINT": f"127.0.0.1:{port}", "OTLP_ENDPOINT": otlp.url},
            {"receivers::statsd::aggregation_interval": "2s", name: value},
        ),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last,
    ):
        # As from an exporter that was started anew again and again, each time with another port.
        for _ in range(50):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(LINES, ("127.0.0.1", port))
        eventually("both series", lambda: {MESSAGES, DURATION} <= otlp.points().keys())
        # When this has come, in the next interval, all from before has.
        last.sendto(b"phoenixdkim.sessions:1|g", ("127.0.0.1", port))
        eventually("the last line", lambda: ("phoenixdkim.sessions", ()) in otlp.points())
    assert what_is_seen(otlp.points()), otlp.points()


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_quiet_series_is_not_forgotten() -> None:
    def one_message(port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"phoenixdkim.messages:1|c", ("127.0.0.1", port))

    with ExitStack() as stack:
        collectors: dict[str, tuple[OtlpReceiver, int]] = {}
        for max_stale in ("1s", "720h"):
            receiver = stack.enter_context(OtlpReceiver())
            port = free_port(socket.SOCK_DGRAM)
            stack.enter_context(
                Collector(
                    "statsd.yaml",
                    {"STATSD_ENDPOINT": f"127.0.0.1:{port}", "OTLP_ENDPOINT": receiver.url},
                    {
                        "receivers::statsd::aggregation_interval": "1s",
                        "processors::delta_to_cumulative::max_stale": max_stale,
                    },
                )
            )
            collectors[max_stale] = receiver, port
            one_message(port)
            eventually("the first", lambda receiver=receiver: MESSAGES in receiver.points())
        # The processor looks for stale series once a minute.
        time.sleep(70)
        for receiver, port in collectors.values():
            times = receiver.taken
            one_message(port)
            eventually("the second", lambda receiver=receiver, times=times: receiver.taken > times)
    assert [receiver.points()[MESSAGES].value for receiver, _ in collectors.values()] == [1, 2]


def test_tags_of_the_other_dialects_are_parts_of_the_name(otlp: OtlpReceiver) -> None:
    port = free_port(socket.SOCK_DGRAM)
    spec = next(spec for spec in CATALOGUE if spec.name == "phoenixdkim_verifications_total")
    dialects = {
        Tags.INFLUX: "phoenixdkim.verifications,result=pass",
        Tags.GRAPHITE: "phoenixdkim.verifications;result=pass",
    }
    with Collector(
        "statsd.yaml",
        {"STATSD_ENDPOINT": f"127.0.0.1:{port}", "OTLP_ENDPOINT": otlp.url},
        {"receivers::statsd::aggregation_interval": "1s"},
    ):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for dialect in dialects:
                text = line("phoenixdkim", dialect, spec, {"result": "pass"}, "1", "c")
                sender.sendto(text, ("127.0.0.1", port))
        names = {(name, ()) for name in dialects.values()}
        eventually("one name for each", lambda: otlp.points().keys() == names)
