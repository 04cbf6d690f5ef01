"""Metrics of plugins: each way to a label without bounds, or to another's name, is refused with a reason."""

from __future__ import annotations

import enum
import itertools
import json
from enum import Enum, StrEnum
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phoenixdkim.events import DnsQuery
from phoenixdkim.exporters.declared import Shown, clashes, declare, read_schema, schema_text
from phoenixdkim.metrics import CATALOGUE, RESERVED_LABELS, Constant, Kind, MetricSpec


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class OnDemand(StrEnum):
    RED = "red"

    @classmethod
    def _missing_(cls, value):
        member = str.__new__(cls, value)
        member._name_, member._value_ = "NEW", value
        return member


class Bits(enum.Flag):
    A = 1
    B = 2


class NoBits(enum.Flag):
    NONE = 0


class Words(str):
    """Text that is another each time."""

    __slots__ = ()

    def __str__(self):
        raise AssertionError


class Sly(Enum):
    A = Words("a")


class Meta(enum.EnumType):
    def __iter__(cls):
        return iter(())


class Own(Enum, metaclass=Meta):
    A = "a b"


class Property(Enum):
    """``value`` lies; what is used is what the member was made with."""

    A = "honest"

    @property
    def value(self):
        raise AssertionError("not asked")


class OwnSpec(MetricSpec):
    """Would answer differently each time it is asked."""


Large = Enum("Large", {f"M{n}": f"v{n}" for n in range(500)})
Aliases = Enum("Aliases", {f"M{n}": "same" for n in range(500)})
Empty = Enum("Empty", {})
Lists = Enum("Lists", {"A": ["red"]})


def spec(name="phoenixdkim_exporter_x_total", kind=Kind.COUNTER, labels=None, **more):
    return MetricSpec(name, kind, more.pop("help", "Help."), labels or {}, **more)


LABELS = {
    "free": (str, "label 'x' is of type str; a label must be an Enum"),
    "number": (int, "label 'x' is of type int"),
    "none": (None, "label 'x' is of type None"),
    "member": (Colour.RED, "a label must be an Enum"),
    "union": (Colour | None, "a label must be an Enum"),
    "500 members": (Large, "enum Large has 500 members; 64 is the most"),
    "500 aliases": (Aliases, "enum Aliases has 500 members; 64 is the most"),
    "no members": (Empty, "enum Empty has no members"),
    "flag": (Bits, "Bits is a Flag, whose members combine into others"),
    "flag without bits": (NoBits, "NoBits is a Flag"),
    "on demand": (OnDemand, "enum OnDemand has a _missing_ method, which can make members on demand"),
    "metaclass": (Own, "enum Own has a metaclass of its own (Meta)"),
    "text of another type": (Sly, "Sly.A has the value 'a'; a text of 1 to 64 ASCII characters is needed"),
    "number value": (Enum("N", {"A": 1}), "N.A has the value 1;"),
    "list value": (Lists, "Lists.A has the value ['red'];"),
    "empty value": (Enum("N", {"A": ""}), "N.A has the value ''"),
    "long value": (Enum("N", {"A": "x" * 65}), "1 to 64 ASCII characters"),
    "8-bit value": (Enum("N", {"A": "gr\xfcn"}), "1 to 64 ASCII characters"),
    "blank": (Enum("N", {"A": "a b"}), "letters, digits, '_', '-' and '.' are allowed"),
    "quote": (Enum("N", {"A": 'a"b'}), "letters, digits"),
    "line": (Enum("N", {"A": "a\n"}), "letters, digits"),
    "statsd": (Enum("N", {"A": "a:1|c"}), "letters, digits"),
    "constant": (Constant.VERSION, "constants are the core's alone"),
    "constants": (Constant, ""),
}


@pytest.mark.parametrize(("kind", "message"), LABELS.values(), ids=LABELS)
def test_labels(kind, message):
    found, faults = declare("plugin 'mine' (pkg 1.0)", [spec(labels={"x": kind})])
    if not message:
        assert len(found[0].shown.series) == len(Constant), "an enum like any other"
        return
    assert found == ()
    (fault,) = faults
    assert fault.startswith("plugin 'mine' (pkg 1.0): metric 'phoenixdkim_exporter_x_total': ")
    assert message in fault


