"""An exporter's page: what a kill leaves undelivered is counted, exactly once."""

from __future__ import annotations

import ctypes
import os
import random
from contextlib import closing
from enum import StrEnum

import pytest

from phoenixdkim.exporters.declared import declare
from phoenixdkim.exporters.page import EVENTS, MOST, SIZE, HostPage, Page, make_page
from phoenixdkim.exporters.record import RecordWriter
from phoenixdkim.ledger import LAYOUT, STRIPES, LedgerError, read_only_descriptor, shared_memory
from phoenixdkim.metrics import Kind, MetricSpec


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


PAINTED = MetricSpec("phoenixdkim_exporter_painted_total", Kind.COUNTER, "Painted.", {"colour": Colour})
DEPTH = MetricSpec("phoenixdkim_exporter_depth", Kind.GAUGE, "Depth.")


def frozen(*specs):
    found, faults = declare("plugin 'test'", list(specs))
    assert faults == []
    return found


@pytest.fixture
def fd():
    made = make_page("test")
    yield made
    os.close(made)


def totals(**counts):
    made = [0] * LAYOUT.slots
    for slot, count in counts.items():
        made[int(slot[1:])] = count
    return made


HIGHEST = [2**63] * LAYOUT.slots


def recovered(page, takes_events=True):
    """How many events a successor counts as lost in a page that is intact."""
    found = page.recover(HIGHEST, [0] * STRIPES, takes_events=takes_events)
    assert not found.reset
    return found.lost


def test_take_gives_differences(fd):
    page = HostPage(fd, "test")
    assert page.take(totals(s1=5, s7=2)) == [(1, 5), (7, 2)]
    page.settle()
    assert page.take(totals(s1=5, s7=9)) == [(7, 7)]
    page.settle()
    assert page.take(totals(s1=5, s7=9)) == []
    assert len(LAYOUT.events) == EVENTS


@pytest.mark.parametrize(("delivered", "lost"), [(0, 10), (1, 5), (2, 2), (3, 0)])
def test_a_successor_counts_what_was_taken_and_not_delivered(fd, delivered, lost):
    page = HostPage(fd, "test")
    page.take(totals(s1=5, s2=3, s3=2))
    page.delivered(delivered)
    successor = HostPage(fd, "test")
    assert recovered(successor) == lost
    assert recovered(successor) == 0, "once"
    assert (successor.lost, reading(fd).lost) == (lost, lost)
    assert successor.take(totals(s1=6, s2=3, s3=2)) == [(1, 1)]


def test_what_is_settled_is_not_counted_again(fd):
    page = HostPage(fd, "test")
    page.take(totals(s1=5))
    page.add_lost(5)
    page.settle()
    assert recovered(HostPage(fd, "test")) == 0
    assert page.lost == 5


def test_what_was_lost_in_a_tick_is_not_counted_again_by_a_successor(fd):
    page = HostPage(fd, "test")
    page.take(totals(s1=5, s2=3, s3=2))
    page.add_lost(5)
    assert recovered(HostPage(fd, "test")) == 10, "nothing was noted, so all of it is lost, once"
    page = HostPage(fd, "test")
    page.take(totals(s1=10, s2=6, s3=4))
    page.add_lost(5)
    page.delivered(2)
    page.add_lost(2)
    successor = HostPage(fd, "test")
    assert recovered(successor) == 2
    assert successor.lost == 10 + 5 + 2
    successor.add_lost(4)
    assert HostPage(fd, "test").lost == 21, "what is lost between two ticks is noted at once"


def own(fd):
    """The words of the first two series, and the number of failures."""
    found = reading(fd).read()
    return found.own[:3], found.failures


def test_own_metrics_are_kept_for_a_successor_with_the_same_layout(fd):
    page = HostPage(fd, "test")
    page.declare(frozen(PAINTED))
    page.add(PAINTED, {"colour": Colour.RED}, 3)
    page.add_failure()
    again = HostPage(fd, "test")
    again.declare(frozen(PAINTED))
    again.add(PAINTED, {"colour": Colour.RED}, 1)
    assert own(fd) == ((4, 0, 0), 1)
    again.declare(frozen(DEPTH, PAINTED))
    assert own(fd) == ((0, 0, 0), 1), "another layout begins at zero"


