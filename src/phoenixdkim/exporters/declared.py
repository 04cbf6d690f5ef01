"""Metrics that plugins declare: checked and frozen in one reading, compared with each other, read back from a page.

The plugin's own objects are read once. What it does to them later - members added to an enum, a value exchanged, a
label put into the mapping - has no effect: series are fixed by then, and a label is known by the member's identity.
"""

from __future__ import annotations

import itertools
import json
import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from phoenixdkim.events import MAX_COMBINATIONS, LabelError, closed_set
from phoenixdkim.metrics import (
    CATALOGUE,
    PLUGIN_PREFIX,
    RESERVED_LABELS,
    Constant,
    Kind,
    MetricSpec,
    plain_name,
)

MAX_SERIES: Final = 2 * MAX_COMBINATIONS
"""The most series that one plugin may declare."""
SCHEMA_OCTETS: Final = 128 * 1024
"""The most octets that the description of a plugin's metrics may have."""
_MAX_NAME: Final = 100
_MAX_HELP: Final = 300
_MAX_LABELS: Final = 10
_SUFFIXES: Final = ("_bucket", "_count", "_sum", "_created", "_info")
_DOTTED_START: Final = "exporter_"
_DOTTED: Final = frozenset(string.ascii_lowercase + string.digits + "_.-{}")
_VALUE: Final = frozenset(string.ascii_letters + string.digits + "_-.")
_CORE_NAMES: Final = frozenset(spec.name.removesuffix("_total") for spec in CATALOGUE)

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A metric as others see it: text only, each of its series written out."""

    name: str
    kind: Kind
    help: str
    dotted: str
    series: tuple[Labels, ...]


@dataclass(frozen=True, slots=True)
class Declared:
    """A plugin's metric as it was when it was checked.

    Attributes:
        shown: what others see of it.
        members: for each label its name, and the members of its enum in the order of ``shown.series``.
    """

    shown: Shown
    members: tuple[tuple[str, tuple[Enum, ...]], ...]

    def position(self, labels: Mapping[str, Enum]) -> int | None:
        """Which of the series has these labels; None when a label is missing, unknown or no member of its enum."""
        if len(labels) != len(self.members):
            return None
        found = 0
        for name, members in self.members:
            given = labels.get(name)
            for number, member in enumerate(members):
                if member is given:
                    found = found * len(members) + number
                    break
            else:
                return None
        return found


def declare(plugin: str, specs: object) -> tuple[tuple[Declared, ...], list[str]]:
    """Check and freeze the metrics of a plugin; those without fault, and what is wrong with the others.

    Args:
        plugin: the plugin, as the messages should name it.
        specs: what ``phoenixdkim_metrics`` returned.
    """
    if type(specs) not in (list, tuple):
        shown = type(specs).__name__
        return (), [f"{plugin}: phoenixdkim_metrics returned a {shown}; a list or tuple of MetricSpec is needed"]
    assert isinstance(specs, (list, tuple))
    if len(specs) > MAX_SERIES:
        return (), [f"{plugin}: phoenixdkim_metrics returned {len(specs)} metrics; {MAX_SERIES} series is the most"]
    found: list[Declared] = []
    faults: list[str] = []
    names: set[str] = set()
    dotted: set[str] = set()
    for spec in tuple(specs):
        made, wrong = _declare_one(plugin, spec)
        faults += wrong
        if made is None:
            continue
        # A counter's name without _total is a name too: OpenMetrics calls its family so.
        base = made.shown.name.removesuffix("_total")
        if base in _CORE_NAMES:
            faults.append(f"{plugin}: metric '{made.shown.name}' exists already: it is the core's")
        elif base in names:
            faults.append(f"{plugin}: metric '{made.shown.name}' exists already: it is declared twice")
        elif len(_dotted_names(made.shown)) < len(made.shown.series):
            faults.append(f"{plugin}: metric '{made.shown.name}': two of its series have the same dotted name")
        elif same := dotted & _dotted_names(made.shown):
            faults.append(f"{plugin}: metric '{made.shown.name}': another metric has the dotted name '{min(same)}' too")
        else:
            found.append(made)
            dotted |= _dotted_names(made.shown)
        names.add(base)
    if (total := sum(len(one.shown.series) for one in found)) > MAX_SERIES:
        faults.append(f"{plugin}: {total} series in all its metrics; {MAX_SERIES} is the most")
    elif len(schema_text([one.shown for one in found])) > SCHEMA_OCTETS:
        faults.append(f"{plugin}: the names, help texts and label values of its metrics are too long together")
    return tuple(found), faults


def _declare_one(plugin: str, spec: object) -> tuple[Declared | None, list[str]]:
    if type(spec) is not MetricSpec:
        return None, [
            f"{plugin}: metric {spec!r:.80} is a {type(spec).__name__}; phoenixdkim.metrics.MetricSpec is needed"
        ]
    name, kind, help_, dotted = spec.name, spec.kind, spec.help, spec.dotted
    if type(name) is not str or not plain_name(name) or len(name) > _MAX_NAME:
        return None, [
            f"{plugin}: metric {name!r:.120}: a name is at most {_MAX_NAME} lower-case letters, digits and underscores"
        ]
    where = f"{plugin}: metric '{name}'"
    faults = _name_faults(where, name, kind, spec.unit)
    if type(help_) is not str or not help_.strip() or not help_.isprintable() or len(help_) > _MAX_HELP:
        faults.append(f"{where}: a help text of one line and at most {_MAX_HELP} characters is needed")
    if spec.event is not None:
        faults.append(f"{where}: a plugin's metric counts no event; leave 'event' out and call context.add")
    labels, wrong = _label_faults(where, spec.labels)
    faults += wrong
    if wrong:
        return None, faults
    if (size := math.prod(len(members) for _, members in labels)) > MAX_COMBINATIONS:
        faults.append(f"{where}: {size} label combinations; {MAX_COMBINATIONS} is the most")
    faults += _dotted_faults(where, dotted, [label for label, _ in labels])
    if faults:
        return None, faults
    series = tuple(
        tuple(zip((label for label, _ in labels), values, strict=True))
        for values in itertools.product(*([value for _, value in members] for _, members in labels))
    )
    dotted = dotted or ".".join(
        [_DOTTED_START + name.removeprefix(PLUGIN_PREFIX).removesuffix("_total"), *(f"{{{n}}}" for n, _ in labels)]
    )
    shown = Shown(name, kind, help_, dotted, series)
    return Declared(shown, tuple((label, tuple(m for m, _ in members)) for label, members in labels)), []


def _name_faults(where: str, name: str, kind: object, unit: object) -> list[str]:
    faults: list[str] = []
    if not name.startswith(PLUGIN_PREFIX):
        faults.append(f"{where}: a plugin's metric starts with '{PLUGIN_PREFIX}'; other names are the core's")
    elif not name.removeprefix(PLUGIN_PREFIX).removesuffix("total").strip("_"):
        faults.append(f"{where}: the name is empty after '{PLUGIN_PREFIX}'; add what it measures")
    if kind not in (Kind.COUNTER, Kind.GAUGE) or not isinstance(kind, Kind):
        faults.append(f"{where}: its kind is {kind!s:.40}; a plugin's metric is Kind.COUNTER or Kind.GAUGE")
    if (kind is Kind.COUNTER) != name.endswith("_total"):
        faults.append(f"{where}: the name of a counter, and of nothing else, ends in '_total'")
    if name.removesuffix("_total").endswith(_SUFFIXES):
        ends = ", ".join(_SUFFIXES)
        faults.append(f"{where}: the endings {ends} are reserved: exposition formats add them to names themselves")
    if type(unit) is not str or (unit and not name.removesuffix("_total").endswith(f"_{unit}")):
        faults.append(f"{where}: its unit is {unit!r:.40}, so its name must end in it, before '_total'")
    return faults


def _label_faults(where: str, labels: object) -> tuple[list[tuple[str, tuple[tuple[Enum, str], ...]]], list[str]]:
    if not isinstance(labels, Mapping):
        return [], [f"{where}: labels are a {type(labels).__name__}; write a dict of names and enums"]
    found: list[tuple[str, tuple[tuple[Enum, str], ...]]] = []
    faults: list[str] = []
    seen: set[str] = set()
    # A mapping of a class of its own may repeat its items, or never end.
    items = tuple(itertools.islice(labels.items(), _MAX_LABELS + 1))
    if len(items) > _MAX_LABELS:
        return [], [f"{where}: more than {_MAX_LABELS} labels; {_MAX_LABELS} is the most"]
    for item in items:
        if type(item) is not tuple or len(item) != 2:
            return [], [f"{where}: labels.items() yielded a {type(item).__name__}; write a dict of names and enums"]
        label, kind = item
        if type(label) is not str or not plain_name(label) or len(label) > _MAX_NAME or label.startswith("__"):
            faults.append(f"{where}: label {label!r:.120} is no plain lower-case name")
            continue
        if label in RESERVED_LABELS:
            faults.append(f"{where}: label '{label}' is reserved; reserved are {', '.join(sorted(RESERVED_LABELS))}")
        if label in seen:
            faults.append(f"{where}: label '{label}' is repeated; write each label once")
            continue
        seen.add(label)
        if isinstance(kind, Constant):
            faults.append(f"{where}: label '{label}': constants are the core's alone; use an Enum")
            continue
        try:
            found.append((label, closed_set(where, label, kind)))
        except LabelError as error:
            faults.append(str(error))
    return found, faults


def _dotted_faults(where: str, dotted: object, labels: Sequence[str]) -> list[str]:
    if dotted == "":
        return []
    wrong = [
        f"{where}: dotted name {dotted!r:.120} can't be used; write '{_DOTTED_START}' first, then lower-case letters,"
        " digits, '_', '-', '.', and {label} once for each label - or leave it empty"
    ]
    if type(dotted) is not str or not dotted.startswith(_DOTTED_START) or not set(dotted) <= _DOTTED:
        return wrong
    if len(dotted) > 2 * _MAX_NAME or ".." in dotted or dotted.endswith("."):
        return wrong
    try:
        parts = [(text, field) for text, field, _, _ in string.Formatter().parse(dotted)]
    except ValueError:
        return wrong
    if any("{" in text or "}" in text for text, _ in parts):
        return wrong
    return [] if sorted(field for _, field in parts if field is not None) == sorted(labels) else wrong


def _dotted_names(metric: Shown) -> set[str]:
    return {metric.dotted.format_map(dict(labels)) for labels in metric.series}


def schema_text(metrics: Sequence[Shown]) -> bytes:
    """The description of a plugin's metrics, as it lies in its page and is told to the supervisor."""
    entries = [
        {"name": one.name, "kind": one.kind, "help": one.help, "dotted": one.dotted, "series": one.series}
        for one in metrics
    ]
    return json.dumps(entries).encode()


