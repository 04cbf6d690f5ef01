"""The metrics port: the protocol, and clients that mean no good (X1 to X5)."""

import gzip
import socket
import struct
import threading
import time
import urllib.request

import pytest
from pydantic import ValidationError

from phoenixdkim.testing.exporter import FakeContext
from phoenixdkim_prometheus.families import OPENMETRICS_TYPE, TEXT_TYPE
from phoenixdkim_prometheus.http import FAILURES, REFUSED, HttpExporter, HttpOptions


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    def __init__(self, **options):
        self.port = free_port()
        options.setdefault("listen", f"127.0.0.1:{self.port}")
        self.context = FakeContext(HttpOptions(**options), declared=[FAILURES, REFUSED])
        self.exporter = HttpExporter()

    def __enter__(self):
        self.exporter.phoenixdkim_start(self.context)
        return self

    def __exit__(self, *_):
        self.exporter.phoenixdkim_stop(time.monotonic() + 5)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def ask(self, request):
        with self.connect() as client:
            client.sendall(request)
            answer = b""
            while data := client.recv(65536):
                answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        return status.split(" ", 2)[1], dict(line.split(": ", 1) for line in lines), body

    def get(self, headers=""):
        return self.ask(f"GET /metrics HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())


@pytest.fixture(scope="module")
def served():
    with Served() as made:
        yield made


def test_get_and_head(served):
    status, headers, body = served.get()
    assert (status, headers["Content-Type"], headers["Connection"]) == ("200", TEXT_TYPE, "close")
    assert headers["Content-Length"] == str(len(body))
    assert b"phoenixdkim_messages_total 0.0\n" in body
    status, again, nothing = served.ask(b"HEAD /metrics HTTP/1.0\r\n\r\n")
    assert (status, nothing, again["Content-Length"]) == ("200", b"", str(len(body)))


def test_formats_by_accept(served):
    _, headers, body = served.get("Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n")
    assert headers["Content-Type"] == OPENMETRICS_TYPE
    assert body.endswith(b"# EOF\n")
    _, headers, _ = served.get("Accept: text/plain, application/openmetrics-text;q=0.1\r\n")
    assert headers["Content-Type"] == TEXT_TYPE
    _, headers, body = served.get("Accept-Encoding: br, gzip;q=0.8\r\n")
    assert headers["Content-Encoding"] == "gzip"
    assert b"phoenixdkim_messages_total" in gzip.decompress(body)
    assert "Content-Encoding" not in served.get("Accept-Encoding: gzip;q=0\r\n")[1]


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET / HTTP/1.1", "404"),
        ("GET /metrics/ HTTP/1.1", "404"),
        ("GET //metrics HTTP/1.1", "404"),
        ("GET /../../etc/passwd HTTP/1.1", "404"),
        ("GET /%6detrics HTTP/1.1", "404"),
        ("GET /metrics?x=1 HTTP/1.1", "200"),
        ("POST /metrics HTTP/1.1", "405"),
        ("DELETE /metrics HTTP/1.1", "405"),
        ("get /metrics HTTP/1.1", "405"),
        ("GET /metrics", "400"),
        ("GET /metrics HTTP/2.0", "505"),
        ("GET  /metrics HTTP/1.1", "400"),
        ("\xff\xfe", "400"),
    ],
)
def test_requests(served, request_line, status):
    found, headers, _ = served.ask(request_line.encode("latin-1") + b"\r\nHost: x\r\n\r\n")
    assert found == status
    if status == "405":
        assert headers["Allow"] == "GET, HEAD"


def test_a_request_without_end_is_refused_at_eight_kilobytes(served):
    status, _, _ = served.ask(b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 20000)
    assert status == "431"


def test_a_request_in_pieces(served):
    with served.connect() as client:
        for octet in b"GET /metrics HTTP/1.1\r\n\r\n":
            client.send(bytes((octet,)))
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_two_hundred_slow_clients_do_not_keep_a_scrape_waiting():
    with Served(timeout=8.0) as served:
        slow = []
        for number in range(200):
            client = served.connect()
            if number % 2:
                client.send(b"GET /met")
            slow.append(client)
        for _ in range(5):
            begun = time.monotonic()
            assert served.get()[0] == "200"
            assert time.monotonic() - begun < 8, "no slow client is waited for"
        deadline = time.monotonic() + 60
        while served.exporter._connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not served.exporter._connections, "each has its time-out"
        assert served.context.own[REFUSED.name, ()] >= 200
        for client in slow:
            client.close()