def test_a_counter_stops_at_the_highest_exact_total(fd):
    page = HostPage(fd, "test")
    page.declare(frozen(PAINTED))
    for _ in range(3):
        page.add(PAINTED, {"colour": Colour.RED}, MOST)
    assert own(fd) == ((MOST, 0, 0), 0)


@pytest.mark.parametrize(
    ("metric", "labels", "amount"),
    [
        (PAINTED, {"colour": "red"}, 1),
        (PAINTED, {}, 1),
        (PAINTED, {"colour": Colour.RED}, -1),
        (DEPTH, {}, 1),
        (MetricSpec("phoenixdkim_exporter_other_total", Kind.COUNTER, "Other."), {}, 1),
    ],
)
def test_only_declared_counters_with_members_of_their_enums_can_be_added_to(fd, metric, labels, amount):
    page = HostPage(fd, "test")
    page.declare(frozen(PAINTED, DEPTH))
    with pytest.raises(ValueError, match="exporter 'test'"):
        page.add(metric, labels, amount)


def test_a_counter_can_not_be_set(fd):
    page = HostPage(fd, "test")
    page.declare(frozen(PAINTED, DEPTH))
    with pytest.raises(ValueError, match="is a counter; use add"):
        page.set(PAINTED, {"colour": Colour.RED}, 1)
    for value in (float("nan"), float("inf"), -float("inf"), 10**400, 10**5000, "1", None):
        with pytest.raises(ValueError, match="is no finite number"):
            page.set(DEPTH, {}, value)


def test_the_message_of_a_wrong_label_says_what_is_wanted(fd):
    page = HostPage(fd, "test")
    page.declare(frozen(PAINTED))
    with pytest.raises(ValueError, match="with labels colour: a member of Colour; given are colour: 'red'"):
        page.add(PAINTED, {"colour": "red"}, 1)


def test_a_metric_declared_later_than_its_hook_is_refused(fd):
    page = HostPage(fd, "test")
    page.declare(frozen(PAINTED))
    late = MetricSpec("phoenixdkim_exporter_late_total", Kind.COUNTER, "Late.", {"colour": Colour})
    with pytest.raises(ValueError, match="was not declared; return it from phoenixdkim_metrics"):
        page.add(late, {"colour": Colour.RED}, 1)


def test_what_becomes_of_an_enum_later_has_no_effect_on_slots(fd):
    class Pattern(StrEnum):
        DOTS = "dots"
        LINES = "lines"

    labels = {"pattern": Pattern}
    spec = MetricSpec("phoenixdkim_exporter_pattern_total", Kind.COUNTER, "Patterns.", labels)
    page = HostPage(fd, "test")
    declared = frozen(spec)
    # As mail could be told to do: another member by hand, another value, another label.
    new = str.__new__(Pattern, "secret.example")
    new._name_, new._value_ = "NEW", "secret.example"
    Pattern._member_map_["NEW"] = new
    Pattern._member_names_.append("NEW")
    Pattern._value2member_map_["secret.example"] = new
    Pattern.DOTS._value_ = "other.example"
    labels["domain"] = Pattern
    assert new in Pattern
    page.declare(declared)
    page.add(spec, {"pattern": Pattern.DOTS}, 1)
    for wrong in ({"pattern": new}, {"pattern": Pattern.DOTS, "domain": new}, {"domain": Pattern.DOTS}):
        with pytest.raises(ValueError, match="was declared with labels pattern"):
            page.add(spec, wrong, 1)
    assert own(fd)[0] == (1, 0, 0)


def test_an_exporter_of_states_loses_nothing_by_a_kill(fd):
    page = HostPage(fd, "test")
    page.take(totals(s1=5))
    assert recovered(HostPage(fd, "test"), takes_events=False) == 0
    assert recovered(HostPage(fd, "test")) == 0
    assert page.lost == 0


def test_memory_that_is_no_page_is_refused():
    fd = shared_memory("test", 4096)
    with pytest.raises(LedgerError, match="exporter 'x'"):
        Page(fd, "x")
    os.close(fd)


# Pages that no process of ours left so.


