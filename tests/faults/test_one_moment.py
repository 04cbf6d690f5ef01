"""Sessions that have something to say at one moment: none waits for what another waits for.

libmilter's pool gives such sessions as many threads as are idle, which are two, and leaves the rest until one of these
is done.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import dns.rcode
import pytest

from daemon.dns_bench import PATIENT, DnsBench, dns_bench
from daemon.house import BODY, FIELDS, House
from daemon.house import signed as was_signed
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.testing.dns_server import Behaviour, ScriptedDnsServer
from phoenixdkim.testing.milter_client import MilterClient
from phoenixdkim.testing.milter_protocol import Field, Step
from signed_mail import MESSAGE, ed_key, signed

pytestmark = pytest.mark.daemon

SESSIONS = 8


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


@pytest.fixture
def server(gate: threading.Event) -> Iterator[ScriptedDnsServer]:
    """A name server that says nothing before the gate opens."""
    with ScriptedDnsServer() as running:
        running.set_default(Behaviour(rcode=dns.rcode.NXDOMAIN, gate=gate))
        yield running


@pytest.fixture
def bench(server: ScriptedDnsServer, gate: threading.Event) -> Iterator[DnsBench]:
    with dns_bench(f'nameservers = ["{server.address}"]\ndnssec_probe = ""\n{PATIENT}') as running:
        yield running
        gate.set()


@contextmanager
def one_moment(house: House) -> Iterator[None]:
    """The worker sees all that is sent meanwhile at once."""
    (worker,) = house.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def before_its_end(client: MilterClient, fields: Sequence[Field], body: bytes, address: str) -> None:
    """Send a message but for its end."""
    client.open_session(client_address=address)
    client.mail(b"a@example.com")
    for name, value in fields:
        client.header(name, value)
    client.body(body)


def test_messages_that_need_keys(bench: DnsBench, server: ScriptedDnsServer, gate: threading.Event) -> None:
    with ExitStack() as opened:
        clients = [opened.enter_context(bench.house.client()) for _ in range(SESSIONS)]
        for number, client in enumerate(clients):
            fields, body = parse_message(signed(MESSAGE, [ed_key(selector=b"s%d" % number)]))
            before_its_end(client, [(field.name, field.value) for field in fields], body, "203.0.113.9")
        with one_moment(bench.house):
            for client in clients:
                client.send_packet(b"E")
        server.wait_for_questions(SESSIONS)
        assert was_signed(bench.house.send())
        gate.set()
        for client in clients:
            client.receive_reply(Step.EOM)


def test_half_packets(bench: DnsBench) -> None:
    # Often, because which sessions are left without a thread is for libmilter's threads to race for.
    for _ in range(4):
        with ExitStack() as opened:
            halves = [opened.enter_context(bench.house.client()) for _ in range(SESSIONS)]
            for half in halves:
                half.open_session()
            whole = opened.enter_context(bench.house.client())
            before_its_end(whole, FIELDS, BODY, "127.0.0.1")
            with one_moment(bench.house):
                for half in halves:
                    half.socket.sendall(b"\0\0")
                whole.send_packet(b"E")
            assert was_signed(whole.receive_reply(Step.EOM))
