"""Find a plugin by its entry point and check it against the hook specification.

pluggy checks that an implementation asks for no argument that the specification lacks. It does not see annotations,
lets arguments with defaults pass, skips functions without the marker, and its options (wrapper, optionalhook,
specname, tryfirst, trylast) let a plugin run around others or escape its checks. All of that is refused here.

Everything here runs plugin code, in a process of the plugin's own: whatever it raises is a fault with a name.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import sysconfig
import traceback
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import pluggy
from pydantic import ValidationError

from phoenixdkim.exporters.declared import Declared, declare
from phoenixdkim.hookspecs import API_VERSION, ENTRY_POINT_GROUP, PROJECT, HookSpecs
from phoenixdkim.options import Options

_HOOKS: Final = {name: getattr(HookSpecs, name) for name in vars(HookSpecs) if name.startswith(f"{PROJECT}_")}
_FORBIDDEN_OPTIONS: Final = ("wrapper", "hookwrapper", "optionalhook", "tryfirst", "trylast", "specname")
_MARK: Final = f"{PROJECT}_impl"
_STDLIB: Final = sysconfig.get_path("stdlib") + "/"
_MAX_FAULTS: Final = 40
_MAX_MESSAGE: Final = 600


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
        refuses: whether it refuses the start; a plugin that hangs or dies while it is checked does not.
    """

    path: tuple[str | int, ...]
    message: str
    kind: str = ""
    value: str = ""
    known: tuple[str, ...] = ()
    context: tuple[tuple[str, str], ...] = ()
    refuses: bool = True


@dataclass(frozen=True, slots=True)
class Inspected:
    """A plugin that passed all checks.

    Attributes:
        manager: has the plugin, and no other.
        options: the checked table.
        metrics: its own metrics, frozen.
        plugin: its name and package, as in messages.
        takes_events: whether it implements ``phoenixdkim_event``.
    """

    manager: pluggy.PluginManager
    options: Options
    metrics: tuple[Declared, ...]
    plugin: str = ""
    takes_events: bool = True


