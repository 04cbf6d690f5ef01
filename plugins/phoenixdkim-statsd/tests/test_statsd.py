"""StatsD lines on real sockets: names, packing, and what can't be sent (X6, X10)."""

import socket
import threading
import time
from enum import StrEnum

import pytest
from pydantic import ValidationError

from phoenixdkim.dkim.results import Algorithm, DnssecStatus, Result, SignResult
from phoenixdkim.events import (
    Action,
    DnsQuery,
    DnsResponse,
    DnsResult,
    DnssecKey,
    MessageProcessed,
    MessageSigned,
    MessageVerified,
    event_types,
)
from phoenixdkim.metrics import Kind, MetricSpec
from phoenixdkim.testing.exporter import FakeContext
from phoenixdkim_statsd.lines import Tags
from phoenixdkim_statsd.statsd import PACKETS, SAMPLES_MISSING, StatsdExporter, StatsdOptions


@pytest.fixture
def server():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        made.bind(("127.0.0.1", 0))
        made.settimeout(5)
        yield made


def address(server):
    return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def started():
    made = []

    def start(**options):
        context = FakeContext(StatsdOptions(**options), declared=[SAMPLES_MISSING, PACKETS])
        exporter = StatsdExporter()
        exporter.phoenixdkim_start(context)
        made.append(exporter)
        return exporter, context

    yield start
    for exporter in made:
        exporter.phoenixdkim_stop()


def received(server):
    packets = [server.recv(65536)]
    server.setblocking(False)
    try:
        while True:
            packets.append(server.recv(65536))
    except BlockingIOError:
        server.settimeout(5)
        return packets


def counted(packets, kinds=("c", "ms")):
    lines = [line for packet in packets for line in packet.decode().split("\n")]
    # The exporter's own counters are sent too; they are not what these tests count.
    return [line for line in lines if line.split("|")[1] in kinds and "exporter_statsd" not in line]


def test_dotted_names_are_those_of_the_catalogue(server, started):
    exporter, context = started(address=address(server))
    context.happened(MessageProcessed(Action.SIGN), 3, [0.0015, 0.002, 0.25])
    context.happened(MessageSigned(SignResult.OK, Algorithm.RSA_SHA256), 17)
    context.happened(MessageVerified(Result.PASS), 2)
    context.happened(DnssecKey(DnssecStatus.SECURE))
    context.happened(DnsQuery())
    context.happened(DnsResponse(DnsResult.SUCCESS), 1, [0.0003500])
    context.deliver(exporter)
    assert counted(received(server)) == [
        "phoenixdkim.messages:3|c",
        "phoenixdkim.message.duration.sign:1.5|ms",
        "phoenixdkim.message.duration.sign:2|ms",
        "phoenixdkim.message.duration.sign:250|ms",
        "phoenixdkim.signatures.ok.rsa-sha256:17|c",
        "phoenixdkim.verifications.pass:2|c",
        "phoenixdkim.dnssec.secure:1|c",
        "phoenixdkim.dns.queries:1|c",
        "phoenixdkim.dns.responses.success:1|c",
        "phoenixdkim.dns.duration:0.35|ms",
    ]
    assert (context.delivered_events, context.lost_events) == (6, 0)


def test_nothing_happened_sends_gauges_and_no_counter(server, started):
    exporter, context = started(address=address(server))
    context.deliver(exporter)
    packets = received(server)
    assert counted(packets) == []
    assert "phoenixdkim.sessions:1|g" in counted(packets, ("g",))
    assert not any("build_info" in line for line in counted(packets, ("g",)))


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        (Tags.DATADOG, "p.signatures:1|c|#result:ok,algorithm:rsa-sha256"),
        (Tags.INFLUX, "p.signatures,result=ok,algorithm=rsa-sha256:1|c"),
        (Tags.GRAPHITE, "p.signatures;result=ok;algorithm=rsa-sha256:1|c"),
    ],
)
def test_tag_dialects(server, tags, text, started):
    exporter, context = started(address=address(server), tags=tags.value, prefix="p")
    context.happened(MessageSigned(SignResult.OK, Algorithm.RSA_SHA256))
    context.deliver(exporter)
    assert counted(received(server)) == [text]


def test_packets_keep_their_size_and_lines_stay_whole(server, started):
    exporter, context = started(address=address(server), packet_size=256)
    for kind in event_types():
        for event in kind.combinations():
            context.happened(event, 5, [0.001] * 5 if event.measure else [])
    context.deliver(exporter)
    time.sleep(0.2)
    packets = received(server)
    assert max(map(len, packets)) <= 256
    assert len(packets) > 10
    for line in counted(packets, ("c", "ms", "g")):
        assert line.startswith("phoenixdkim.")
        assert float(line.rpartition(":")[2].split("|")[0]) >= 0
    assert context.own[PACKETS.name, ()] == len(packets)


def test_samples_that_are_missing_are_told(server, started):
    exporter, context = started(address=address(server))
    context.happened(DnsResponse(DnsResult.SUCCESS), 10, [0.001] * 4)
    context.deliver(exporter)
    assert context.own[SAMPLES_MISSING.name, ()] == 6
    assert len(counted(received(server), ("ms",))) == 4


def test_ipv6(started):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind(("::1", 0))
        server.settimeout(5)
        exporter, context = started(address=f"[::1]:{server.getsockname()[1]}")
        context.happened(DnsQuery())
        context.deliver(exporter)
        assert counted(received(server)) == ["phoenixdkim.dns.queries:1|c"]


