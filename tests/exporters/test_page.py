"""An exporter's page: what a kill leaves undelivered is counted, exactly once."""

from __future__ import annotations

import json
import os
from enum import StrEnum

import pytest

from phoenixdkim.exporters.declared import declare
from phoenixdkim.exporters.page import _OWN, _SCHEMA, _SCHEMA_LENGTH, EVENTS, HostPage, Page, make_page
from phoenixdkim.ledger import LAYOUT, LedgerError, read_only_descriptor, sealed_memory
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


def test_what_was_lost_in_a_tick_is_not_counted_again_by_a_successor(fd):
    page = HostPage(fd, "test")
    page.take(totals(s1=5, s2=3, s3=2))
    page.add_lost(5)
    assert HostPage(fd, "test").recover() == 10, "nothing was noted, so all of it is lost, once"
    page = HostPage(fd, "test")
    page.take(totals(s1=10, s2=6, s3=4))
    page.add_lost(5)
    page.delivered(2)
    page.add_lost(2)
    successor = HostPage(fd, "test")
    assert successor.recover() == 2
    assert successor.lost == 10 + 5 + 2
    successor.add_lost(4)
    assert HostPage(fd, "test").lost == 21, "what is lost between two ticks is noted at once"


def test_failures_and_deaths_are_one_number(fd):
    host, supervisor = HostPage(fd, "test"), Page(fd, "test", writable=True)
    host.add_failure()
    supervisor.add_death()
    supervisor.set_up(True)
    seen = Page(read_only_descriptor(fd), "test")
    assert (seen.failures, seen.up) == (2, 1)


def test_own_metrics_are_shown_by_everybody_and_outlive_the_process(fd):
    page = HostPage(fd, "test")
    page.declare(frozen(PAINTED, DEPTH))
    page.add(PAINTED, {"colour": Colour.RED}, 3)
    page.set(DEPTH, {}, 1.5)
    again = HostPage(fd, "test")
    again.declare(frozen(PAINTED, DEPTH))
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
    again.declare(frozen(DEPTH))
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
    page.declare(frozen(PAINTED, DEPTH))
    with pytest.raises(ValueError, match="exporter 'test'"):
        page.add(metric, labels, amount)


def test_a_counter_can_not_be_set(fd):
    page = HostPage(fd, "test")
    page.declare(frozen(PAINTED, DEPTH))
    with pytest.raises(ValueError, match="is a counter; use add"):
        page.set(PAINTED, {"colour": Colour.RED}, 1)
    for value in (float("nan"), float("inf"), "1", None):
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
    samples = Page(read_only_descriptor(fd), "test").families()[0].samples
    assert [(sample.labels, sample.value) for sample in samples] == [
        ((("pattern", "dots"),), 1),
        ((("pattern", "lines"),), 0),
    ]


def write_schema(fd, text):
    """Write a description past all checks, as a plugin that looks for its page's memory can."""
    page = HostPage(fd, "test")
    page._words[_SCHEMA_LENGTH] = 0
    page._map[8 * _SCHEMA : 8 * _SCHEMA + len(text)] = text
    page._words[_SCHEMA_LENGTH] = len(text)


def entry(**changes):
    made = {"name": "phoenixdkim_exporter_x_total", "kind": "counter", "help": "X.", "dotted": "exporter_x"}
    return made | {"series": [[]]} | changes


@pytest.mark.parametrize(
    "forged",
    [
        b"\xff",
        b"[",
        b"7",
        b"[7]",
        json.dumps([entry(name="phoenixdkim_messages_total")]).encode(),
        json.dumps([entry(), entry()]).encode(),
        json.dumps([entry(name="phoenixdkim_exporter_x\n")]).encode(),
        json.dumps([entry(kind="histogram")]).encode(),
        json.dumps([entry(help="a\nb")]).encode(),
        json.dumps([entry(dotted="messages")]).encode(),
        json.dumps([entry(dotted="exporter_{x}")]).encode(),
        json.dumps([entry(series=[])]).encode(),
        json.dumps([entry(series=[[], []])]).encode(),
        json.dumps([entry(series=[[["a", "b"]], [["c", "d"]]], dotted="exporter_x.{a}")]).encode(),
        json.dumps([entry(series=[[["domain", "b"]]], dotted="exporter_x.{domain}")]).encode(),
        json.dumps([entry(series=[[["a", 'b"\n']]], dotted="exporter_x.{a}")]).encode(),
        json.dumps([entry(series=[[["a", f"v{n}"]] for n in range(201)], dotted="exporter_x.{a}")]).encode(),
        json.dumps(
            [
                entry(
                    name=f"phoenixdkim_exporter_x{m}_total",
                    series=[[["a", f"v{n}"]] for n in range(200)],
                    dotted=f"exporter_x{m}.{{a}}",
                )
                for m in range(3)
            ]
        ).encode(),
    ],
)
def test_a_forged_description_is_not_shown(fd, forged):
    write_schema(fd, json.dumps([entry()]).encode())
    reader = Page(read_only_descriptor(fd), "test")
    assert [family.spec.name for family in reader.families()] == ["phoenixdkim_exporter_x_total"]
    write_schema(fd, forged)
    assert reader.families() == []


def test_layouts_are_bounded_over_time_too(fd):
    reader = Page(read_only_descriptor(fd), "test")
    shown = set()
    for number in range(50):
        write_schema(fd, json.dumps([entry(series=[[["a", f"v{number}"]]], dotted="exporter_x.{a}")]).encode())
        shown |= {sample.labels for family in reader.families() for sample in family.samples}
    assert len(shown) == 8


def test_a_gauge_that_was_tampered_with_is_no_trap_for_other_exporters(fd):
    page = HostPage(fd, "test")
    page.declare(frozen(DEPTH))
    page._floats[_OWN] = float("nan")
    assert page.families()[0].samples[0].value == 0


def test_an_exporter_of_states_loses_nothing_by_a_kill(fd):
    page = HostPage(fd, "test")
    page.take(totals(s1=5))
    assert HostPage(fd, "test").recover(takes_events=False) == 0
    assert HostPage(fd, "test").recover() == 0
    assert page.lost == 0


def test_memory_that_is_no_page_is_refused():
    fd = sealed_memory("test", 4096)
    with pytest.raises(LedgerError, match="exporter 'x'"):
        Page(fd, "x")
    os.close(fd)
