"""Find a plugin by its entry point, and inspect it, its declarations and its table.

Everything here runs plugin code, in a process of the plugin's own: whatever it raises is a fault with a name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pluggy
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from phoenixdkim.exporters.declared import Declared, declare
from phoenixdkim.exporters.described import MAX_MESSAGE, described
from phoenixdkim.exporters.interface import check_interface, check_registered
from phoenixdkim.exporters.messages import TableFault
from phoenixdkim.exporters.packages import find_exporter
from phoenixdkim.hookspecs import API_VERSION, PROJECT, HookSpecs
from phoenixdkim.options import Options, ProcessOptions, process_options

_MAX_FAULTS: Final = 40


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


def inspect_plugin(name: str, table: Mapping[str, Any]) -> Inspected:
    """Find the plugin of table ``[exporters.NAME]``, check it and its options.

    Raises:
        PluginRefused: with all that is wrong.
    """
    kind = table.get("type") or name
    if not isinstance(kind, str):
        raise PluginRefused([TableFault((name, "type"), f"{kind!r} is no text; write the exporter's name in quotes")])
    try:
        found = find_exporter(kind)
    except LookupError as error:
        raise _refused(name, str(error.args[0])) from error
    where = str(found)
    try:
        loaded = found.load()
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
    clean, messages = check_interface(plugin, where)
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
    if messages := check_registered(manager, plugin, clean, where):
        raise PluginRefused([TableFault((name,), message) for message in messages])
    return Inspected(manager, options, declared, where, f"{PROJECT}_event" in clean)


def _refused(name: str, message: str) -> PluginRefused:
    return PluginRefused([_bounded(TableFault((name,), message))])


def _bounded(fault: TableFault) -> TableFault:
    """The fault with texts that are short and printable: plugin code may have put anything into them."""

    def plain(text: object) -> str:
        shown = " ".join(str(text).split())[: 2 * MAX_MESSAGE]
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
    """What is wrong with an options class: it may add to ``Options`` and exchange a default, nothing else."""
    if not (inspect.isclass(model) and issubclass(model, Options)):
        return [f"it returned {model!r:.80}; return a subclass of phoenixdkim.options.Options, the class itself"]
    faults = [
        f"class {model.__name__}: model_config has {key}={model.model_config.get(key)!r}; leave it as Options has it"
        for key in ("strict", "frozen", "extra")
        if model.model_config.get(key) != Options.model_config.get(key)
    ]
    faults += [
        f"class {model.__name__}: option '{name}' is the core's, which reads it before it loads the plugin;"
        " remove it from the class, or give it another name"
        for name, core in ProcessOptions.model_fields.items()
        if _meaning(model.model_fields.get(name)) != _meaning(core)
    ]
    wants: object = model.wants_samples
    if not isinstance(wants, bool):
        faults.append(f"class {model.__name__}: wants_samples is {wants!r:.40}; True or False is needed")
    return faults


def _meaning(info: FieldInfo | None) -> object:
    """What the core's reading of an option depends on."""
    if info is None:
        return None
    return info.annotation, info.default, info.default_factory, info.metadata, info.alias, info.validation_alias


def _check_table(
    model: type[Options], name: str, where: str, table: Mapping[str, Any]
) -> tuple[Options | None, list[TableFault]]:
    try:
        options = model.model_validate(dict(table))
    except ValidationError as error:
        return None, _table_faults(model, name, error)
    except BaseException as error:  # noqa: BLE001 - as above
        return None, [TableFault((name,), f"{where}: class {model.__name__} raised {described(error)}")]
    faults = [
        TableFault((name,), f"{where}: class {model.__name__} changes option '{option}', which is the core's; leave it")
        for option, value in process_options(table)
        if getattr(options, option) != value
    ]
    # A subclass may exchange the default of what is left, not its type and bounds.
    common = {field: getattr(options, field) for field in Options.model_fields}
    try:
        Options.model_validate(common)
    except ValidationError as error:
        faults += [
            TableFault((name,), f"{where}: class {model.__name__}: option '{entry['loc'][0]}': {entry['msg']}")
            for entry in error.errors(include_url=False)
        ]
    if faults:
        return None, faults
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
