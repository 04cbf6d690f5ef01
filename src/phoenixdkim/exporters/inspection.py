"""Find a plugin by its entry point and check it against the hook specification.

pluggy checks that an implementation asks for no argument that the specification lacks. It does not see annotations,
lets arguments with defaults pass, skips functions without the marker, and its options (wrapper, optionalhook,
specname, tryfirst, trylast) let a plugin run around others or escape its checks. All of that is refused here.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import pluggy
from pydantic import ValidationError

from phoenixdkim.hookspecs import API_VERSION, ENTRY_POINT_GROUP, PROJECT, HookSpecs
from phoenixdkim.metrics import MetricSpec, check_plugin_metrics
from phoenixdkim.options import Options

_HOOKS: Final = {name: getattr(HookSpecs, name) for name in vars(HookSpecs) if name.startswith(f"{PROJECT}_")}
_FORBIDDEN_OPTIONS: Final = ("wrapper", "hookwrapper", "optionalhook", "tryfirst", "trylast", "specname")
_MARK: Final = f"{PROJECT}_impl"


@dataclass(frozen=True, slots=True)
class TableFault:
    """What is wrong with a table ``[exporters.NAME]`` or its plugin.

    Attributes:
        path: keys below ``exporters``, the table's name first.
        message: what is wrong and what to do.
        kind: pydantic's error type when an option failed its check, else empty.
        value: the option's value, shortened text, when there is one.
        known: names that exist at this place, for "did you mean".
        context: bounds and choices of the option's type.
    """

    path: tuple[str | int, ...]
    message: str
    kind: str = ""
    value: str = ""
    known: tuple[str, ...] = ()
    context: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Inspected:
    """A plugin that passed all checks."""

    manager: pluggy.PluginManager
    options: Options
    metrics: tuple[MetricSpec, ...]


class PluginRefused(Exception):
    """The table or its plugin has faults."""

    def __init__(self, faults: Sequence[TableFault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = tuple(faults)


def installed() -> dict[str, list[importlib.metadata.EntryPoint]]:
    """Entry points of all installed exporters, by name."""
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        found.setdefault(entry.name, []).append(entry)
    return found


def _load(kind: str) -> tuple[object, str]:
    entries = installed()
    if kind not in entries:
        near = get_close_matches(kind, entries, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"installed are: {', '.join(sorted(entries)) or 'none'}"
        raise LookupError(f"no installed package has an exporter '{kind}'; {hint}")
    if len({entry.value for entry in entries[kind]}) > 1:
        packages = ", ".join(sorted(entry.dist.name for entry in entries[kind] if entry.dist))
        raise LookupError(f"several packages have an exporter '{kind}': {packages}; uninstall all but one")
    entry = entries[kind][0]
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown package"
    loaded = entry.load()
    return (loaded() if inspect.isclass(loaded) else loaded), package


def inspect_plugin(name: str, table: Mapping[str, Any]) -> Inspected:
    """Find the plugin of table ``[exporters.NAME]``, check it and its options.

    Raises:
        PluginRefused: with all that is wrong.
    """
    kind = table.get("type") or name
    if not isinstance(kind, str):
        raise PluginRefused([TableFault((name, "type"), f"{kind!r} is no text; write the exporter's name in quotes")])
    try:
        plugin, package = _load(kind)
    except LookupError as error:
        raise PluginRefused([TableFault((name,), str(error))]) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        message = f"exporter '{kind}' failed to import: {type(error).__name__}: {error}"
        raise PluginRefused([TableFault((name,), message)]) from error
    where = f"plugin '{kind}' ({package})"
    if faults := _check_interface(plugin, where):
        raise PluginRefused([TableFault((name,), fault) for fault in faults])
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginRefused([TableFault((name,), f"{where}: {error}")]) from error
    return _check_declarations(manager, name, where, table)


def _check_declarations(manager: pluggy.PluginManager, name: str, where: str, table: Mapping[str, Any]) -> Inspected:
    faults: list[TableFault] = []
    model: type[Options] = Options
    specs: Sequence[MetricSpec] = ()
    try:
        declared = manager.hook.phoenixdkim_options()
        if declared is not None:
            if not (inspect.isclass(declared) and issubclass(declared, Options)):
                raise TypeError(f"it returned {declared!r}; a subclass of phoenixdkim.options.Options is needed")
            model = declared
    except BaseException as error:  # noqa: BLE001 - as above
        faults.append(TableFault((name,), f"{where}: phoenixdkim_options: {type(error).__name__}: {error}"))
    try:
        specs = manager.hook.phoenixdkim_metrics() or ()
        faults += [TableFault((name,), fault) for fault in check_plugin_metrics(name, specs)]
    except BaseException as error:  # noqa: BLE001 - as above
        faults.append(TableFault((name,), f"{where}: phoenixdkim_metrics: {type(error).__name__}: {error}"))
    try:
        options = model.model_validate(dict(table))
    except ValidationError as error:
        for entry in error.errors(include_url=False):
            path = (name, *entry["loc"])
            message = entry["msg"].removeprefix("Value error, ")
            shown = repr(entry.get("input"))[:80]
            faults.append(TableFault(path, message, entry["type"], shown, tuple(model.model_fields), _context(entry)))
    if faults:
        raise PluginRefused(faults)
    return Inspected(manager, options, tuple(specs))


def _context(entry: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in entry.get("ctx", {}).items())


def _check_interface(plugin: object, where: str) -> list[str]:
    faults: list[str] = []
    version = getattr(plugin, "api_version", None)
    if version != API_VERSION:
        needs = "does not say which API version it needs" if version is None else f"needs API version {version!r}"
        faults.append(f"{where}: it {needs}; this daemon has version {API_VERSION}: set 'api_version = {API_VERSION}'")
    hooks = 0
    for attribute in dir(plugin):
        try:
            member = inspect.getattr_static(plugin, attribute)
        except AttributeError:
            continue
        function = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
        marks = getattr(function, _MARK, None)
        if marks is None:
            if attribute.startswith(f"{PROJECT}_") and callable(function):
                near = "" if attribute in _HOOKS else f", and there is no hook of that name{_near(attribute)}"
                faults.append(f"{where}: '{attribute}' is not marked with @hookimpl and would never be called{near}")
            continue
        hooks += 1
        faults += _check_implementation(function, attribute, marks, where)
    if not hooks:
        faults.append(f"{where}: it implements no hook; mark methods with @hookimpl of phoenixdkim.hookspecs")
    return faults


def _near(name: str) -> str:
    near = get_close_matches(name, _HOOKS, 1)
    return f"; did you mean '{near[0]}'?" if near else f"; the hooks are {', '.join(_HOOKS)}"


def _check_implementation(function: Any, name: str, marks: Mapping[str, Any], where: str) -> list[str]:
    faults = [
        f"{where}: '{name}': @hookimpl({option}=…) is not allowed; an exporter's hooks are called plainly"
        for option in _FORBIDDEN_OPTIONS
        if marks.get(option)
    ]
    spec = _HOOKS.get(name)
    if spec is None:
        return [*faults, f"{where}: there is no hook '{name}'{_near(name)}"]
    wanted = [parameter for parameter in inspect.signature(spec).parameters if parameter != "self"]
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD,):
            faults.append(f"{where}: '{name}': '*' arguments are not allowed; it may take: {', '.join(wanted)}")
        elif parameter.name not in wanted:
            faults.append(f"{where}: '{name}' has no argument '{parameter.name}'; it may take: {', '.join(wanted)}")
        elif parameter.default is not parameter.empty:
            faults.append(f"{where}: '{name}': argument '{parameter.name}' has a default; it is always passed")
    faults += _check_annotations(function, spec, name, where)
    return faults


def _check_annotations(function: Any, spec: Any, name: str, where: str) -> list[str]:
    expected = typing.get_type_hints(spec)
    try:
        hints = typing.get_type_hints(function)
    except Exception as error:  # noqa: BLE001 - names that only a type checker sees can't be resolved
        if isinstance(error, NameError):
            return []
        return [f"{where}: '{name}': its annotations can't be read: {error}"]
    faults = []
    for argument, hint in hints.items():
        if argument not in expected or hint in (Any, object, expected[argument]):
            continue
        if argument == "return" and name in (f"{PROJECT}_options", f"{PROJECT}_metrics"):
            continue  # what they return is checked itself
        if typing.get_origin(hint) is not None and typing.get_origin(hint) is typing.get_origin(expected[argument]):
            continue
        shown = getattr(expected[argument], "__name__", str(expected[argument]))
        faults.append(
            f"{where}: '{name}': '{argument}' is annotated {getattr(hint, '__name__', hint)}; the hook has {shown}"
        )
    return faults