@pytest.mark.parametrize("label", [*sorted(RESERVED_LABELS), "Domain", "__name__", "a b", "", 3, "x" * 101])
def test_names_of_labels(label):
    _, (fault,) = declare("plugin 'mine'", [spec(labels={label: Colour})])
    assert "is reserved" in fault or "is no plain lower-case name" in fault


METRICS = {
    "the core's": (spec(name=CATALOGUE[1].name), "other names are the core's"),
    "the core's exporter_up": (spec(name="phoenixdkim_exporter_up", kind=Kind.GAUGE), "it is the core's"),
    "the core's family": (spec(name="phoenixdkim_exporter_lost", kind=Kind.GAUGE), "it is the core's"),
    "name of no text": (spec(name=3), "a name is at most 100"),
    "name of another type": (spec(name=Words("phoenixdkim_exporter_x_total")), "a name is at most 100"),
    "long": (spec(name="phoenixdkim_exporter_" + "x" * 100 + "_total"), "a name is at most 100"),
    "another's prefix": (spec(name="postfix_x_total"), "starts with 'phoenixdkim_exporter_'"),
    "kind of no kind": (spec(kind="counter"), "metric is Kind.COUNTER or Kind.GAUGE"),
    "bucket": (spec(name="phoenixdkim_exporter_x_bucket", kind=Kind.GAUGE), "_bucket, _count, _sum"),
    "sum": (spec(name="phoenixdkim_exporter_x_sum_total"), "_bucket, _count, _sum"),
    "created": (spec(name="phoenixdkim_exporter_x_created", kind=Kind.GAUGE), "are reserved"),
    "unit": (spec(unit="seconds"), "its name must end in it"),
    "help of two lines": (spec(help="a\nb"), "a help text of one line"),
    "long help": (spec(help="x" * 301), "at most 300 characters"),
    "event": (spec(event=DnsQuery), "counts no event; leave 'event' out and call context.add"),
    "labels of no mapping": (spec(labels=[("a", Colour)]), "labels are a list; write a dict"),
    "dotted of the core": (spec(dotted="messages"), "dotted name 'messages' can't be used"),
    "dotted of the supervisor": (spec(dotted="exporter.up.x"), "can't be used"),
    "dotted injection": (spec(dotted="exporter_x:1|c\nmessages"), "can't be used"),
    "dotted without label": (spec(dotted="exporter_x", labels={"c": Colour}), "{label} once for each label"),
    "dotted twice": (spec(dotted="exporter_{c}.{c}", labels={"c": Colour}), "can't be used"),
    "dotted format": (spec(dotted="exporter_{c", labels={"c": Colour}), "can't be used"),
    "dotted attribute": (spec(dotted="exporter_{c.name}", labels={"c": Colour}), "can't be used"),
    "own class": (OwnSpec("phoenixdkim_exporter_x_total", Kind.COUNTER, "X."), "is a OwnSpec"),
    "text": ("phoenixdkim_exporter_x_total", "is a str; phoenixdkim.metrics.MetricSpec is needed"),
}


@pytest.mark.parametrize(("metric", "message"), METRICS.values(), ids=METRICS)
def test_metrics(metric, message):
    found, faults = declare("plugin 'mine' (pkg 1.0)", [metric])
    assert found == ()
    assert all(fault.startswith("plugin 'mine' (pkg 1.0): metric ") for fault in faults)
    assert any(message in fault for fault in faults), faults


def test_series_are_bounded_for_a_metric_and_for_a_plugin():
    enums = {letter: Enum(letter, {f"M{n}": f"v{n}" for n in range(20)}) for letter in "abc"}
    _, faults = declare("p", [spec(labels=enums)])
    assert faults == ["p: metric 'phoenixdkim_exporter_x_total': 8000 label combinations; 200 is the most"]
    many = [spec(name=f"phoenixdkim_exporter_n{n}_total", labels={"a": enums["a"]}) for n in range(21)]
    assert declare("p", many[:20])[1] == []
    assert declare("p", many)[1] == ["p: 420 series in all its metrics; 400 is the most"]
    assert "returned 1000 metrics" in declare("p", [spec()] * 1000)[1][0]
    long = [
        spec(name=f"phoenixdkim_exporter_n{n}_total", labels={"x" * 90 + letter: Enum("E", {"A": "y" * 64, "B": "b"})
             for letter in "abcdef"}) for n in range(6)
    ]  # fmt: skip
    assert declare("p", long)[1] == ["p: the names, help texts and label values of its metrics are too long together"]