def test_clients_that_reset_or_never_read_cost_nothing_but_time():
    with Served(timeout=1.0) as served:
        for _ in range(50):
            client = served.connect()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
            client.close()
        silent = [served.connect() for _ in range(20)]
        for client in silent:
            client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert served.get()[0] == "200"
        deadline = time.monotonic() + 5
        while served.exporter._connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not served.exporter._connections
        for client in silent:
            client.close()


def test_scrapes_in_parallel(served):
    answers = []

    def scrape():
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/metrics", timeout=10) as answer:
            answers.append(answer.read())

    threads = [threading.Thread(target=scrape) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    assert len(set(answers)) == 1


def test_a_port_that_is_taken_is_tried_again():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        served = Served(listen=f"127.0.0.1:{port}")
        served.port = port
        served.__enter__()
        served.exporter.phoenixdkim_tick(0.0)
        assert served.context.own[FAILURES.name, ()] == 2
        assert sum("can't be listened on" in text for _, text in served.context.lines) == 1
    served.exporter.phoenixdkim_tick(0.0)
    assert served.get()[0] == "200"
    assert "is listened on now" in served.context.lines[-1][1]
    served.__exit__()


def test_several_addresses():
    port = free_port()
    with Served(listen=[f"127.0.0.1:{port}", f"[::1]:{port}", f"0.0.0.0:{free_port()}"]) as served:
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port), timeout=5) as client:
                client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
                assert client.recv(20).startswith(b"HTTP/1.1 200")
        assert served.context.lines == []


@pytest.mark.parametrize("listen", ["9323", "::1:9323", "127.0.0.1:0", "localhost:9323", [], ["x"]])
def test_addresses_that_are_none(listen):
    with pytest.raises(ValidationError):
        HttpOptions(listen=listen)


def test_other_protocols_and_requests_that_end_early_are_answered_at_once():
    with Served(timeout=60.0) as served:
        for request in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 100, b"\r\n", b"\xff"):
            assert served.ask(request)[0] == "400"
        with served.connect() as client:
            client.sendall(b"GET /metrics")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(20).startswith(b"HTTP/1.1 400")
        with served.connect() as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(20).startswith(b"HTTP/1.1 200"), "half-closed is not gone"


def test_a_scrape_outlives_those_that_stay_long_in_whatever_state():
    with Served(timeout=60.0, max_connections=8) as served:
        mute = [served.connect() for _ in range(8)]
        for client in mute:
            client.send(b"HEAD /metrics HTTP/1.1\r\n\r\n")
        for client in mute:
            assert client.recv(12) == b"HTTP/1.1 200"
        # All places are taken by clients that have their answer and stay: a newcomer is not the one to go.
        with served.connect() as late:
            late.send(b"GET /metrics HT")
            mute += [served.connect() for _ in range(4)]
            assert served.get()[0] == "200"
            late.send(b"TP/1.1\r\n\r\n")
            assert late.recv(20).startswith(b"HTTP/1.1 200")
        for client in mute:
            client.close()


def test_a_rendering_that_fails_is_told_and_the_port_lives_on():
    with Served() as served:
        good, served.exporter._exposition._registry = served.exporter._exposition._registry, None
        assert served.get()[0] == "500"
        served.exporter._exposition._registry = good
        assert served.get()[0] == "200"
        with pytest.raises(AttributeError):
            served.exporter.phoenixdkim_tick(0.0)
        served.exporter.phoenixdkim_tick(0.0)


def test_a_failure_outside_any_connection_is_told_and_the_port_lives_on(monkeypatch):
    with Served(timeout=2.0) as served:
        accept, calls = served.exporter._accept, []

        def fails_once(listener):
            calls.append(listener)
            if len(calls) == 1:
                raise RuntimeError("once")
            accept(listener)

        monkeypatch.setattr(served.exporter, "_accept", fails_once)
        assert served.get()[0] == "200"
        with pytest.raises(RuntimeError, match="once"):
            served.exporter.phoenixdkim_tick(0.0)


def test_the_address_that_is_none_is_named_by_its_place():
    with pytest.raises(ValidationError) as raised:
        HttpOptions(listen=["127.0.0.1:9323", "localhost:9323"])
    assert [entry["loc"] for entry in raised.value.errors()] == [("listen", 1)]
    assert HttpOptions(listen="[::1]:9323").listen == ("[::1]:9323",)
