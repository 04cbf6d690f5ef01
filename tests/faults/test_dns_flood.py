"""A flood of messages whose signatures name thousands of selectors (N6): bounded, and mail goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.rcode
import pytest

from daemon.dns_bench import PATIENT, DnsBench, dns_bench
from daemon.house import signed as was_signed
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.keystore import public_record
from phoenixdkim.testing.dns_server import Behaviour, ScriptedDnsServer
from phoenixdkim.testing.milter_client import MilterClient
from signed_mail import MESSAGE, ed_key, signed

pytestmark = pytest.mark.daemon

GOOD = signed(MESSAGE, [ed_key(selector=b"known")])
PATTERN = signed(MESSAGE, [ed_key(selector=b"PATTERN%d" % number) for number in range(10)])
SELECTORS = 10_000 if os.environ.get("PHOENIXDKIM_LONG") == "1" else 3_000
SENDERS = 8


@pytest.fixture
def server() -> Iterator[ScriptedDnsServer]:
    with ScriptedDnsServer() as running:
        running.set_txt("known._domainkey.example.com", public_record(ed_key().private), ttl=3600)
        yield running


class Flood:
    """Messages with ten selectors each that no other message has, over several connections at one time."""

    def __init__(self, bench: DnsBench, messages: int) -> None:
        self._bench = bench
        self.answered = 0
        self._lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self._send, args=(part, messages), daemon=True) for part in range(SENDERS)
        ]
        for thread in self.threads:
            thread.start()

    def _send(self, part: int, messages: int) -> None:
        with MilterClient(self._bench.house.address, timeout=90) as client:
            for number in range(part, messages, SENDERS):
                fields, body = parse_message(PATTERN.replace(b"PATTERN", b"f%d-" % number))
                client.send_message([(f.name, f.value) for f in fields], body, client_address="203.0.113.9")
                with self._lock:
                    self.answered += 1

    def end(self) -> None:
        for thread in self.threads:
            thread.join(100)
            assert not thread.is_alive()


def mail_goes_on(bench: DnsBench) -> None:
    """Mail of ours is signed, and what a known key signed passes: neither needs DNS."""
    assert was_signed(bench.house.send())
    assert bench.send(GOOD).results == ((b"pass", None),)


def resident(pid: int) -> int:
    """Memory of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("no VmRSS")


def test_n6_while_name_servers_say_nothing(server: ScriptedDnsServer) -> None:
    gate = threading.Event()
    server.set_default(Behaviour(rcode=dns.rcode.NXDOMAIN, gate=gate))
    table = f'nameservers = ["{server.address}"]\ndnssec_probe = ""\nmax_concurrent = 16\n{PATIENT}'
    with dns_bench(table) as bench:
        (worker,) = bench.house.workers()
        assert bench.send(GOOD).results == ((b"pass", None),)
        flood = Flood(bench, 24)
        server.wait_for_questions(17)
        for _ in range(5):
            mail_goes_on(bench)
        assert len(server.questions()) == 17, "sixteen at one time, and the one for the known key"
        threads = len(list(Path(f"/proc/{worker}/task").iterdir()))
        # Sixteen that look up, one for each session that waits, and a few of libmilter's own.
        assert threads < 16 + SENDERS + 20
        assert flood.answered == 0
        gate.set()
        flood.end()
        assert len({question.name for question in server.questions()}) == 241


def test_n6_thousands_of_selectors(server: ScriptedDnsServer) -> None:
    server.set_default(Behaviour(rcode=dns.rcode.NXDOMAIN))
    with dns_bench(f'nameservers = ["{server.address}"]\ndnssec_probe = ""\n{PATIENT}', workers=1) as bench:
        (worker,) = bench.house.workers()
        mail_goes_on(bench)
        Flood(bench, 40).end()
        before, memory = bench.counters(), resident(worker)
        flood = Flood(bench, 40 + SELECTORS // 10)
        while any(thread.is_alive() for thread in flood.threads):
            mail_goes_on(bench)
        flood.end()
        after = bench.counters()

        def gained(name: str) -> float:
            return sum(value - before[key] for key, value in after.items() if key[0] == f"phoenixdkim_{name}")

        assert gained("dns_queries_total") == SELECTORS, "one each; those of the first forty messages are kept"
        assert gained("dns_responses_total") == gained("dns_duration_seconds_count") == SELECTORS
        assert len({question.name for question in server.questions()}) == SELECTORS + 400 + 1
        assert resident(worker) - memory < 40
        assert bench.house.workers() == [worker]