def test_what_is_declared_stays_as_it_was_checked():
    labels = {"colour": Colour}
    made = spec(labels=labels)
    (found,), faults = declare("p", (made,))
    assert faults == []
    labels["domain"] = Colour
    assert found.shown.series == ((("colour", "red"),), (("colour", "blue"),))
    assert found.position({"colour": Colour.BLUE}) == 1
    for wrong in (
        {},
        {"colour": "blue"},
        {"colour": None},
        {"domain": Colour.RED},
        {"colour": Colour.RED, "x": Colour.RED},
    ):
        assert found.position(wrong) is None


def test_values_are_those_that_members_were_made_with():
    (found,), faults = declare("p", [spec(labels=MappingProxyType({"x": Property}))])
    assert (faults, found.shown.series) == ([], ((("x", "honest"),),))


@given(st.lists(st.text(alphabet="abc_-.9Z", min_size=1, max_size=8), min_size=1, max_size=12, unique=True))
def test_a_description_is_read_as_it_was_written(values):
    labels = {"x": Enum("E", {f"M{n}": value for n, value in enumerate(values)})}
    found, faults = declare("p", [spec(labels=labels), spec(name="phoenixdkim_exporter_depth", kind=Kind.GAUGE)])
    assert faults == []
    shown = tuple(one.shown for one in found)
    assert read_schema(schema_text(shown)) == shown


def shown(name="phoenixdkim_exporter_x_total", series=((),), dotted="exporter_x"):
    return Shown(name, Kind.COUNTER, "X.", dotted, series)


class Items(dict):
    """A mapping whose items are what they are told to be."""

    def __init__(self, items):
        super().__init__(colour=Colour)
        self._items = items

    def items(self):
        return self._items()


@pytest.mark.parametrize(
    ("items", "fault"),
    [
        (lambda: [("colour", Colour), ("colour", Colour)], "label 'colour' is repeated"),
        (lambda: itertools.repeat(("colour", Colour)), "more than 10 labels"),
        (lambda: ((f"l{n}", Colour) for n in itertools.count()), "more than 10 labels"),
        (lambda: [("colour",)], "labels.items() yielded a tuple"),
        (lambda: [7], "labels.items() yielded a int"),
    ],
)
def test_labels_are_read_once_and_bounded(items, fault):
    found, faults = declare("p", [spec(labels=Items(items))])
    assert found == ()
    assert [fault in text for text in faults] == [True]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("phoenixdkim_exporter_", Kind.GAUGE),
        ("phoenixdkim_exporter__", Kind.GAUGE),
        ("phoenixdkim_exporter__total", Kind.COUNTER),
        ("phoenixdkim_exporter_total", Kind.COUNTER),
        ("phoenixdkim_exporter____total", Kind.COUNTER),
    ],
)
def test_a_name_says_more_than_the_prefix(name, kind):
    found, faults = declare("p", [spec(name=name, kind=kind)])
    assert found == ()
    assert any("the name is empty after 'phoenixdkim_exporter_'" in text for text in faults)


def test_dotted_names_of_one_plugin_differ():
    pair = [
        spec(name="phoenixdkim_exporter_a_total", labels={"colour": Colour}, dotted="exporter_a.{colour}"),
        spec(name="phoenixdkim_exporter_b_total", labels={}, dotted="exporter_a.red"),
    ]
    found, faults = declare("p", pair)
    assert len(found) == 1
    assert "another metric has the dotted name 'exporter_a.red' too" in faults[0]
    dots = {"x": Enum("X", {"A": "p.q", "B": "p"}), "y": Enum("Y", {"A": "r", "B": "q.r"})}
    assert "two of its series have the same dotted name" in declare("p", [spec(labels=dots)])[1][0]


@pytest.mark.parametrize("dotted", ["exporter_{{x}}", "exporter_a.}}", "exporter_{{"])
def test_a_dotted_name_has_no_braces_besides_its_labels(dotted):
    assert "can't be used" in declare("p", [spec(labels={}, dotted=dotted)])[1][0]


def entry(**changes):
    made = {"name": "phoenixdkim_exporter_x_total", "kind": "counter", "help": "X.", "dotted": "exporter_x"}
    return made | {"series": [[]]} | changes


