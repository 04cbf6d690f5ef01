"""One classification: each verdict stands alike in Authentication-Results, in the log line, and in the counters."""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import dns.rcode
import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.house import House
from interop.peers import KeyPair
from phoenixdkim.authres import parse
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.dkim.results import REASONS, Algorithm, Reason, Result
from phoenixdkim.testing.dns_server import Behaviour, ScriptedDnsServer, txt
from phoenixdkim.testing.milter_protocol import apply
from signed_mail import MESSAGE, rsa_key, signed, zone

pytestmark = pytest.mark.daemon

KEY = rsa_key()
NAME = b"r._domainkey.example.com"
RECORD = zone(KEY)[NAME][0]
EXPORTERS = """\
[exporters.http]
listen = "127.0.0.1:{port}"
"""


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


Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"phoenixdkim_{name}_total", frozenset(labels.items())


class Watched:
    """The daemon with a DNS server on a string, and its counters at any moment."""

    def __init__(self, house: House, server: ScriptedDnsServer, port: int) -> None:
        self.house = house
        self.server = server
        self._url = f"http://127.0.0.1:{port}/metrics"

    def counters(self) -> Series:
        with urllib.request.urlopen(self._url, timeout=10) as answer:
            text = answer.read().decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.endswith("_total") and "exporter" not in sample.name
        }

    def wait_until_scraped(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self.counters()
                return
            except OSError:
                assert time.monotonic() < deadline, self.house.log()
                time.sleep(0.05)

    def gained(self, before: Series) -> Series:
        return {name: value - before[name] for name, value in self.counters().items() if value != before[name]}


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with (
        ScriptedDnsServer() as server,
        House(
            KeyPair.rsa("example.net"),
            dns=f'nameservers = ["{server.address}"]\ncache_size = 0',
            exporters=EXPORTERS.format(port=port),
        ) as house,
    ):
        made = Watched(house, server, port)
        made.wait_until_scraped()
        yield made


@pytest.mark.parametrize("name", CASES)
def test_field_line_and_counters_tell_the_same(watched: Watched, name: str) -> None:
    case = CASES[name]
    watched.server.set(NAME.decode(), case.behaviour)
    before = watched.counters()
    fields, body = parse_message(case.message)
    sent = [(field.name, field.value) for field in fields]
    with watched.house.client() as client:
        reply = client.send_message(sent, body, client_address="203.0.113.9", macros={"i": f"CASE{name}"})

    added = [value for field, value in apply(reply, sent) if field == b"Authentication-Results"]
    assert len(added) == 1
    clauses = parse(added[0]).results
    words = None if case.result is Result.PASS or case.result is Result.NONE else REASONS[case.reason].text.encode()
    assert [(clause.method, clause.result, clause.reason) for clause in clauses] == [
        (b"dkim", case.result.encode(), words)
    ]

    watched.house.wait_for(f"CASE{name}: summary ")
    line = re.search(f"CASE{name}: summary (.*)", watched.house.log())
    assert line is not None
    said = dict(part.split("=", 1) for part in line[1].split())
    assert (said["action"], said["result"], said["reason"]) == ("verify", case.result, case.reason)
    assert said["a"] == (case.algorithm or "-")
    assert said["d"] == ("-" if case.algorithm is None else "example.com")

    gained = watched.gained(before)
    told = {key: value for key, value in gained.items() if "verif" in key[0] or key[0] == "phoenixdkim_messages_total"}
    expected = {series("messages"): 1.0, series("verifications", result=case.result): 1.0}
    if case.algorithm is not None:
        expected[series("signature_verifications", result=case.result, algorithm=case.algorithm)] = 1.0
    assert told == expected


def test_every_result_of_the_enum_is_shown_to_occur() -> None:
    assert {case.result for case in CASES.values()} == set(Result)
