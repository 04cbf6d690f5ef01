"""Each way around the hook specification is refused, naming plugin, place and reason."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from enum import Enum, StrEnum

import pytest

from phoenixdkim.events import Event
from phoenixdkim.exporters import inspection
from phoenixdkim.exporters.inspection import PluginRefused, inspect_plugin
from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.metrics import Kind, MetricSpec
from phoenixdkim.options import Options


class Good:
    api_version = 1

    @hookimpl
    def phoenixdkim_event(self, event: Event, count: int, samples: Sequence[float]) -> None: ...


class Colour(StrEnum):
    RED = "red"


Large = Enum("Large", {f"M{n}": f"v{n}" for n in range(500)})


class MyOptions(Options):
    path: str
    depth: int = 3


@pytest.fixture
def refused(monkeypatch):
    """Messages with which a plugin class is refused."""

    def check(plugin, table=None):
        monkeypatch.setattr(inspection, "_load", lambda kind: (plugin() if callable(plugin) else plugin, "pkg 1.0"))
        with pytest.raises(PluginRefused) as caught:
            inspect_plugin("mine", table or {})
        return [fault.message for fault in caught.value.faults]

    return check


def test_a_plain_plugin_is_taken(monkeypatch):
    monkeypatch.setattr(inspection, "_load", lambda kind: (Good(), "pkg 1.0"))
    found = inspect_plugin("mine", {"interval": 3.0})
    assert found.options.interval == 3.0


def with_hook(**hooks):
    return type("Plugin", (Good,), hooks)


def hook(function, **options):
    return hookimpl(**options)(function) if options else hookimpl(function)


CASES = {
    "wrapper": (hook(lambda self, event: (yield), wrapper=True), "@hookimpl(wrapper=…) is not allowed"),
    "hookwrapper": (hook(lambda self, event: (yield), hookwrapper=True), "@hookimpl(hookwrapper=…) is not allowed"),
    "tryfirst": (hook(lambda self, event: None, tryfirst=True), "@hookimpl(tryfirst=…) is not allowed"),
    "trylast": (hook(lambda self, event: None, trylast=True), "@hookimpl(trylast=…) is not allowed"),
    "optionalhook": (hook(lambda self, event: None, optionalhook=True), "@hookimpl(optionalhook=…) is not allowed"),
    "extra argument": (hook(lambda self, event, domain: None), "has no argument 'domain'"),
    "default": (hook(lambda self, event, count=1: None), "argument 'count' has a default"),
    "extra default": (hook(lambda self, event, more=1: None), "has no argument 'more'"),
    "star": (hook(lambda self, *arguments: None), "'*' arguments are not allowed"),
    "keywords": (hook(lambda self, **arguments: None), "'*' arguments are not allowed"),
}


@pytest.mark.parametrize(("function", "message"), CASES.values(), ids=CASES)
def test_implementations(refused, function, message):
    found = refused(with_hook(phoenixdkim_event=function))
    assert any(message in text and "plugin 'mine'" in text and "phoenixdkim_event" in text for text in found), found


def test_specname(refused):
    found = refused(with_hook(on_event=hook(lambda self, event: None, specname="phoenixdkim_event")))
    assert any("specname" in text and "on_event" in text for text in found)


def test_a_misspelt_hook_names_the_nearest(refused):
    found = refused(with_hook(phoenixdkim_evnt=hook(lambda self, event: None)))
    assert found == ["plugin 'mine' (pkg 1.0): there is no hook 'phoenixdkim_evnt'; did you mean 'phoenixdkim_event'?"]


def test_an_unmarked_hook(refused):
    found = refused(with_hook(phoenixdkim_tick=lambda self: None))
    assert any("'phoenixdkim_tick' is not marked with @hookimpl" in text for text in found)


def test_wrong_annotations(refused):
    def event(self, event: str, count: float) -> None: ...

    found = refused(with_hook(phoenixdkim_event=hook(event)))
    assert any("'event' is annotated str" in text for text in found)
    assert any("'count' is annotated float" in text for text in found)


@pytest.mark.parametrize(("version", "message"), [(2, "needs API version 2"), (None, "does not say which API version")])
def test_api_versions(refused, version, message):
    found = refused(with_hook(api_version=version))
    assert len(found) == 1
    assert message in found[0]
    assert "this daemon has version 1" in found[0]


def test_no_hook_at_all(refused):
    assert "it implements no hook" in refused(type("Empty", (), {"api_version": 1}))[0]


def spec(name="phoenixdkim_exporter_x_total", kind=Kind.COUNTER, labels=None, **more):
    return MetricSpec(name, kind, more.pop("help", "Help."), labels or {}, **more)


METRICS = {
    "no spec": ("x", "MetricSpec is needed"),
    "free label": (spec(labels={"domain_name": str}), "must be an Enum"),
    "reserved label": (spec(labels={"domain": Colour}), "label 'domain' is reserved"),
    "le": (spec(labels={"le": Colour}), "label 'le' is reserved"),
    "large enum": (spec(labels={"big": Large}), "500 members; 64 is the most"),
    "integer enum": (spec(labels={"n": Enum("N", {"A": 1})}), "must have a value of 1 to 64 ASCII characters"),
    "strange value": (spec(labels={"n": Enum("N", {"A": "a b"})}), "letters, digits"),
    "core name": (spec(name="phoenixdkim_messages_total"), "starts with 'phoenixdkim_exporter_'"),
    "histogram": (spec(name="phoenixdkim_exporter_x", kind=Kind.HISTOGRAM), "is a counter or a gauge"),
    "no total": (spec(name="phoenixdkim_exporter_x"), "ends in '_total'"),
    "gauge total": (spec(kind=Kind.GAUGE), "ends in '_total'"),
    "no help": (spec(help=""), "a help text of one line"),
    "bad name": (spec(name="phoenixdkim_exporter_X-total"), "lower-case letters"),
}


@pytest.mark.parametrize(("metric", "message"), METRICS.values(), ids=METRICS)
def test_metrics(refused, metric, message):
    found = refused(with_hook(phoenixdkim_metrics=hook(lambda self: [metric])))
    assert any(message in text for text in found), found


def test_metrics_twice_or_too_many(refused):
    found = refused(with_hook(phoenixdkim_metrics=hook(lambda self: [spec(), spec()])))
    assert any("exists already" in text for text in found)
    many = Enum("Many", {f"M{n}": f"v{n}" for n in range(60)})
    found = refused(with_hook(phoenixdkim_metrics=hook(lambda self: [spec(labels={"a": many, "b": many})])))
    assert any("3600 label combinations; 200 is the most" in text for text in found)
    assert "a list or tuple is needed" in refused(with_hook(phoenixdkim_metrics=hook(lambda self: spec())))[0]


def test_hooks_that_raise_while_they_are_asked(refused):
    def options(self):
        raise SystemExit(3)

    def metrics(self):
        raise ValueError("no idea")

    found = refused(with_hook(phoenixdkim_options=hook(options), phoenixdkim_metrics=hook(metrics)))
    assert any("phoenixdkim_options: SystemExit: 3" in text for text in found)
    assert any("phoenixdkim_metrics: ValueError: no idea" in text for text in found)


def test_options_of_no_use(refused):
    found = refused(with_hook(phoenixdkim_options=hook(lambda self: dict)))
    assert any("a subclass of phoenixdkim.options.Options is needed" in text for text in found)


def test_all_faults_of_a_table_with_their_places(monkeypatch):
    plugin = with_hook(phoenixdkim_options=hook(lambda self: MyOptions))
    monkeypatch.setattr(inspection, "_load", lambda kind: (plugin(), "pkg 1.0"))
    with pytest.raises(PluginRefused) as caught:
        inspect_plugin("mine", {"depth": "deep", "pth": "/x", "interval": 0})
    assert sorted(fault.path for fault in caught.value.faults) == [
        ("mine", "depth"),
        ("mine", "interval"),
        ("mine", "path"),
        ("mine", "pth"),
    ]


def entry(name, value):
    return importlib.metadata.EntryPoint(name, value, "phoenixdkim.exporters")


def test_entry_points_that_are_missing_double_or_broken(monkeypatch):
    def refuse(kind, *entries):
        found = {}
        for point in entries:
            found.setdefault(point.name, []).append(point)
        monkeypatch.setattr(inspection, "installed", lambda: found)
        with pytest.raises(PluginRefused) as caught:
            inspect_plugin("mine", {"type": kind})
        return caught.value.faults[0].message

    assert "did you mean 'statsd'?" in refuse("statsdd", entry("statsd", "x:Y"))
    assert "installed are: none" in refuse("x")
    assert "several packages" in refuse("x", entry("x", "a:A"), entry("x", "b:B"))
    assert "failed to import: ModuleNotFoundError" in refuse("x", entry("x", "no_such_module_here:A"))
    with pytest.raises(PluginRefused, match="write the exporter's name in quotes"):
        inspect_plugin("mine", {"type": 3})
