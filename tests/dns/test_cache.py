"""The cache: bounded in keys, whatever is put into it (N6)."""

from __future__ import annotations

import pytest

from asking import record
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome, key_answer
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dns.cache import KeyCache

ABSENT = KeyAnswer(KeyOutcome.ABSENT, (), DnssecStatus.UNKNOWN, Reason.NO_KEY)


def found(keys: int) -> KeyAnswer:
    return key_answer([record() for _ in range(keys)], DnssecStatus.UNKNOWN, Limits())


@pytest.fixture
def cache():
    made = KeyCache(100, lambda: made.now)
    made.now = 0.0
    return made


def test_n6_a_flood_leaves_what_is_in_use(cache):
    cache.put(b"used", ABSENT, 1000, 0)
    for number in range(10_000):
        cache.put(b"%d" % number, ABSENT, 1000, 0)
        assert cache.get(b"used") is ABSENT
        assert len(cache) <= 100
    assert len(cache) == 100
    cache.now = 1000.0
    assert cache.get(b"used") is None


def test_n6_a_name_counts_as_many_as_it_has_keys(cache):
    many = found(8)
    for number in range(1000):
        cache.put(b"%d" % number, many, 1000, 0)
        assert len(cache) <= 100 // 8
    for number in range(1000, 2000):
        cache.put(b"%d" % number, ABSENT, 1000, 0)
    assert len(cache) == 100
    cache.put(b"again", many, 1000, 0)
    cache.put(b"again", many, 1000, 0)
    assert len(cache) == 93


def test_one_name_can_not_be_larger_than_the_cache():
    small = KeyCache(3, lambda: 0.0)
    small.put(b"x", found(4), 1000, 0)
    assert len(small) == 0
    small.put(b"y", found(3), 1000, 0)
    assert len(small) == 1


def test_cache_of_size_0_keeps_nothing():
    none = KeyCache(0, lambda: 0.0)
    none.put(b"x", ABSENT, 1000, 0)
    assert none.get(b"x") is None
    assert len(none) == 0


def test_a_newer_answer_that_is_not_to_be_kept_ends_the_old_one(cache):
    cache.put(b"x", found(1), 1000, 0)
    cache.put(b"x", found(1), 0, 10)
    assert cache.get(b"x") is None
    assert len(cache) == 0


def test_how_old_an_answer_is(cache):
    key = found(1)
    cache.put(b"x", key, 1000, 50)
    assert cache.get(b"x", 50) is key
    assert cache.get(b"x", 50.1) is None
    assert not cache.older(b"x", 50)
    assert cache.older(b"x", 50.1)
    assert not cache.older(b"y", 50.1)
    cache.put(b"z", ABSENT, 1000, 50)
    assert not cache.older(b"z", 60), "there is no key that could be old"


def test_asked_for_in_vain_the_old_answer_stays_and_counts_as_asked_for(cache):
    key = found(1)
    cache.put(b"x", key, 1000, 50)
    assert cache.stays(b"x", 70)
    assert cache.get(b"x", 70) is key
    assert not cache.stays(b"y", 70)
    cache.now = 1000.0
    assert not cache.stays(b"x", 80), "its time is over"