def read_schema(text: bytes) -> tuple[Shown, ...] | None:
    """Read a description; None when it is none, or not within the bounds.

    It comes from a process that plugin code runs in, so everything that was checked when it was made is checked again.
    """
    if len(text) > SCHEMA_OCTETS:
        return None
    try:
        found = tuple(_read_one(entry) for entry in json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    names = {one.name.removesuffix("_total") for one in found}
    dotted = set().union(*(_dotted_names(one) for one in found))
    series = sum(len(one.series) for one in found)
    if len(names) != len(found) or names & _CORE_NAMES or series > MAX_SERIES or len(dotted) != series:
        return None
    return found


def _read_one(entry: Any) -> Shown:
    name, help_, dotted = entry["name"], entry["help"], entry["dotted"]
    kind = Kind(entry["kind"])
    series = tuple(tuple((label, value) for label, value in labels) for labels in entry["series"])
    labels = [[label for label, _ in one] for one in series]
    if (
        not (isinstance(name, str) and isinstance(help_, str) and plain_name(name) and len(name) <= _MAX_NAME)
        or _name_faults("", name, kind, "")
        or not help_.strip()
        or not help_.isprintable()
        or len(help_) > _MAX_HELP
        or not 0 < len(series) <= MAX_COMBINATIONS
        or len(set(series)) != len(series)
        or any(names != labels[0] for names in labels)
        or len(set(labels[0])) != len(labels[0])
        or len(labels[0]) > _MAX_LABELS
        or any(not isinstance(n, str) or not plain_name(n) or len(n) > _MAX_NAME for n in labels[0])
        or any(n in RESERVED_LABELS or n.startswith("__") for n in labels[0])
        or any(not isinstance(v, str) or not 0 < len(v) <= 64 or not set(v) <= _VALUE for one in series for _, v in one)
        or not dotted
        or _dotted_faults("", dotted, labels[0])
    ):
        raise ValueError("no metric of a plugin")
    return Shown(name, kind, help_, dotted, series)


def clashes(declared: Mapping[str, tuple[str, tuple[Shown, ...]]]) -> dict[str, list[str]]:
    """What is wrong with several exporters' metrics beside each other, by exporter.

    Two instances of one plugin have the same metrics, whose values are added. Those of two plugins must differ.

    Args:
        declared: for each exporter its plugin's name and package, and its metrics; in order of the tables.
    """
    faults: dict[str, list[str]] = {}
    first: dict[str, tuple[str, str, Shown]] = {}
    for exporter, (plugin, metrics) in declared.items():
        for metric in metrics:
            base = metric.name.removesuffix("_total")
            known = first.setdefault(base, (exporter, plugin, metric))
            if known[1] == plugin and known[2] == metric:
                continue
            same = f"'{metric.name}'" if known[2].name == metric.name else f"'{metric.name}' (as '{known[2].name}')"
            what = (
                "with other labels, help or kind; one plugin declares the same metrics in each table"
                if known[1] == plugin
                else f"by {known[1]}; begin its name with '{PLUGIN_PREFIX}' and the name of your exporter"
            )
            faults.setdefault(exporter, []).append(
                f"{plugin}: metric {same} is declared by exporter '{known[0]}' already, {what}"
            )
        dotted = {name: one.name for one in metrics for name in _dotted_names(one)}
        for other, (other_plugin, others) in declared.items():
            if other == exporter:
                break
            if other_plugin == plugin:
                continue
            for one in others:
                shared = sorted(name for name in _dotted_names(one) if name in dotted and one.name != dotted[name])
                if shared:
                    faults.setdefault(exporter, []).append(
                        f"{plugin}: metric '{dotted[shared[0]]}' has the dotted name '{shared[0]}', which"
                        f" '{one.name}' of exporter '{other}' has already"
                    )
    return faults
