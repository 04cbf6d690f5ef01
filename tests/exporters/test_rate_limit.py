"""Rate limits."""

from __future__ import annotations

from phoenixdkim.exporters.rate_limit import RateLimit


def test_a_burst_and_then_so_many_a_second():
    limit = RateLimit(3, 2.0)
    assert [limit.allows(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert limit.take_refused() == 2
    assert [limit.allows(0.5), limit.allows(0.5), limit.allows(1.0)] == [True, False, True]
    assert [limit.allows(1000.0) for _ in range(4)] == [True, True, True, False]


def test_time_that_goes_backwards_gives_nothing():
    limit = RateLimit(1, 1.0)
    assert limit.allows(10.0)
    assert not limit.allows(5.0)
    assert not limit.ready(5.5)
    assert limit.ready(6.5)
