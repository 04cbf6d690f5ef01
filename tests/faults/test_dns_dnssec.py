"""DNSSEC status of keys, with a real validating resolver, real signatures and a whole chain of trust."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.dns_bench import PATIENT, DnsBench, Told, dns_bench
from faults.signed_zones import BROKEN, INSECURE, LAME, SECURE, SignedZones
from phoenixdkim.dkim.results import REASONS, DnssecStatus, Reason
from phoenixdkim.keystore import public_record
from signed_mail import MESSAGE, ed_key, signed

pytestmark = pytest.mark.daemon

KEYS = {zone: ed_key(zone.encode(), b"e") for zone in (SECURE, INSECURE, BROKEN, LAME)}
RECORD = public_record(ed_key().private).decode().replace("v=DKIM1;", "v=DKIM1; t=y;")


@pytest.fixture(scope="module")
def zones() -> Iterator[SignedZones]:
    with SignedZones({f"e._domainkey.{zone}": RECORD for zone in (SECURE, INSECURE, BROKEN)}) as running:
        yield running


@pytest.fixture(scope="module")
def bench(zones: SignedZones) -> Iterator[DnsBench]:
    dns = f'nameservers = ["{zones.resolver()}"]\ncache_size = 0\nquery_timeout = 1.5\nmessage_timeout = 60.0\n'
    with dns_bench(dns) as running:
        yield running


def message(zone: str) -> bytes:
    return signed(MESSAGE, [KEYS[zone]])


def statuses(bench: DnsBench, zone: str) -> tuple[set[bytes], dict[str, float]]:
    """The verdict, and what was counted."""
    return judged(bench.send(message(zone)))


def judged(told: Told) -> tuple[set[bytes], dict[str, float]]:
    assert told.questions == 1
    counted = {status.value: told.counted("dnssec_keys_total", status=status) for status in DnssecStatus}
    return {result for result, _ in told.results}, {status: number for status, number in counted.items() if number}


def settled(bench: DnsBench, zone: str, status: str) -> tuple[set[bytes], dict[str, float]]:
    """As soon as the probe has told: until then the status of what is not vouched for is unknown."""
    deadline = time.monotonic() + 60
    while True:
        found = statuses(bench, zone)
        if status in found[1] or time.monotonic() > deadline:
            return found
        assert set(found[1]) == {"unknown"}


def test_insecure_is_what_a_validating_resolver_does_not_vouch_for(bench: DnsBench) -> None:
    """The first of all: nothing is known of the resolver until the root zone, the default probe, has been asked for."""
    assert settled(bench, INSECURE, "insecure") == ({b"pass"}, {"insecure": 1})


def test_secure(bench: DnsBench) -> None:
    assert statuses(bench, SECURE) == ({b"pass"}, {"secure": 1})


def test_bogus_is_a_temporary_error(bench: DnsBench) -> None:
    """unbound says no more than SERVFAIL by default; the records are there without validation."""
    told = bench.send(message(BROKEN))
    assert judged(told) == ({b"temperror"}, {"bogus": 1})
    assert told.line["reason"] == Reason.DNSSEC_BOGUS
    assert told.results == ((b"temperror", REASONS[Reason.DNSSEC_BOGUS].text.encode()),)


def test_unavailable(bench: DnsBench) -> None:
    assert statuses(bench, LAME) == ({b"temperror"}, {"unavailable": 1})


def test_unknown_is_what_a_resolver_says_that_does_not_validate(zones: SignedZones) -> None:
    """A broken zone passes there: the absence of AD is all that there is, and must not count as insecure."""
    dns = f'nameservers = ["{zones.resolver(validating=False)}"]\ncache_size = 0\n{PATIENT}'
    with dns_bench(dns) as bench:
        for zone in (SECURE, INSECURE, BROKEN) * 2:
            assert statuses(bench, zone) == ({b"pass"}, {"unknown": 1})


def test_the_command_says_the_same(zones: SignedZones) -> None:
    program = Path(sys.executable).with_name("phoenixdkim")
    address = zones.resolver()
    found = {}
    for zone in (SECURE, BROKEN):
        done = subprocess.run(
            [program, "verify", "--json", "--nameserver", address], input=message(zone), capture_output=True, timeout=60
        )
        signature = json.loads(done.stdout)["signatures"][0]
        found[zone] = (done.returncode, signature["result"], signature["dnssec"])
    assert found[SECURE] == (0, "pass", "secure")
    assert found[BROKEN][:2] == (75, "temperror")
