"""A key that is replaced within its time to live (N8)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.dns_bench import PATIENT, dns_bench
from phoenixdkim.dkim.results import Algorithm, Reason
from phoenixdkim.dkim.sign import SigningKey
from phoenixdkim.keystore import public_record
from phoenixdkim.testing.dns_server import ScriptedDnsServer
from signed_mail import MESSAGE, rsa_private, signed

pytestmark = pytest.mark.daemon

NAME = "s._domainkey.example.com"
OLD, NEW, STRANGER = (
    SigningKey(str(bits), b"example.com", b"s", Algorithm.RSA_SHA256, rsa_private(bits)) for bits in (1024, 1536, 2048)
)


@pytest.fixture
def server() -> Iterator[ScriptedDnsServer]:
    with ScriptedDnsServer() as running:
        running.set_txt(NAME, public_record(OLD.private), ttl=3600)
        yield running


def test_n8_a_replaced_key_verifies_after_one_more_question(server: ScriptedDnsServer) -> None:
    dns = f'nameservers = ["{server.address}"]\ndnssec_probe = ""\nrecheck_after = 1.0\n{PATIENT}'
    with dns_bench(dns) as bench:
        first = bench.send(signed(MESSAGE, [OLD]))
        assert (first.results, first.questions) == (((b"pass", None),), 1)
        server.set_txt(NAME, public_record(NEW.private), ttl=3600)
        deadline = time.monotonic() + 60
        while True:
            told = bench.send(signed(MESSAGE, [NEW]))
            assert told.counted("dns_cache_total", result="hit") == told.counted("dns_cache_total") == 1
            if told.results[0][0] == b"pass":
                break
            # The key is not a second old, and is not asked for again.
            assert (told.line["reason"], told.questions) == (Reason.SIGNATURE_MISMATCH, 0)
            assert time.monotonic() < deadline
        assert told.questions == told.counted("dns_responses_total", result="success") == 1
        assert told.counted("verifications_total") == told.counted("verifications_total", result="pass") == 1
        assert told.counted("signature_verifications_total") == told.counted("dnssec_keys_total") == 1
        again = bench.send(signed(MESSAGE, [NEW]))
        assert (again.results, again.questions) == (((b"pass", None),), 0)
        assert len(server.questions()) == 2

        done = subprocess.run(
            [Path(sys.executable).with_name("phoenixdkim"), "verify", "--nameserver", server.address],
            input=signed(MESSAGE, [NEW]),
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, "the command keeps nothing, so it sees the new key at once"


def test_n8_wrong_signatures_do_not_make_us_ask_for_each(server: ScriptedDnsServer) -> None:
    dns = f'nameservers = ["{server.address}"]\ndnssec_probe = ""\nrecheck_after = 2.0\n{PATIENT}'
    with dns_bench(dns) as bench:
        begun = time.monotonic()
        forged = signed(MESSAGE, [STRANGER])
        questions = 0
        for _ in range(60):
            told = bench.send(forged)
            assert told.line["reason"] == Reason.SIGNATURE_MISMATCH
            questions += told.questions
        assert questions == len(server.questions()) <= 1 + (time.monotonic() - begun) / 2.0 < 60


def test_n8_off_by_option(server: ScriptedDnsServer) -> None:
    dns = f'nameservers = ["{server.address}"]\ndnssec_probe = ""\nrecheck_after = 0\n{PATIENT}'
    with dns_bench(dns) as bench:
        bench.send(signed(MESSAGE, [OLD]))
        server.set_txt(NAME, public_record(NEW.private))
        for _ in range(3):
            told = bench.send(signed(MESSAGE, [NEW]))
            assert (told.line["reason"], told.questions) == (Reason.SIGNATURE_MISMATCH, 0)
