"""Name server addresses and the cache's bounds."""

import pytest

from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dns.cache import KeyCache
from phoenixdkim.dns.options import Nameserver, parse_nameserver


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1", "127.0.0.1", 53),
        ("127.0.0.1:5353", "127.0.0.1", 5353),
        ("::1", "::1", 53),
        ("[::1]", "::1", 53),
        ("[::1]:5353", "::1", 5353),
        ("fe80::1%eth0", "fe80::1%eth0", 53),
    ],
)
def test_nameserver(text, host, port):
    assert parse_nameserver(text) == Nameserver(host, port)


@pytest.mark.parametrize("text", ["", "ns.example", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "[::1", "[::1]53"])
def test_no_nameserver(text):
    with pytest.raises(ValueError, match="is no name server"):
        parse_nameserver(text)


def test_cache_is_bounded_and_a_flood_leaves_what_is_in_use():
    now = 0.0
    cache = KeyCache(100, lambda: now)
    answer = KeyAnswer(KeyOutcome.ABSENT, (), DnssecStatus.UNKNOWN, Reason.NO_KEY)
    cache.put(b"used", answer, 1000)
    for i in range(5000):
        cache.put(b"%d" % i, answer, 1000)
        assert cache.get(b"used") is answer
        assert len(cache) <= 100
    now = 1000.0
    assert cache.get(b"used") is None


def test_cache_of_size_0_keeps_nothing():
    cache = KeyCache(0, lambda: 0.0)
    cache.put(b"x", KeyAnswer(KeyOutcome.ABSENT, (), DnssecStatus.UNKNOWN, Reason.NO_KEY), 1000)
    assert cache.get(b"x") is None
    assert len(cache) == 0
