"""Clients that mean no good at the metrics port (X1 to X5): scrapes stay within their time-out, and mail goes on."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from daemon.house import House, Load
from receivers.programs import Program, eventually, fetch, fetch_json, free_port
from receivers.truth import parsed, scrape, series

SCRAPE_TIMEOUT = 10.0
"""What Prometheus gives a scrape by default, in seconds."""
REFUSED = series("phoenixdkim_exporter_http_refused_total")
FULL = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class Attack(threading.Thread):
    """Holds ``clients`` connections, each made by ``one``, and makes each anew when it has ended."""

    def __init__(self, port, clients, one):
        super().__init__(daemon=True)
        self._port, self._clients, self._one = port, clients, one
        self._ending = False
        self.rounds = 0

    def run(self):
        while not self._ending:
            with contextlib.ExitStack() as held:
                for _ in range(self._clients):
                    if self._ending:
                        return
                    try:
                        client = held.enter_context(socket.create_connection(("127.0.0.1", self._port), timeout=2))
                        client.settimeout(0.05)
                        self._one(client)
                    except OSError:
                        # Refused or reset: that is the answer it was after.
                        continue
                self.rounds += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        self.join()


def silent(client):
    """Connects and says nothing."""


def slow(client):
    client.send(b"G")


def megabyte_line(client):
    client.sendall(b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n\r\n")


def ten_thousand_lines(client):
    client.sendall(b"GET /metrics HTTP/1.1\r\n" + b"X-Y: z\r\n" * 10000 + b"\r\n")


def nul(client):
    client.sendall(b"GET /metrics\0 HTTP/1.1\r\nA: \0\r\n\r\n")
    client.recv(100)


def tls_hello(client):
    client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2)
    client.recv(100)


def pipelined(client):
    client.sendall(FULL * 500)


def expecting(client):
    client.sendall(b"POST /metrics HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
    client.recv(100)


def resetting(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sendall(FULL)
    client.recv(1)
    client.close()


def zero_window(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    client.sendall(FULL)


def half_closed(client):
    client.sendall(FULL[:-2])
    client.shutdown(socket.SHUT_WR)


ATTACKS = [
    silent,
    slow,
    megabyte_line,
    ten_thousand_lines,
    nul,
    tls_hello,
    pipelined,
    expecting,
    resetting,
    zero_window,
    half_closed,
]


@pytest.fixture(scope="module")
def house(key):
    port = free_port()
    with House(key, exporters=f'[exporters.http]\nlisten = "127.0.0.1:{port}"\n') as made:
        made.port = port
        eventually("the port is served", lambda: fetch(f"http://127.0.0.1:{port}/metrics"))
        (made.exporter,) = (pid for pid, line in made.descendants().items() if "exporters.process" in line)
        yield made


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("one", ATTACKS, ids=[attack.__name__ for attack in ATTACKS])
def test_scrapes_and_mail_go_on(house, one):
    before = descriptors(house.exporter)
    slowest = 0.0
    with Attack(house.port, 200, one) as attack, Load(house, 2, messages=60) as load:
        eventually("the attack is on", lambda: attack.rounds)
        for _ in range(5):
            begun = time.monotonic()
            assert b"phoenixdkim_messages_total" in scrape(house.port)
            slowest = max(slowest, time.monotonic() - begun)
            assert descriptors(house.exporter) <= before + 65, "connections are limited"
        load.join()
    assert (load.good, load.bad) == (60, [])
    print(f"{one.__name__}: slowest of five scrapes {slowest:.3f} s")
    assert slowest < SCRAPE_TIMEOUT
    eventually("all connections let go", lambda: descriptors(house.exporter) <= before)
    (still,) = (pid for pid, line in house.descendants().items() if "exporters.process" in line)
    assert still == house.exporter, "it did not have to be replaced"
    found = parsed(parse(scrape(house.port).decode()))
    assert found[series("phoenixdkim_exporter_failures_total", exporter="http")] == 0


@pytest.mark.parametrize("one", [silent, slow, zero_window], ids=["silent", "slow", "zero_window"])
def test_a_connection_that_stays_is_ended_by_the_port(house, one):
    before = descriptors(house.exporter)
    with socket.create_connection(("127.0.0.1", house.port), timeout=60) as client:
        one(client)
        eventually("it is there", lambda: descriptors(house.exporter) > before)
        eventually("it is ended", lambda: descriptors(house.exporter) <= before)


def test_a_real_prometheus_does_not_notice_two_hundred_slow_clients(house):
    web = free_port()
    # Stricter than the default of 10 s.
    config = (
        "global: {scrape_interval: 3s, scrape_timeout: 3s}\n"
        f"scrape_configs: [{{job_name: p, static_configs: [{{targets: ['127.0.0.1:{house.port}']}}]}}]\n"
    )
    program = Program(
        [
            "prometheus",
            "--config.file={home}/prometheus.yml",
            "--storage.tsdb.path={home}/data",
            f"--web.listen-address=127.0.0.1:{web}",
            "--log.level=warn",
        ],
        lambda _: fetch(f"http://127.0.0.1:{web}/-/ready"),
        {"prometheus.yml": config},
    )
    with Attack(house.port, 200, slow) as attack, program:

        def query(text):
            answer = fetch_json(f"http://127.0.0.1:{web}/api/v1/query", query=text)
            return [float(entry["value"][1]) for entry in answer["data"]["result"]] if answer else []

        eventually("three scrapes under attack", lambda: query("count_over_time(up[5m])")[:1] > [2.0] and attack.rounds)
        assert query("min_over_time(up[5m])") == [1.0]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/../../etc/passwd", b"404"),
        (b"/metrics/", b"404"),
        (b"//metrics", b"404"),
        (b"/%6detrics", b"404"),
        (b"/metrics/../../../etc/phoenixdkim.toml", b"404"),
        (b"http://x/metrics", b"404"),
        (b"/metrics?x=y", b"200"),
    ],
)
def test_no_path_leads_anywhere_else(house, target, status):
    with socket.create_connection(("127.0.0.1", house.port), timeout=10) as client:
        client.sendall(b"GET " + target + b" HTTP/1.1\r\n\r\n")
        assert client.recv(12)[-3:] == status


def taken(port):
    other = socket.socket()
    other.bind(("127.0.0.1", port))
    other.listen()
    return f"127.0.0.1:{port}", other.close


def absent(port):
    return f"192.0.2.1:{port}", lambda: None


def privileged(port):
    # The exporter's user is nobody: what root alone may do fails.
    assert Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip() == "1024", (
        "here anyone may have any port"
    )
    return "127.0.0.1:81", lambda: None


def without_ipv6(port):
    return f"[2001:db8::1]:{port}", lambda: None


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (taken, "Address already in use"),
        (absent, "Cannot assign requested address"),
        (privileged, "Permission denied"),
        (without_ipv6, "Cannot assign requested address"),
    ],
    ids=["taken", "absent", "privileged", "without_ipv6"],
)
def test_an_address_that_cant_be_had_never_keeps_mail_from_starting(key, world, reason):
    port, good = free_port(), free_port()
    address, release = world(port)
    table = f'[exporters.http]\nlisten = ["{address}", "127.0.0.1:{good}"]\ninterval = 0.2\n'
    try:
        with House(key, exporters=table) as house:
            house.wait_for(f"{address} can't be listened on: {reason}")
            with Load(house, 2, messages=20) as load:
                load.join()
            assert (load.good, load.bad) == (20, [])
            failures = series("phoenixdkim_exporter_http_bind_failures_total")
            eventually("three tries", lambda: parsed(parse(scrape(good).decode()))[failures] >= 3)
            assert house.log().count("can't be listened on") == 1
            if world is taken:
                release()
                house.wait_for(f"{address} is listened on now")
                assert b"phoenixdkim_messages_total 20.0\n" in scrape(port)
    finally:
        release()
