"""Slow answers: look-ups of a message run together, and its deadline holds (N4, D18); signals in a wait (R10)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from daemon.dns_bench import PATIENT, DnsBench, Told, dns_bench
from phoenixdkim.dkim.results import Reason
from phoenixdkim.events import DnsResult
from phoenixdkim.keystore import public_record
from phoenixdkim.testing.dns_server import Behaviour, ScriptedDnsServer, txt
from signed_mail import MESSAGE, ed_key, signed

pytestmark = pytest.mark.daemon

RECORD = txt(public_record(ed_key().private))
TWENTY = "[limits]\nmax_signatures = 20\n"


@pytest.fixture
def server() -> Iterator[ScriptedDnsServer]:
    with ScriptedDnsServer() as running:
        yield running


def message(count: int) -> bytes:
    """A message with so many signatures, each with a selector of its own."""
    return signed(MESSAGE, [ed_key(selector=b"s%d" % number) for number in range(count)])


class Sending(threading.Thread):
    """A message on its way."""

    def __init__(self, bench: DnsBench, data: bytes) -> None:
        super().__init__(daemon=True)
        self._bench = bench
        self._data = data
        self.told: Told | None = None
        self.start()

    def run(self) -> None:
        self.told = self._bench.send(self._data)

    def end(self) -> Told:
        self.join(90)
        assert self.told is not None
        return self.told


def test_n4_twenty_keys_are_asked_for_before_any_is_had(server: ScriptedDnsServer) -> None:
    gate = threading.Event()
    server.set_default(Behaviour((RECORD,), gate=gate))
    with dns_bench(f'nameservers = ["{server.address}"]\ndnssec_probe = ""\n{PATIENT}', extra=TWENTY) as bench:
        sending = Sending(bench, message(20))
        asked = server.wait_for_questions(20)
        assert sending.told is None
        gate.set()
        told = sending.end()
    assert len({question.name for question in asked}) == 20
    assert told.results == ((b"pass", None),) * 20
    assert told.questions == told.counted("dns_responses_total", result=DnsResult.SUCCESS) == 20


@pytest.mark.parametrize("concurrent", [64, 4])
def test_n4_answers_of_five_seconds_do_not_break_the_deadline(server: ScriptedDnsServer, concurrent: int) -> None:
    server.set_default(Behaviour((RECORD,), delay=4.9))
    dns = (
        f'nameservers = ["{server.address}"]\ndnssec_probe = ""\nmax_concurrent = {concurrent}\n'
        "query_timeout = 0.8\nmessage_timeout = 0.8\n"
    )
    with dns_bench(dns, extra=TWENTY) as bench:
        told = bench.send(message(20))
    # One answer alone takes 4.9 seconds.
    assert 0.8 <= told.counted("message_duration_seconds_sum", action="verify") < 4.9
    assert [result for result, _ in told.results] == [b"temperror"] * 20
    assert told.line["reason"] in {Reason.MESSAGE_TIMEOUT, Reason.DNS_TIMEOUT, Reason.LOOKUP_LIMIT}
    assert told.questions == told.counted("dns_responses_total", result=DnsResult.TIMEOUT)
    assert len(server.questions()) == told.questions <= concurrent
    assert told.counted("dns_duration_seconds_sum") < 4.9 * told.questions


def test_d18_two_dead_servers_take_no_longer_than_the_message_has() -> None:
    with ScriptedDnsServer() as one, ScriptedDnsServer() as two:
        for server in (one, two):
            server.set_default(Behaviour((RECORD,), delay=30))
        dns = f'nameservers = ["{one.address}", "{two.address}"]\nquery_timeout = 0.5\nmessage_timeout = 1.5\n'
        with dns_bench(dns) as bench:
            told = bench.send(message(3))
        # 0.5 for each, then 0.5 of the second that the first one would have; a busy machine may not come to that.
        assert 3 <= len(one.questions()) <= 6
        assert len(two.questions()) <= 3
    assert 1.5 <= told.counted("message_duration_seconds_sum", action="verify") < 10
    assert told.questions == 3


def test_r10_signals_in_a_wait_change_nothing(server: ScriptedDnsServer) -> None:
    """Whatever the worker is sent, stopped and continued too, and while the daemon reloads."""
    gate = threading.Event()
    server.set_default(Behaviour((RECORD,), gate=gate))
    with dns_bench(f'nameservers = ["{server.address}"]\ndnssec_probe = ""\n{PATIENT}', workers=2) as bench:
        sending = Sending(bench, message(5))
        server.wait_for_questions(5)
        workers = bench.house.workers()
        assert len(workers) == 2
        for _ in range(20):
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                for worker in workers:
                    os.kill(worker, number)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
            os.kill(worker, signal.SIGCONT)
        bench.house.config.write_text(
            bench.house.text + "# A file that has not changed leaves the workers as they are.\n"
        )
        bench.house.signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while not set(bench.house.workers()) - set(workers):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        gate.set()
        told = sending.end()
        assert told.results == ((b"pass", None),) * 5
        assert told.questions == len(server.questions()) == 5
        assert bench.send(message(1)).results == ((b"pass", None),)