class PluginRefused(Exception):
    """The table or its plugin has faults."""

    def __init__(self, faults: Sequence[TableFault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = tuple(faults)


def installed() -> dict[str, list[importlib.metadata.EntryPoint]]:
    """Entry points of all installed exporters, by name.

    A distribution whose metadata can't be read is passed over: it must not take the others' exporters away.
    """
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        try:
            name = distribution.metadata["Name"]
            if name in seen:
                continue
            points = distribution.entry_points.select(group=ENTRY_POINT_GROUP)
        except Exception:  # noqa: BLE001, S112 - somebody else's broken metadata may raise anything
            continue
        seen.add(name)
        for point in points:
            found.setdefault(point.name, []).append(point)
    return found


def plugin_name(kind: str) -> str:
    """An exporter by entry point, package and object, for messages; no plugin code runs."""
    entries = installed().get(kind, [])
    return _plugin_name(kind, entries[0]) if entries else f"plugin '{kind}'"


def _plugin_name(kind: str, entry: importlib.metadata.EntryPoint) -> str:
    package = f"{entry.dist.name} {entry.dist.version}, " if entry.dist else ""
    return f"plugin '{kind}' ({package}{entry.value})"


def _find(kind: str) -> tuple[Callable[[], object], str]:
    """What imports the plugin's class or module, and how to name it.

    Raises:
        LookupError: there is none, or more than one.
    """
    entries = installed()
    if kind not in entries:
        near = get_close_matches(kind, entries, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"installed are: {', '.join(sorted(entries)) or 'none'}"
        raise LookupError(f"no installed package has an exporter '{kind}'; {hint}")
    if len({entry.value for entry in entries[kind]}) > 1:
        packages = ", ".join(sorted(entry.dist.name for entry in entries[kind] if entry.dist))
        raise LookupError(f"several packages have an exporter '{kind}': {packages}; uninstall all but one")
    return entries[kind][0].load, _plugin_name(kind, entries[kind][0])


def inspect_plugin(name: str, table: Mapping[str, Any]) -> Inspected:
    """Find the plugin of table ``[exporters.NAME]``, check it and its options.

    Raises:
        PluginRefused: with all that is wrong.
    """
    kind = table.get("type") or name
    if not isinstance(kind, str):
        raise PluginRefused([TableFault((name, "type"), f"{kind!r} is no text; write the exporter's name in quotes")])
    try:
        load, where = _find(kind)
    except LookupError as error:
        raise PluginRefused([TableFault((name,), str(error.args[0]))]) from error
    try:
        loaded = load()
    except BaseException as error:
        raise _refused(name, f"{where}: it can't be imported: {described(error)}") from error
    try:
        plugin = loaded() if inspect.isclass(loaded) else loaded
    except BaseException as error:
        text = (
            f"{where}: its class can't be called: {described(error)}; it gets no arguments, options come at the start"
        )
        raise _refused(name, text) from error
    try:
        return _inspect(plugin, name, where, table)
    except PluginRefused as refused:
        raise PluginRefused([_bounded(fault) for fault in refused.faults[:_MAX_FAULTS]]) from refused
    except BaseException as error:
        raise _refused(name, f"{where}: it raised while it was looked at: {described(error)}") from error


def _inspect(plugin: object, name: str, where: str, table: Mapping[str, Any]) -> Inspected:
    version = getattr(plugin, "api_version", None)
    if version != API_VERSION:
        needs = (
            f"it does not say which API version it is written for; add 'api_version = {API_VERSION}' to its class"
            if version is None
            else f"it is written for API version {version!r:.40}, and this daemon has version {API_VERSION};"
            " install releases of both that fit"
        )
        raise PluginRefused([TableFault((name,), f"{where}: {needs}")])
    clean, messages = _check_interface(plugin, where)
    faults = [TableFault((name,), message) for message in messages]
    model, declared, more = _check_declarations(plugin, clean, name, where)
    faults += more
    options, more = _check_table(model, name, where, table)
    faults += more
    if faults or options is None:
        raise PluginRefused(faults)
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HookSpecs)
    try:
        manager.register(plugin, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginRefused([TableFault((name,), f"{where}: {error}")]) from error
    if messages := _check_registered(manager, plugin, clean, where):
        raise PluginRefused([TableFault((name,), message) for message in messages])
    return Inspected(manager, options, declared, where, f"{PROJECT}_event" in clean)


def described(error: BaseException) -> str:
    """An exception by type, words and place, whatever its own methods do."""
    try:
        words = str(error)
    except BaseException:  # noqa: BLE001 - a plugin's exception may raise anything when it is shown
        words = "(its text can't be shown)"
    # The last line that is the plugin's own: neither ours, the import system's nor the standard library's.
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__
        and not frame.filename.startswith("<frozen")
        and (not frame.filename.startswith(_STDLIB) or "-packages/" in frame.filename)
    ]
    place = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__}: {words[:_MAX_MESSAGE]}{place}" if words else f"{type(error).__name__}{place}"


def _refused(name: str, message: str) -> PluginRefused:
    return PluginRefused([_bounded(TableFault((name,), message))])


def _bounded(fault: TableFault) -> TableFault:
    """The fault with texts that are short and printable: plugin code may have put anything into them."""

    def plain(text: object) -> str:
        shown = " ".join(str(text).split())[: 2 * _MAX_MESSAGE]
        return "".join(c if c.isprintable() else "?" for c in shown)

    path = tuple(part if isinstance(part, int) else plain(part)[:200] for part in fault.path)
    known = tuple(plain(one)[:100] for one in fault.known[:100])
    context = tuple((plain(key)[:100], plain(value)[:100]) for key, value in fault.context[:20])
    return TableFault(path, plain(fault.message), plain(fault.kind), plain(fault.value)[:100], known, context)


def _check_declarations(
    plugin: object, clean: Mapping[str, object], name: str, where: str
) -> tuple[type[Options], tuple[Declared, ...], list[TableFault]]:
    faults: list[TableFault] = []
    model: type[Options] = Options
    metrics: tuple[Declared, ...] = ()
    hook = f"{PROJECT}_options"
    if hook in clean:
        try:
            answer = getattr(plugin, hook)()
            if answer is not None:
                if wrong := _model_faults(answer):
                    faults += [TableFault((name,), f"{where}: {hook}: {text}") for text in wrong]
                else:
                    model = answer
        except BaseException as error:  # noqa: BLE001 - as above
            faults.append(TableFault((name,), f"{where}: {hook} raised {described(error)}"))
    hook = f"{PROJECT}_metrics"
    if hook in clean:
        try:
            metrics, wrong = declare(where, getattr(plugin, hook)() or ())
            faults += [TableFault((name,), fault) for fault in wrong]
        except BaseException as error:  # noqa: BLE001 - as above
            faults.append(TableFault((name,), f"{where}: {hook} raised {described(error)}"))
    return model, metrics, faults


def _model_faults(model: object) -> list[str]:
    """What is wrong with an options class: it may add to ``Options`` and exchange defaults, nothing else."""
    if not (inspect.isclass(model) and issubclass(model, Options)):
        return [f"it returned {model!r:.80}; return a subclass of phoenixdkim.options.Options, the class itself"]
    faults = [
        f"class {model.__name__}: model_config has {key}={model.model_config.get(key)!r}; leave it as Options has it"
        for key in ("strict", "frozen", "extra")
        if model.model_config.get(key) != Options.model_config.get(key)
    ]
    wants: object = model.wants_samples
    if not isinstance(wants, bool):
        faults.append(f"class {model.__name__}: wants_samples is {wants!r:.40}; True or False is needed")
    return faults


def _check_table(
    model: type[Options], name: str, where: str, table: Mapping[str, Any]
) -> tuple[Options | None, list[TableFault]]:
    try:
        options = model.model_validate(dict(table))
    except ValidationError as error:
        return None, _table_faults(model, name, error)
    except BaseException as error:  # noqa: BLE001 - as above
        return None, [TableFault((name,), f"{where}: class {model.__name__} raised {described(error)}")]
    # A subclass may exchange the defaults of what each table has, not their types and bounds.
    common = {field: getattr(options, field) for field in Options.model_fields}
    try:
        Options.model_validate(common)
    except ValidationError as error:
        return None, [
            TableFault((name,), f"{where}: class {model.__name__}: option '{entry['loc'][0]}': {entry['msg']}")
            for entry in error.errors(include_url=False)
        ]
    return options, []


def _table_faults(model: type[Options], name: str, error: ValidationError) -> list[TableFault]:
    faults = []
    for entry in error.errors(include_url=False):
        path = (name, *entry["loc"])
        message = entry["msg"].removeprefix("Value error, ")
        shown = repr(entry.get("input"))[:80]
        faults.append(TableFault(path, message, entry["type"], shown, tuple(model.model_fields), _context(entry)))
    return faults


def _context(entry: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in entry.get("ctx", {}).items())


def _check_interface(plugin: object, where: str) -> tuple[dict[str, object], list[str]]:
    """The hook implementations without fault, by name, and what is wrong with the others."""
    faults: list[str] = []
    clean: dict[str, object] = {}
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
                faults.append(
                    f"{where}: '{attribute}' is not marked with @hookimpl of phoenixdkim.hookspecs and would never be"
                    f" called{near}"
                )
            elif attribute.startswith(f"{PROJECT}_"):
                faults.append(
                    f"{where}: '{attribute}' is a {type(member).__name__}, which is never called; names that begin with"
                    f" '{PROJECT}_' are hooks: write a plain method, or choose another name"
                )
            continue
        hooks += 1
        if wrong := _check_implementation(function, attribute, marks, where):
            faults += wrong
        else:
            clean[attribute] = function
    if not hooks:
        faults.append(f"{where}: it implements no hook; mark methods with @hookimpl of phoenixdkim.hookspecs")
    return clean, faults


def _check_registered(
    manager: pluggy.PluginManager, plugin: object, clean: Mapping[str, object], where: str
) -> list[str]:
    """Compare what pluggy will call with what was checked: a plugin can answer getattr differently each time."""
    called: dict[str, object] = {}
    for caller in manager.get_hookcallers(plugin) or ():
        for implementation in caller.get_hookimpls():
            called[caller.name] = getattr(implementation.function, "__func__", implementation.function)
    return [
        f"{where}: '{hook}' is made on the fly (by a property, __getattr__ or the like); write it as a plain method"
        for hook in sorted({*called, *clean})
        if called.get(hook) is not clean.get(hook)
    ]


def _near(name: str) -> str:
    near = get_close_matches(name, _HOOKS, 1)
    return f"; did you mean '{near[0]}'?" if near else f"; the hooks are {', '.join(_HOOKS)}"


def _check_implementation(function: Any, name: str, marks: Any, where: str) -> list[str]:
    if not isinstance(function, types.FunctionType) or not isinstance(marks, Mapping):
        return [f"{where}: '{name}' is a {type(function).__name__}, which pluggy does not call; write a plain method"]
    faults = [
        f"{where}: '{name}': @hookimpl({option}=…) is not allowed; write @hookimpl alone"
        + (", and give the method its hook's name" if option == "specname" else "")
        for option in _FORBIDDEN_OPTIONS
        if marks.get(option)
    ]
    if marks.get("specname"):
        return faults
    spec = _HOOKS.get(name)
    if spec is None:
        return [*faults, f"{where}: there is no hook '{name}'{_near(name)}"]
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        if not faults:
            faults.append(f"{where}: '{name}' is a coroutine or generator, which would never run; write a plain 'def'")
    elif inspect.isasyncgenfunction(function):
        faults.append(f"{where}: '{name}' is a generator, which would never run; write a plain 'def'")
    wanted = [parameter for parameter in inspect.signature(spec).parameters if parameter != "self"]
    may = f"it may take: {', '.join(wanted)}" if wanted else "it takes no argument but self"
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            faults.append(f"{where}: '{name}': '*' and '/' are not allowed among its arguments; {may}")
        elif parameter.name not in wanted:
            faults.append(f"{where}: '{name}': there is no argument '{parameter.name}'; {may}")
        elif parameter.default is not parameter.empty:
            faults.append(
                f"{where}: '{name}': argument '{parameter.name}' has a default; take it away, it is always passed"
            )
    faults += _check_annotations(function, spec, name, where)
    return faults


def _check_annotations(function: Any, spec: Any, name: str, where: str) -> list[str]:
    expected = typing.get_type_hints(spec)
    faults = []
    for argument, given in inspect.get_annotations(function).items():
        if argument not in expected:
            continue
        try:
            hint = typing.get_type_hints(
                types.SimpleNamespace(__annotations__={argument: given}), function.__globals__
            )[argument]
        except NameError:
            # A name that only a type checker sees.
            continue
        except Exception as error:  # noqa: BLE001 - an annotation may be any expression
            faults.append(f"{where}: '{name}': the annotation of '{argument}' can't be read: {described(error)}")
            continue
        if not _fits(argument, hint, expected[argument], name):
            wanted = _shown(expected[argument])
            faults.append(f"{where}: '{name}': '{argument}' is annotated {_shown(hint)}; the hook has {wanted}")
    return faults


def _fits(argument: str, hint: Any, expected: Any, name: str) -> bool:
    if hint in (Any, object, expected):
        return True
    if argument == "return":
        # What these two return is checked itself.
        return name in (f"{PROJECT}_options", f"{PROJECT}_metrics")
    origin = typing.get_origin(hint)
    if origin is not None and origin is typing.get_origin(expected):
        return typing.get_args(hint) in (typing.get_args(expected), (Any,))
    return False


def _shown(hint: Any) -> str:
    return hint.__name__ if inspect.isclass(hint) and typing.get_origin(hint) is None else str(hint)
