"""One classification: each verdict stands alike in Authentication-Results, in the log line, and in the counters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import dns.rcode
import pytest

from daemon.dns_bench import DnsBench, dns_bench
from phoenixdkim.dkim.results import REASONS, Algorithm, Reason, Result
from phoenixdkim.testing.dns_server import Behaviour, ScriptedDnsServer, txt
from signed_mail import MESSAGE, rsa_key, signed, zone

pytestmark = pytest.mark.daemon

KEY = rsa_key()
NAME = b"r._domainkey.example.com"
RECORD = zone(KEY)[NAME][0]
COUNTED = re.compile("phoenixdkim_(messages|.*verif.*)_total")


@dataclass(frozen=True)
class Case:
    """A message, what DNS says of its key, and what must be said of it."""

    message: bytes
    behaviour: Behaviour
    result: Result
    reason: Reason
    algorithm: Algorithm | None = Algorithm.RSA_SHA256


GOOD = signed(MESSAGE, [KEY])
FOUND = Behaviour((txt(RECORD),), ttl=0)

CASES = {
    "pass": Case(GOOD, FOUND, Result.PASS, Reason.VERIFIED),
    "fail": Case(GOOD + b"more\r\n", FOUND, Result.FAIL, Reason.BODY_HASH_MISMATCH),
    "none": Case(MESSAGE, FOUND, Result.NONE, Reason.NO_SIGNATURE, None),
    "policy": Case(b"From: second@example.com\r\n" + GOOD, FOUND, Result.POLICY, Reason.MULTIPLE_FROM),
    "temperror": Case(GOOD, Behaviour(rcode=dns.rcode.SERVFAIL), Result.TEMPERROR, Reason.DNS_UNAVAILABLE),
    "permerror": Case(GOOD, Behaviour(rcode=dns.rcode.NXDOMAIN, soa_minimum=None), Result.PERMERROR, Reason.NO_KEY),
    "weak": Case(
        GOOD.replace(b"a=rsa-sha256", b"a=rsa-sha1"),
        FOUND,
        Result.PERMERROR,
        Reason.WEAK_ALGORITHM,
        Algorithm.RSA_SHA1,
    ),
    "neutral": Case(
        GOOD.replace(b"a=rsa-sha256", b"a=rsa-sha512"),
        FOUND,
        Result.NEUTRAL,
        Reason.UNKNOWN_ALGORITHM,
        Algorithm.OTHER,
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedDnsServer]:
    with ScriptedDnsServer() as running:
        yield running


@pytest.fixture(scope="module")
def bench(server: ScriptedDnsServer) -> Iterator[DnsBench]:
    with dns_bench(f'nameservers = ["{server.address}"]\ncache_size = 0') as running:
        yield running


@pytest.mark.parametrize("name", CASES)
def test_field_line_and_counters_tell_the_same(bench: DnsBench, server: ScriptedDnsServer, name: str) -> None:
    case = CASES[name]
    server.set(NAME.decode(), case.behaviour)
    told = bench.send(case.message)

    words = None if case.result is Result.PASS or case.result is Result.NONE else REASONS[case.reason].text.encode()
    assert told.methods == (b"dkim",)
    assert told.results == ((case.result.encode(), words),)

    assert (told.line["action"], told.line["result"], told.line["reason"]) == ("verify", case.result, case.reason)
    assert told.line["a"] == (case.algorithm or "-")
    assert told.line["d"] == ("-" if case.algorithm is None else "example.com")

    counted = {key: value for key, value in told.gained.items() if value and COUNTED.fullmatch(key[0])}
    expected = {series("messages"): 1.0, series("verifications", result=case.result): 1.0}
    if case.algorithm is not None:
        expected[series("signature_verifications", result=case.result, algorithm=case.algorithm)] = 1.0
    assert counted == expected


def series(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"phoenixdkim_{name}_total", frozenset(labels.items())


def test_every_result_of_the_enum_is_shown_to_occur() -> None:
    assert {case.result for case in CASES.values()} == set(Result)
