"""StatsD lines on real sockets: names, packing, and what can't be sent (X6, X10)."""

import socket
import time

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
    begun = time.monotonic()
    for _ in range(200):
        context.happened(DnsQuery(), 2)
        context.deliver(exporter)
    assert time.monotonic() - begun < 2
    assert context.lost_events > 0
    assert sum("refused" in text for _, text in context.lines) <= 2


def test_a_name_that_does_not_resolve_costs_no_time_and_is_counted(monkeypatch, started):
    def slow(*_arguments, **_more):
        time.sleep(1.0)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    exporter, context = started(address="statsd.example:8125")
    begun = time.monotonic()
    context.happened(DnsQuery(), 4)
    context.deliver(exporter)
    assert time.monotonic() - begun < 0.3
    assert context.lost_events == 4
    assert context.delivered_events == 1, "what is lost is settled"


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
