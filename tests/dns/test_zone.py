"""The zone file."""

from __future__ import annotations

import os

import pytest

from phoenixdkim.dkim.keys import KeyOutcome
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dns import Resolver, ResolverOptions, Zone, ZoneError
from phoenixdkim.dns.answers import dns_name
from phoenixdkim.events import DnsQuery, DnsResponse, DnsResult

TEXT = """\
; comment
a._domainkey.example.com TXT "v=DKIM1; p=" "AA"
b._domainkey.example.com. 60 IN TXT ( "one"
   "two" )
$ORIGIN example.net.
$TTL 120
c._domainkey CNAME d._domainkey
d._domainkey IN TXT "three"
e._domainkey CNAME e._domainkey
"""


def strings(zone: Zone, name: bytes):
    asked = dns_name(name)
    assert asked is not None
    return zone.look_up(asked)


def test_simple_and_master_file_lines(tmp_path):
    path = tmp_path / "zone"
    path.write_text(TEXT)
    zone = Zone(path)
    assert strings(zone, b"A._domainkey.EXAMPLE.com").records == (b"v=DKIM1; p=AA",)
    found = strings(zone, b"b._domainkey.example.com")
    assert (found.records, found.ttl) == ((b"onetwo",), 60)
    found = strings(zone, b"c._domainkey.example.net")
    assert (found.records, found.ttl) == ((b"three",), 120)
    assert strings(zone, b"e._domainkey.example.net") is None
    assert strings(zone, b"x._domainkey.example.net").records == ()


def test_change_is_seen(tmp_path):
    path = tmp_path / "zone"
    path.write_text('a.example TXT "one"\n')
    zone = Zone(path)
    path.write_text('a.example TXT "another"\n')
    os.utime(path, ns=(1, 1))
    assert strings(zone, b"a.example").records == (b"another",)


@pytest.mark.parametrize("text", ['a.example TXT "unclosed\n', "a.example NOTYPE x\n", "$INCLUDE /etc/passwd\n"])
def test_fault_names_file_and_line(tmp_path, text):
    path = tmp_path / "zone"
    path.write_text('b.example TXT "x"\n' + text)
    with pytest.raises(ZoneError, match=r"zone:[23]: "):
        Zone(path)


def test_missing_file(tmp_path):
    with pytest.raises(ZoneError, match="No such file"):
        Resolver(ResolverOptions(zone=str(tmp_path / "none")), Limits())


def test_zone_counts_as_network(tmp_path):
    path = tmp_path / "zone"
    path.write_text('a.example TXT "x"\n')
    told = []
    resolver = Resolver(ResolverOptions(zone=str(path)), Limits())
    answers = resolver.look_up([b"absent.example"], lambda event, seconds: told.append((event, seconds)))
    assert answers[b"absent.example"].outcome is KeyOutcome.ABSENT
    assert (DnsQuery(), None) in told
    assert [seconds is not None for event, seconds in told if event == DnsResponse(DnsResult.SUCCESS)] == [True]
    path.write_text("broken")
    broken = resolver.look_up([b"a.example"], lambda event, seconds: told.append((event, seconds)))
    assert broken[b"a.example"].outcome is KeyOutcome.UNAVAILABLE
    assert told[-1][0] == DnsResponse(DnsResult.ERROR)
