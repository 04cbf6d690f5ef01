"""Each way around the hook specification is refused, naming plugin, place and reason."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import ClassVar, Literal, Self

import pluggy
import pytest
from pydantic import ConfigDict, Field, model_validator

from phoenixdkim.events import Event, MessageProcessed
from phoenixdkim.exporters import inspection, interface, packages
from phoenixdkim.exporters.inspection import PluginRefused, inspect_plugin
from phoenixdkim.exporters.packages import InstalledExporter
from phoenixdkim.hookspecs import HookSpecs, hookimpl
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


@dataclass
class Found:
    """An installed exporter."""

    load: object

    def __str__(self) -> str:
        return "plugin 'mine' (pkg 1.0)"


@pytest.fixture
def refused(monkeypatch):
    """Messages with which a plugin class is refused."""

    def check(plugin, table=None):
        monkeypatch.setattr(inspection, "find_exporter", lambda kind: Found(lambda: plugin))
        with pytest.raises(PluginRefused) as caught:
            inspect_plugin("mine", table or {})
        return [fault.message for fault in caught.value.faults]

    return check


def test_a_plain_plugin_is_taken(monkeypatch):
    monkeypatch.setattr(inspection, "find_exporter", lambda kind: Found(lambda: Good))
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
    "extra argument": (
        hook(lambda self, event, domain: None),
        "there is no argument 'domain'; it may take: event, count, samples",
    ),
    "default": (hook(lambda self, event, count=1: None), "argument 'count' has a default"),
    "extra default": (hook(lambda self, event, more=1: None), "there is no argument 'more'"),
    "star": (hook(lambda self, *arguments: None), "'*' and '/' are not allowed"),
    "keywords": (hook(lambda self, **arguments: None), "'*' and '/' are not allowed"),
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


@pytest.mark.parametrize(("version", "message"), [(2, "is written for API version 2"), (None, "add 'api_version = 1'")])
def test_api_versions(refused, version, message):
    found = refused(with_hook(api_version=version))
    assert len(found) == 1
    assert message in found[0]
    assert found[0].startswith("plugin 'mine' (pkg 1.0): it ")


class Dynamic(Good):
    """Shows one thing when it is checked and another when it is registered."""

    @property
    def phoenixdkim_tick(self):
        return hook(lambda self, now: None, tryfirst=True).__get__(self)


class Surprising(Good):
    def __dir__(self):
        return [*super().__dir__(), "phoenixdkim_stop"]

    def __getattr__(self, name):
        if name == "phoenixdkim_stop":
            return hook(lambda deadline: None, trylast=True)
        raise AttributeError(name)


class Callable:
    phoenixdkim_impl: ClassVar = dict.fromkeys(interface._FORBIDDEN_OPTIONS)

    def __call__(self, now):
        return None


def test_hooks_that_are_made_on_the_fly(refused):
    assert any("'phoenixdkim_tick' is a property, which is never called" in text for text in refused(Dynamic))


def test_what_is_called_is_what_was_checked(refused, monkeypatch):
    """Versions of pluggy before 1.7 look at a plugin by getattr, which may answer otherwise the second time."""
    plain = Good()
    manager = pluggy.PluginManager("phoenixdkim")
    manager.add_hookspecs(HookSpecs)
    manager.register(plain)
    (message,) = interface.check_registered(manager, plain, {}, "plugin 'mine'")
    assert message.startswith("plugin 'mine': 'phoenixdkim_event' is made on the fly")
    monkeypatch.setattr(inspection, "check_registered", lambda *_: [message])
    assert refused(Surprising) == [message]


def test_what_pluggy_would_pass_over(refused):
    found = refused(with_hook(phoenixdkim_tick=Callable()))
    assert any("'phoenixdkim_tick' is a Callable, which pluggy does not call" in text for text in found)


def test_hooks_that_would_never_run(refused):
    async def tick(self, now):
        raise AssertionError

    def stop(self, deadline):
        yield

    async def start(self, context):
        yield

    found = refused(with_hook(phoenixdkim_tick=hook(tick), phoenixdkim_stop=hook(stop), phoenixdkim_start=hook(start)))
    assert [text.count("would never run") for text in found] == [1, 1, 1]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (hook(lambda self, now=0.0: None), "'now' has a default"),
        (hook(lambda self, now, /: None), "'*' and '/' are not allowed"),
        (hook(lambda self, *, now: None), "'*' and '/' are not allowed"),
        (hook(lambda self, event: None), "there is no argument 'event'; it may take: now"),
    ],
)
def test_arguments_of_tick(refused, function, message):
    assert any(message in text for text in refused(with_hook(phoenixdkim_tick=function)))


def test_arguments_of_a_hook_that_has_none(refused):
    found = refused(with_hook(phoenixdkim_metrics=hook(lambda self, context: [])))
    assert found == [
        "plugin 'mine' (pkg 1.0): 'phoenixdkim_metrics': there is no argument 'context'; it takes no argument but self"
    ]


def test_annotations_one_by_one(refused, monkeypatch):
    def narrow(self, event: MessageProcessed, count: "NoSuchName", samples: list[float]) -> None: ...  # noqa: F821, UP037

    def returning(self, now: int) -> str: ...

    found = refused(with_hook(phoenixdkim_event=hook(narrow), phoenixdkim_tick=hook(returning)))
    assert found == [
        "plugin 'mine' (pkg 1.0): 'phoenixdkim_event': 'event' is annotated MessageProcessed; the hook has Event",
        "plugin 'mine' (pkg 1.0): 'phoenixdkim_event': 'samples' is annotated list[float]; the hook has"
        " collections.abc.Sequence[float]",
        "plugin 'mine' (pkg 1.0): 'phoenixdkim_tick': 'now' is annotated int; the hook has float",
        "plugin 'mine' (pkg 1.0): 'phoenixdkim_tick': 'return' is annotated str; the hook has NoneType",
    ]


def test_all_kinds_of_fault_at_once(refused):
    """Interface, metrics and table: nobody mends one and meets the next."""
    plugin = with_hook(
        phoenixdkim_evnt=hook(lambda self, event: None),
        phoenixdkim_tick=lambda self: None,
        phoenixdkim_metrics=hook(lambda self: [spec(labels={"who": str})]),
        phoenixdkim_options=hook(lambda self: MyOptions),
    )
    found = refused(plugin, {"pth": "/x", "interval": 0})
    for text in (
        "no hook 'phoenixdkim_evnt'",
        "'phoenixdkim_tick' is not marked",
        "label 'who' is of type str",
        "Field required",
        "Extra inputs",
        "greater than or equal",
    ):
        assert any(text in one for one in found), text


class Loose(MyOptions):
    model_config = ConfigDict(extra="allow", strict=False)


class Slow(Options):
    stop_timeout: float = 3600


class Named(Options):
    user: str = "root"


class Required(Options):
    memory_limit: int


class Bounded(Options):
    memory_limit: int = Field(default=256, ge=1)


class Kinds(Options):
    type: Literal["", "mine"] = ""


class Inheriting(Slow):
    pass


class Assigning(Options):
    @model_validator(mode="after")
    def more(self):
        object.__setattr__(self, "memory_limit", 65536)
        return self


class Typed(Options):
    interval: str = "soon"


class Asking(Options):
    wants_samples = 3


class Raising(Options):
    @model_validator(mode="after")
    def check(self) -> Self:
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Loose, "class Loose: model_config has extra='allow'; leave it as Options has it"),
        (Loose, "class Loose: model_config has strict=False; leave it as Options has it"),
        (Slow, "class Slow: option 'stop_timeout' is the core's, which reads it before it loads the plugin"),
        (Named, "class Named: option 'user' is the core's"),
        (Required, "class Required: option 'memory_limit' is the core's"),
        (Bounded, "class Bounded: option 'memory_limit' is the core's"),
        (Kinds, "class Kinds: option 'type' is the core's"),
        (Inheriting, "class Inheriting: option 'stop_timeout' is the core's"),
        (Assigning, "class Assigning changes option 'memory_limit', which is the core's"),
        (Typed, "class Typed: option 'interval': Input should be a valid number"),
        (Asking, "class Asking: wants_samples is 3; True or False is needed"),
        (Raising, "class Raising raised RuntimeError: not today at"),
    ],
)
def test_options_that_change_what_each_table_has(refused, model, message):
    found = refused(with_hook(phoenixdkim_options=hook(lambda self: model)), {"path": "/x"} if model is Loose else {})
    assert any(message in text for text in found), found


def test_whatever_a_plugin_raises_while_it_is_looked_at_has_a_name(refused):
    class Evil(BaseException):
        def __str__(self):
            raise SystemExit(1)

    class Hidden(Good):
        @property
        def api_version(self):
            raise Evil

    class Listing(Good):
        def __dir__(self):
            raise KeyboardInterrupt("stop it")

    assert "it raised while it was looked at: Evil: (its text can't be shown)" in refused(Hidden)[0]
    assert "it raised while it was looked at: KeyboardInterrupt: stop it" in refused(Listing)[0]


def test_messages_are_short_and_printable(refused):
    class Failing(Good):
        def __init__(self):
            raise ImportError("\x1b[31mred\n" + "x" * 10**6)

    (message,) = refused(Failing)
    assert message.isprintable()
    assert len(message) < 1500
    many = with_hook(phoenixdkim_metrics=hook(lambda self: ["no metric"] * 300))
    assert len(refused(many)) == 40


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
    "integer enum": (
        spec(labels={"n": Enum("N", {"A": 1})}),
        "N.A has the value 1; a text of 1 to 64 ASCII characters",
    ),
    "strange value": (spec(labels={"n": Enum("N", {"A": "a b"})}), "letters, digits"),
    "core name": (spec(name="phoenixdkim_messages_total"), "starts with 'phoenixdkim_exporter_'"),
    "histogram": (spec(name="phoenixdkim_exporter_x", kind=Kind.HISTOGRAM), "metric is Kind.COUNTER or Kind.GAUGE"),
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
    assert any("exists already: it is declared twice" in text for text in found)
    many = Enum("Many", {f"M{n}": f"v{n}" for n in range(60)})
    found = refused(with_hook(phoenixdkim_metrics=hook(lambda self: [spec(labels={"a": many, "b": many})])))
    assert any("3600 label combinations; 200 is the most" in text for text in found)
    assert (
        "a list or tuple of MetricSpec is needed"
        in refused(with_hook(phoenixdkim_metrics=hook(lambda self: spec())))[0]
    )


def test_hooks_that_raise_while_they_are_asked(refused):
    def options(self):
        raise SystemExit(3)

    def metrics(self):
        raise ValueError("no idea")

    found = refused(with_hook(phoenixdkim_options=hook(options), phoenixdkim_metrics=hook(metrics)))
    assert any("phoenixdkim_options raised SystemExit: 3" in text for text in found)
    assert any("phoenixdkim_metrics raised ValueError: no idea at" in text for text in found)


def test_options_of_no_use(refused):
    found = refused(with_hook(phoenixdkim_options=hook(lambda self: dict)))
    assert any("return a subclass of phoenixdkim.options.Options" in text for text in found)


def test_all_faults_of_a_table_with_their_places(monkeypatch):
    plugin = with_hook(phoenixdkim_options=hook(lambda self: MyOptions))
    monkeypatch.setattr(inspection, "find_exporter", lambda kind: Found(lambda: plugin))
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
            one = InstalledExporter(point.name, point.value, "pkg 1", point.load)
            found.setdefault(point.name, []).append(one)
        monkeypatch.setattr(packages, "read_packages", lambda: packages.Packages(found, ()))
        with pytest.raises(PluginRefused) as caught:
            inspect_plugin("mine", {"type": kind})
        return caught.value.faults[0].message

    assert "did you mean 'statsd'?" in refuse("statsdd", entry("statsd", "x:Y"))
    assert "installed are: none" in refuse("x")
    assert "several packages" in refuse("x", entry("x", "a:A"), entry("x", "b:B"))
    assert (
        "plugin 'x' (pkg 1, no_such_module_here:A): it can't be imported: ModuleNotFoundError: No module named"
        in refuse("x", entry("x", "no_such_module_here:A"))
    )
    with pytest.raises(PluginRefused, match="write the exporter's name in quotes"):
        inspect_plugin("mine", {"type": 3})
