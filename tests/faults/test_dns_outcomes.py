"""Found, absent, unavailable lead to pass or fail, permerror, temperror: in the field, the line and the counters.

Requirements D01 to D05, D17, D18; faults N1, N2, N3.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import dns.rcode
import pytest

from asking import LATE
from daemon.dns_bench import PATIENT, QUICK, DnsBench, Told, dns_bench
from dns_rows import ABSENT, FOUND, TIMEOUT, rows
from phoenixdkim.dkim.results import REASONS, DnssecStatus, Reason
from phoenixdkim.dkim.sign import SigningKey
from phoenixdkim.events import CacheResult, DnsResult
from phoenixdkim.keystore import public_record
from phoenixdkim.testing.dns_server import Behaviour, Fault, ScriptedDnsServer, Tcp, txt
from signed_mail import MESSAGE, ed_key, rsa_key, rsa_private, signed

pytestmark = pytest.mark.daemon

RSA, ED = public_record(rsa_key().private), public_record(ed_key().private)
ROWS = rows(RSA)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedDnsServer]:
    with ScriptedDnsServer() as running:
        yield running


@pytest.fixture(scope="module")
def hasty(server: ScriptedDnsServer) -> Iterator[DnsBench]:
    with dns_bench(f'nameservers = ["{server.address}"]\ndnssec_probe = ""\n{QUICK}') as bench:
        yield bench


@pytest.fixture(scope="module")
def patient(server: ScriptedDnsServer) -> Iterator[DnsBench]:
    with dns_bench(f'nameservers = ["{server.address}"]\ndnssec_probe = ""\n{PATIENT}') as bench:
        yield bench


def key(number: int, kind: SigningKey | None = None) -> tuple[SigningKey, str]:
    """A key with a selector that no other test has, and the name of its record."""
    selector = b"s%d" % number
    made = rsa_key(selector=selector) if kind is None else ed_key(selector=selector)
    return made, f"s{number}._domainkey.example.com"


def agree(told: Told, reason: Reason) -> None:
    """Field, line and counters tell the same verdict."""
    result = REASONS[reason].result
    words = None if reason is Reason.VERIFIED else REASONS[reason].text.encode()
    assert told.results == ((result.encode(), words),)
    assert (told.line["result"], told.line["reason"]) == (result, reason)
    assert told.counted("verifications_total", result=result) == told.counted("verifications_total") == 1
    assert told.counted("signature_verifications_total", result=result) == 1
    assert told.counted("dns_cache_total") == told.counted("dns_cache_total", result=CacheResult.MISS) == 1


@pytest.mark.parametrize("case", ROWS)
def test_d04_d05_d17_d18_n1_n2_n3_each_answer_has_its_verdict(
    server: ScriptedDnsServer, hasty: DnsBench, patient: DnsBench, case: str
) -> None:
    row = ROWS[case]
    bench = hasty if row.result is TIMEOUT else patient
    made, name = key(list(ROWS).index(case))
    server.set(name, row.behaviour)
    told = bench.send(signed(MESSAGE, [made]))
    if row.outcome is FOUND:
        reason = Reason.VERIFIED
    elif row.outcome is ABSENT:
        reason = Reason.NO_KEY
    else:
        reason = Reason.DNS_TIMEOUT if row.result is TIMEOUT else Reason.DNS_UNAVAILABLE
    agree(told, reason)
    assert told.questions == 1
    assert told.counted("dns_responses_total", result=row.result) == 1
    # On the resolver's clock: 0.3 and 0.6 seconds for two attempts, 1.2 for the message; or 30, 60, 60.
    assert told.counted("dns_duration_seconds_sum") < 1.2 + LATE
    if row.result is TIMEOUT:
        assert told.counted("dns_duration_seconds_sum") >= 0.9
    dnssec = {status: told.counted("dnssec_keys_total", status=status) for status in DnssecStatus}
    status = {FOUND: DnssecStatus.UNKNOWN, ABSENT: None}.get(row.outcome, DnssecStatus.UNAVAILABLE)
    assert {found for found, number in dnssec.items() if number} == ({status} if status else set())
    assert len(server.questions(name, "udp")) == row.udp
    # With short time-outs a busy machine may not come to TCP each time.
    assert (1 if row.tcp and row.result is TIMEOUT else row.tcp) <= len(server.questions(name, "tcp")) <= row.tcp


def test_n1_nobody_listens() -> None:
    with ScriptedDnsServer() as gone:
        address = gone.address
    made, _ = key(100)
    with dns_bench(f'nameservers = ["{address}"]\n{PATIENT}') as bench:
        told = bench.send(signed(MESSAGE, [made]))
    agree(told, Reason.DNS_UNAVAILABLE)
    assert told.counted("dns_responses_total", result=DnsResult.ERROR) == 1
    assert told.counted("dns_duration_seconds_sum") < LATE, "it has 60 seconds"


def test_n2_nobody_listens_on_tcp() -> None:
    made, name = key(101)
    with ScriptedDnsServer(tcp=False) as server, dns_bench(f'nameservers = ["{server.address}"]\n{PATIENT}') as bench:
        server.set(name, Behaviour((txt(RSA),), truncate=True))
        told = bench.send(signed(MESSAGE, [made]))
    agree(told, Reason.DNS_UNAVAILABLE)
    assert told.counted("dns_responses_total", result=DnsResult.ERROR) == 1


P = b"v=DKIM1; k=rsa; " + RSA.rpartition(b" ")[2]
WEAK = public_record(rsa_private(1024)).replace(b"v=DKIM1", b"v=DKIM1; n=512 bits would do")
RECORDS: dict[str, tuple[tuple[bytes, ...], Reason]] = {
    "right": ((P,), Reason.VERIFIED),
    "another key": ((WEAK,), Reason.SIGNATURE_MISMATCH),
    "two keys, the second right": ((WEAK, P), Reason.VERIFIED),
    "two keys, the first right": ((P, WEAK), Reason.VERIFIED),
    "right beside garbage": ((b"\0\xff;;=", P, b"v=spf1 -all", b""), Reason.VERIFIED),
    "nine of them": ((*(b"n=%d" % n for n in range(8)), P), Reason.MULTIPLE_KEY_RECORDS),
    "empty": ((b"",), Reason.KEY_RECORD_SYNTAX),
    "garbage": ((b"\0\xff\x80\r\n",), Reason.KEY_RECORD_SYNTAX),
    "of SPF": ((b"v=spf1 -all",), Reason.KEY_VERSION),
    "revoked": ((b"v=DKIM1; k=rsa; p=",), Reason.KEY_REVOKED),
    "no base64": ((b"v=DKIM1; p=?",), Reason.KEY_MALFORMED),
    "no DER": ((b"v=DKIM1; p=" + base64.b64encode(b"junk"),), Reason.KEY_MALFORMED),
    "for another service": ((P + b"; s=tlsrpt",), Reason.KEY_SERVICE_MISMATCH),
    "for another hash": ((P + b"; h=sha1",), Reason.KEY_HASH_NOT_ALLOWED),
    "of another type": ((ED,), Reason.KEY_TYPE_MISMATCH),
    "of an unknown type": ((P.replace(b"k=rsa", b"k=dsa"),), Reason.KEY_TYPE_UNKNOWN),
    "too large": ((P + b"; n=" + b"x" * 4100,), Reason.KEY_RECORD_TOO_LARGE),
}


@pytest.mark.parametrize("case", RECORDS)
def test_d02_d03_each_record_has_its_verdict(server: ScriptedDnsServer, patient: DnsBench, case: str) -> None:
    records, reason = RECORDS[case]
    made, name = key(200 + list(RECORDS).index(case))
    server.set(name, Behaviour(tuple(txt(record) for record in records), truncate=sum(map(len, records)) > 1000))
    told = patient.send(signed(MESSAGE, [made]))
    agree(told, reason)
    assert told.questions == told.counted("dns_responses_total", result=DnsResult.SUCCESS) == 1


@pytest.mark.parametrize("whole_chain", [True, False])
@pytest.mark.parametrize(("length", "loop"), [(3, False), (20, True)])
def test_d01_n3_aliases(
    server: ScriptedDnsServer, patient: DnsBench, whole_chain: bool, length: int, loop: bool
) -> None:
    made, name = key(300 + length + whole_chain)
    for step in range(length):
        owner = name if step == 0 else f"c{step}.{name}"
        target = f"c{step + 1}.{name}" if step < length - 1 or not loop else name
        server.set(owner, Behaviour(cname=target, whole_chain=whole_chain))
    server.set(f"c{length}.{name}", Behaviour((txt(RSA),)))
    told = patient.send(signed(MESSAGE, [made]))
    agree(told, Reason.DNS_UNAVAILABLE if loop else Reason.VERIFIED)
    assert told.questions == 1
    assert told.counted("dns_duration_seconds_sum") < 2 * LATE, "it has 60 seconds"


def test_n3_an_answer_that_is_too_large_is_final_and_kept(server: ScriptedDnsServer, patient: DnsBench) -> None:
    made, name = key(400)
    server.set(name, Behaviour(tuple(txt(b"n=%d" % n + b"x" * 900) for n in range(60)), truncate=True))
    told = patient.send(signed(MESSAGE, [made]))
    agree(told, Reason.DNS_ANSWER_TOO_LARGE)
    again = patient.send(signed(MESSAGE, [made]))
    assert (again.line["reason"], again.questions) == (Reason.DNS_ANSWER_TOO_LARGE, 0)


@pytest.mark.parametrize(("ttl", "kept"), [(0, False), (1_000_000_000, True)])
def test_n3_time_to_live(server: ScriptedDnsServer, patient: DnsBench, ttl: int, kept: bool) -> None:
    made, name = key(410 + kept)
    server.set(name, Behaviour((txt(RSA),), ttl=ttl))
    for number in range(3):
        told = patient.send(signed(MESSAGE, [made]))
        assert told.results == ((b"pass", None),)
        assert told.questions == (0 if kept and number else 1)


@pytest.mark.parametrize("fault", [Fault.WRONG_ID, Fault.WRONG_QUESTION, Fault.WRONG_SOURCE])
def test_n3_a_forged_key_is_not_believed(server: ScriptedDnsServer, patient: DnsBench, fault: Fault) -> None:
    """What comes first bears a key that would verify; the right answer, which follows, says that there is none."""
    made, name = key(420 + list(Fault).index(fault))
    server.set(name, Behaviour((txt(RSA),), fault=fault, right_answer_after=0.05, right_answer=Behaviour()))
    told = patient.send(signed(MESSAGE, [made]))
    agree(told, Reason.NO_KEY)
    assert len(server.questions(name)) == 1


def test_no_socket_is_left_open(server: ScriptedDnsServer, hasty: DnsBench) -> None:
    """Nor after timeouts, refusals and TCP that hangs, several times over."""
    (worker,) = hasty.house.workers()
    behaviours = [
        Behaviour(fault=Fault.DROP),
        Behaviour(rcode=dns.rcode.SERVFAIL),
        Behaviour((txt(RSA),), truncate=True, tcp=Tcp.HANG),
        Behaviour((txt(RSA),), truncate=True, tcp=Tcp.CUT),
        Behaviour((txt(RSA),), fault=Fault.COMPRESSION_LOOP),
    ]
    keys = [key(500 + number) for number in range(10)]

    def descriptors() -> int:
        return len(list(Path(f"/proc/{worker}/fd").iterdir()))

    hasty.send(MESSAGE)
    before = descriptors()
    for number, (_, name) in enumerate(keys):
        server.set(name, behaviours[number % len(behaviours)])
    told = hasty.send(signed(MESSAGE, [made for made, _ in keys]))
    assert told.questions == 10
    deadline = time.monotonic() + 30
    # The milter connection itself takes a moment to be closed.
    while descriptors() > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
