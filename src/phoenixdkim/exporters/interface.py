"""Check what a plugin implements against the hook specification.

pluggy checks that an implementation asks for no argument that the specification lacks. It does not see annotations,
lets arguments with defaults pass, skips functions without the marker, and its options (wrapper, optionalhook,
specname, tryfirst, trylast) let a plugin run around others or escape its checks. All of that is refused here.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

import pluggy

from phoenixdkim.exporters.described import described
from phoenixdkim.hookspecs import PROJECT, HookSpecs

_HOOKS: Final = {name: getattr(HookSpecs, name) for name in vars(HookSpecs) if name.startswith(f"{PROJECT}_")}
_FORBIDDEN_OPTIONS: Final = ("wrapper", "hookwrapper", "optionalhook", "tryfirst", "trylast", "specname")
_MARK: Final = f"{PROJECT}_impl"


def check_interface(plugin: object, where: str) -> tuple[dict[str, object], list[str]]:
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


def check_registered(
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
    if expected is Any or hint in (Any, object, expected):
        return True
    if argument == "return":
        # What these two return is checked itself.
        return name in (f"{PROJECT}_options", f"{PROJECT}_metrics", f"{PROJECT}_check")
    origin = typing.get_origin(hint)
    if origin is not None and origin is typing.get_origin(expected):
        return typing.get_args(hint) in (typing.get_args(expected), (Any,))
    return False


def _shown(hint: Any) -> str:
    return hint.__name__ if inspect.isclass(hint) and typing.get_origin(hint) is None else str(hint)
