"""An exporter's page: what a kill leaves undelivered is counted, exactly once."""

from __future__ import annotations

import os
from enum import StrEnum

import pytest

from phoenixdkim.exporters.page import EVENTS, HostPage, Page, make_page
from phoenixdkim.ledger import LAYOUT, LedgerError, read_only_descriptor, sealed_memory
from phoenixdkim.metrics import Kind, MetricSpec


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


PAINTED = MetricSpec("phoenixdkim_exporter_painted_total", Kind.COUNTER, "Painted.", {"colour": Colour})
DEPTH = MetricSpec("phoenixdkim_exporter_depth", Kind.GAUGE, "Depth.")


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
    assert successor.recover() == lost
    assert successor.recover() == 0, "once"
    assert (successor.lost, Page(read_only_descriptor(fd), "test").lost) == (lost, lost)
    assert successor.take(totals(s1=6, s2=3, s3=2)) == [(1, 1)]


def test_what_is_settled_is_not_counted_again(fd):
    page = HostPage(fd, "test")
    page.take(totals(s1=5))
    page.add_lost(5)
    page.settle()
    assert HostPage(fd, "test").recover() == 0
    assert page.lost == 5


def test_failures_and_deaths_are_one_number(fd):
    host, supervisor = HostPage(fd, "test"), Page(fd, "test", writable=True)
    host.add_failure()
    supervisor.add_death()
    supervisor.set_up(True)
    seen = Page(read_only_descriptor(fd), "test")
    assert (seen.failures, seen.up) == (2, 1)


def test_own_metrics_are_shown_by_everybody_and_outlive_the_process(fd):
    page = HostPage(fd, "test")
    page.declare([PAINTED, DEPTH])
    page.add(PAINTED, {"colour": Colour.RED}, 3)
    page.set(DEPTH, {}, 1.5)
    again = HostPage(fd, "test")
    again.declare([PAINTED, DEPTH])
    again.add(PAINTED, {"colour": Colour.RED}, 1)
    found = {
        (family.spec.name, sample.labels): sample.value
        for family in Page(read_only_descriptor(fd), "test").families()
        for sample in family.samples
    }
    assert found == {
        ("phoenixdkim_exporter_painted_total", (("colour", "red"),)): 4,
        ("phoenixdkim_exporter_painted_total", (("colour", "blue"),)): 0,
        ("phoenixdkim_exporter_depth", ()): 1.5,
    }
    again.declare([DEPTH])
    assert [family.spec.name for family in again.families()] == ["phoenixdkim_exporter_depth"]
    assert again.families()[0].samples[0].value == 0, "another layout begins at zero"


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
    page.declare([PAINTED, DEPTH])
    with pytest.raises(ValueError, match="exporter 'test'"):
        page.add(metric, labels, amount)


def test_a_counter_can_not_be_set(fd):
    page = HostPage(fd, "test")
    page.declare([PAINTED])
    with pytest.raises(ValueError, match="only a gauge"):
        page.set(PAINTED, {"colour": Colour.RED}, 1)


def test_too_many_series_are_refused(fd):
    page = HostPage(fd, "test")
    specs = [
        MetricSpec(f"phoenixdkim_exporter_n{number}_total", Kind.COUNTER, "N.", {"colour": Colour})
        for number in range(300)
    ]
    with pytest.raises(ValueError, match="600 series"):
        page.declare(specs)


def test_memory_that_is_no_page_is_refused():
    fd = sealed_memory("test", 4096)
    with pytest.raises(LedgerError, match="exporter 'x'"):
        Page(fd, "x")
    os.close(fd)