@pytest.mark.parametrize(
    "forged",
    [
        b"\xff",
        b"[",
        b"[" * 100_000,
        b"7",
        b"[7]",
        b"[" + b"7" * 100_000 + b"]",
        [entry(name="phoenixdkim_messages_total")],
        [entry(name="phoenixdkim_exporter_up")],
        [entry(name="phoenixdkim_exporter_failures_total")],
        [entry(name="phoenixdkim_exporter__total")],
        [entry(), entry()],
        [entry(), entry(name="phoenixdkim_exporter_y_total")],
        [entry(name="phoenixdkim_exporter_x\n")],
        [entry(name=["phoenixdkim_exporter_x_total"])],
        [entry(kind="histogram")],
        [entry(help="a\nb")],
        [entry(help=" ")],
        [entry(help=7)],
        [entry(dotted="messages")],
        [entry(dotted="exporter_{x}")],
        [entry(dotted="exporter_{{x}}")],
        [entry(dotted=7)],
        [entry(series=[])],
        [entry(series=7)],
        [entry(series=[[], []])],
        [entry(series=[[["a", "b"]], [["a", "b"]]], dotted="exporter_x.{a}")],
        [entry(series=[[["a", "b"], ["a", "c"]]], dotted="exporter_x.{a}.{a}")],
        [entry(series=[[["a", "b"], ["a", "b"]]], dotted="exporter_x.{a}")],
        [entry(series=[[["a", "b"]], [["c", "d"]]], dotted="exporter_x.{a}")],
        [entry(series=[[["domain", "b"]]], dotted="exporter_x.{domain}")],
        [entry(series=[[["__a", "b"]]], dotted="exporter_x.{__a}")],
        [entry(series=[[["a", 'b"\n']]], dotted="exporter_x.{a}")],
        [entry(series=[[["a", ["b"]]]], dotted="exporter_x.{a}")],
        [entry(series=[[["a", f"v{n}"]] for n in range(201)], dotted="exporter_x.{a}")],
        [
            entry(
                name=f"phoenixdkim_exporter_x{m}_total",
                series=[[["a", f"v{n}"]] for n in range(200)],
                dotted=f"exporter_x{m}.{{a}}",
            )
            for m in range(3)
        ],
    ],
)
def test_a_forged_description_is_refused(forged):
    assert read_schema(json.dumps([entry()]).encode()) is not None
    assert read_schema(forged if isinstance(forged, bytes) else json.dumps(forged).encode()) is None


@given(st.binary(max_size=200))
def test_any_octets_are_a_description_or_none(text):
    read_schema(text)


def test_two_instances_of_one_plugin_do_not_clash():
    assert clashes({"a": ("plugin 'x' (p 1, m:X)", (shown(),)), "b": ("plugin 'x' (p 1, m:X)", (shown(),))}) == {}


def test_two_plugins_with_one_name_clash():
    found = clashes({"a": ("plugin 'x' (p)", (shown(),)), "b": ("plugin 'y' (q)", (shown(),))})
    assert found == {
        "b": [
            "plugin 'y' (q): metric 'phoenixdkim_exporter_x_total' is declared by exporter 'a' already, by plugin 'x'"
            " (p); begin its name with 'phoenixdkim_exporter_' and the name of your exporter"
        ]
    }


def test_a_counter_and_a_gauge_that_openmetrics_would_name_alike_clash():
    gauge = Shown("phoenixdkim_exporter_x", Kind.GAUGE, "X.", "exporter_y", ((),))
    found = clashes({"a": ("p", (shown(),)), "b": ("q", (gauge,))})
    assert "'phoenixdkim_exporter_x' (as 'phoenixdkim_exporter_x_total')" in found["b"][0]


def test_dotted_names_clash_too():
    other = shown("phoenixdkim_exporter_y_total")
    assert "has the dotted name 'exporter_x'" in clashes({"a": ("p", (shown(),)), "b": ("q", (other,))})["b"][0]


def test_dotted_names_clash_when_labels_are_filled_in():
    series = ((("a", "b"),),)
    other = shown("phoenixdkim_exporter_y_total", series, "exporter_x.{a}")
    found = clashes({"a": ("p", (shown(dotted="exporter_x.b"),)), "b": ("q", (other,))})
    assert "has the dotted name 'exporter_x.b'" in found["b"][0]


def test_one_plugin_that_declares_different_metrics_in_two_tables():
    other = shown(series=((("a", "b"),),), dotted="exporter_x.{a}")
    found = clashes({"a": ("p", (shown(),)), "b": ("p", (other,))})
    assert "one plugin declares the same metrics in each table" in found["b"][0]