def used_page(fd):
    """A page in use: two ticks settled, one under way, own metrics; returns the ledger's totals."""
    page = HostPage(fd, "test")
    page.declare(frozen(PAINTED, DEPTH))
    page.add(PAINTED, {"colour": Colour.RED}, 3)
    for number in (5, 9):
        page.take(totals(s1=number, s2=2 * number))
        page.settle()
    page.take(totals(s1=10, s2=20, s3=4))
    page.delivered(1)
    return totals(s1=12, s2=20, s3=4)


def goes_on(fd, now):
    """Be a successor: recover, tick, stop. Nothing may raise, and no more events than there are may be delivered."""
    with closing(RecordWriter("test")) as record:
        facts = record.read()
    page = HostPage(fd, "test")
    found = page.recover(now, [7] * STRIPES, facts)
    page.declare(frozen(PAINTED, DEPTH))
    assert found.lost <= sum(now)
    page.beat(1)
    page.add_failure()
    page.add(PAINTED, {"colour": Colour.RED}, 1)
    page.ring_heads()
    later = [total + 1 for total in now]
    entries = page.take(later)
    assert all(0 < count <= later[slot] for slot, count in entries)
    page.delivered(len(entries))
    page.add_lost(2)
    page.settle()
    page.add_lost(1)
    assert page.settled_tick == page.tick
    assert reading(fd).read() is not None, "the page is sound again"
    return found, entries


@pytest.mark.parametrize("word", range(20))
@pytest.mark.parametrize("value", [0, 1, 2**31, 2**53, 2**53 + 1, 2**63, 2**64 - 1])
def test_a_successor_goes_on_whatever_a_word_of_the_header_says(fd, word, value):
    now = used_page(fd)
    page = HostPage(fd, "test")
    page._words[word] = value
    reading(fd).read()
    goes_on(fd, now)


@pytest.mark.parametrize("seed", range(30))
def test_a_successor_goes_on_whatever_the_page_says(fd, seed):
    chance = random.Random(seed)
    now = used_page(fd)
    size = chance.choice([8, 64, 4096, SIZE])
    start = 0 if size == SIZE else chance.randrange(0, SIZE - size, 8)
    os.pwrite(fd, chance.randbytes(size), start)
    page = HostPage(fd, "test")
    # The process that is running when it happens.
    page.beat(1)
    page.add_failure()
    page.take(now)
    page.add_lost(5)
    page.settle()
    goes_on(fd, now)


@pytest.mark.parametrize(("start", "length"), [(0, SIZE), (0, 4096), (4096, 4096), (SIZE - 4096, 4096)])
def test_events_are_not_delivered_twice_after_a_hole(fd, start, length):
    now = used_page(fd)
    HostPage(fd, "test").settle()
    punch_hole(fd, start, length)
    found, entries = goes_on(fd, now)
    assert found.lost == 0
    counts = dict(entries)
    # One more each than at the recovery; what was not taken before may be left out, and never comes twice.
    assert counts[2] in (1, 2) and counts[1] <= 3


def reading(fd):
    """The page as others read it."""
    descriptor = read_only_descriptor(fd)
    try:
        return Page(descriptor, "test")
    finally:
        os.close(descriptor)


def punch_hole(fd, start, length):
    libc = ctypes.CDLL(None, use_errno=True)
    keep_size_and_punch = 0x01 | 0x02
    assert libc.fallocate(fd, keep_size_and_punch, ctypes.c_long(start), ctypes.c_long(length)) == 0


def test_a_reset_page_goes_on_from_the_record(fd):
    now = used_page(fd)
    with closing(RecordWriter("test")) as record:
        record.accept([one.shown for one in frozen(PAINTED, DEPTH)])
        record.keep(6, 11, [3, 1, 0])
        facts = record.read()
    os.pwrite(fd, b"\0" * 8, 0)
    page = HostPage(fd, "test")
    assert page.recover(now, [7] * STRIPES, facts).reset
    page.declare(frozen(PAINTED, DEPTH))
    found = reading(fd).read()
    assert (found.failures, found.lost, found.own[:3]) == (6, 11, (3, 1, 0))
    assert (page.taken(), page.ring_heads()) == (now[:EVENTS], [7] * STRIPES)