def test_unix_socket_and_a_server_that_is_started_anew(tmp_path, started):
    path = str(tmp_path / "s")
    exporter, context = started(address=f"unix:{path}")
    context.happened(DnsQuery(), 3)
    context.deliver(exporter)
    assert context.lost_events == 3
    for _ in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            server.settimeout(5)
            before = context.lost_events
            for _ in range(3):
                context.happened(DnsQuery())
                context.deliver(exporter)
            lines = counted(received(server))
            assert len(lines) + context.lost_events - before == 3
            assert lines, "the new server is found again"
        (tmp_path / "s").unlink()


def test_a_server_that_is_gone_costs_no_time_and_is_counted(started):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    exporter, context = started(address=f"127.0.0.1:{port}")
    begun = time.process_time()
    for _ in range(200):
        context.happened(DnsQuery(), 2)
        context.deliver(exporter)
    assert time.process_time() - begun < 2
    exporter.phoenixdkim_stop()
    assert context.lost_events == 400
    assert sum("refused" in text for _, text in context.lines) == 1


def test_a_server_that_comes_and_goes_gets_what_is_not_lost(started):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    exporter, context = started(address=f"127.0.0.1:{port}")
    got = []
    sent = 0
    for _ in range(10):
        for count in (3, 1, 50):
            context.happened(DnsQuery(), count)
            context.deliver(exporter)
            sent += count
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", port))
            server.settimeout(5)
            for count in (5, 7):
                context.happened(DnsQuery(), count)
                context.deliver(exporter)
                sent += count
            got += received(server)
    exporter.phoenixdkim_stop()
    lines = counted(got)
    assert set(lines) == {"phoenixdkim.dns.queries:5|c", "phoenixdkim.dns.queries:7|c"}
    counts = sum(int(line.rpartition(":")[2].split("|")[0]) for line in lines)
    assert (counts, counts + context.lost_events) == (120, sent)


def test_counters_of_no_event_are_told_again_when_they_did_not_leave(tmp_path, started):
    path = str(tmp_path / "s")
    exporter, context = started(address=f"unix:{path}")
    context.happened(DnsResponse(DnsResult.SUCCESS), 5)
    context.deliver(exporter)
    assert context.own[SAMPLES_MISSING.name, ()] == 5
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(5)
        for _ in range(3):
            context.deliver(exporter)
        lines = [line for packet in received(server) for line in packet.decode().split("\n")]
    assert [line for line in lines if "samples_missing" in line] == ["phoenixdkim.exporter_statsd_samples_missing:5|c"]


def test_a_successor_does_not_tell_its_predecessors_counters_again(server, started):
    exporter, context = started(address=address(server))
    context.happened(DnsResponse(DnsResult.SUCCESS), 5)
    context.deliver(exporter)
    context.deliver(exporter)
    successor = StatsdExporter()
    successor.phoenixdkim_start(context)
    context.deliver(successor)
    context.happened(DnsResponse(DnsResult.SUCCESS), 2)
    context.deliver(successor)
    successor.phoenixdkim_stop()
    lines = [line for packet in received(server) for line in packet.decode().split("\n")]
    missing = [line for line in lines if "samples_missing" in line]
    assert missing == [
        "phoenixdkim.exporter_statsd_samples_missing:5|c",
        "phoenixdkim.exporter_statsd_samples_missing:2|c",
    ]


def test_a_line_that_fits_into_no_packet_is_lost_and_told_once(server, started):
    class Long(StrEnum):
        A = "a" * 64
        B = "b" * 64

    spec = MetricSpec(f"phoenixdkim_exporter_{'x' * 70}_total", Kind.COUNTER, "Long.", {"one": Long, "two": Long})
    context = FakeContext(
        StatsdOptions(address=address(server), packet_size=256, prefix="p" * 100),
        declared=[SAMPLES_MISSING, PACKETS, spec],
    )
    exporter = StatsdExporter()
    exporter.phoenixdkim_start(context)
    context.add(spec, {"one": Long.A, "two": Long.B})
    for _ in range(3):
        context.deliver(exporter)
    exporter.phoenixdkim_stop()
    assert max(map(len, received(server))) <= 256
    assert ["packet_size = 256" in text for _, text in context.lines] == [True]


def test_a_name_that_does_not_resolve_costs_no_time_and_is_counted(monkeypatch, started):
    answer = threading.Event()

    def slow(*_arguments, **_more):
        answer.wait(100)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    exporter, context = started(address="statsd.example:8125")
    context.happened(DnsQuery(), 4)
    # If it waited for the answer it would do so until the test's own limit.
    context.deliver(exporter)
    assert context.lost_events == 4
    assert context.delivered_events == 1, "what is lost is settled"
    answer.set()


def test_a_full_buffer_is_counted(tmp_path, started):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        exporter, context = started(address=f"unix:{path}", interval=1)
        for _ in range(2000):
            context.happened(DnsQuery())
            context.deliver(exporter)
        assert context.lost_events > 0
        server.setblocking(False)
        total = 0
        try:
            while True:
                total += len(counted([server.recv(65536)]))
        except BlockingIOError:
            pass
        assert total + context.lost_events == 2000


@pytest.mark.parametrize("prefix", ["a:b", "a|c", "a\nb", "a b", ".a", "a.", "ä", "a#b", "a" * 101])
def test_a_prefix_that_could_forge_a_line_is_refused(prefix):
    with pytest.raises(ValidationError):
        StatsdOptions(prefix=prefix)


@pytest.mark.parametrize("text", ["localhost", "::1:8125", "unix:relative", "unix:/" + "x" * 108, "h:99999"])
def test_addresses_that_are_none(text):
    with pytest.raises(ValidationError):
        StatsdOptions(address=text)
