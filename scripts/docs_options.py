"""Pages of the options: the configuration file, and limits."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

from docs_markdown import cell, page, table
from pydantic.fields import FieldInfo

from phoenixdkim.config.bounds import BOUNDS
from phoenixdkim.config.sample import default_text, options, plain, tables
from phoenixdkim.exporters.packages import installed
from phoenixdkim.options import Options

OWN_EXPORTERS = ("textfile", "http", "statsd")


def kind_text(info: FieldInfo) -> str:
    """What an option takes, in words."""
    return _annotation(info.annotation) + _bounds(info)


def _annotation(kind: Any) -> str:
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return "one of " + ", ".join(f'"{value}"' for value in typing.get_args(kind))
    if origin is tuple:
        return "list of " + _annotation(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_annotation(part) for part in typing.get_args(kind) if part is not type(None)))
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return "one of " + ", ".join(f'"{member.value}"' for member in kind)
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return names.get(kind, "table")


def _bounds(info: FieldInfo) -> str:
    words = []
    for entry in info.metadata:
        for name, word in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than")):
            if (value := getattr(entry, name, None)) is not None:
                words.append(f"{word} {value:,}" if isinstance(value, int) else f"{word} {value:g}")
    return f", {' and '.join(words)}" if words else ""


def exporter_tables() -> Iterator[tuple[str, type[Options], str]]:
    """Name, options and description of each exporter of this project."""
    for name in OWN_EXPORTERS:
        entry = installed()[name][0]
        plugin = entry.load()
        implementation = plugin() if inspect.isclass(plugin) else plugin
        model = implementation.phoenixdkim_options()
        package = entry.package.split()[0]
        yield name, model, f"{plain(inspect.getdoc(plugin)).split('. ')[0].rstrip('.')}. Package `{package}`."


def sections() -> Iterator[tuple[str, str, str, list[tuple[str, FieldInfo]]]]:
    """All tables of the configuration file: anchor, header, description, options."""
    for header, kind, description in tables():
        yield header.strip("[]"), header, plain(description), list(options(kind))
    yield (
        "exporters.NAME",
        "[exporters.NAME]",
        "An exporter: the table enables the exporter NAME, or the one that its option type names. These options exist"
        " in each exporter's table; an exporter may have other defaults.",
        list(Options.model_fields.items()),
    )
    for name, model, description in exporter_tables():
        own = [(option, info) for option, info in model.model_fields.items() if _is_own(option, info)]
        yield f"exporters.{name}", f"[exporters.{name}]", description, own


def _is_own(option: str, info: FieldInfo) -> bool:
    base = Options.model_fields.get(option)
    return base is None or base.get_default() != info.get_default()


def configuration() -> str:
    """The page of options."""
    parts = [
        "The daemon reads one TOML file, by default `/etc/phoenixdkim/phoenixdkim.toml`. Unknown options are errors."
        " `phoenixdkim check` tells all faults at once, each with its line and what to write instead;"
        " `phoenixdkim check --effective` prints what is in force."
        " [phoenixdkim.sample.toml](../phoenixdkim.sample.toml)"
        " has all options, and [phoenixdkim.schema.json](../phoenixdkim.schema.json) is for editors.",
    ]
    for _, header, description, entries in sections():
        parts.append(f"## `{header}`\n\n{description}")
        for name, info in entries:
            default = f"default `{default_text(info)}`" if not info.is_required() else "must be written"
            parts.append(f"### `{name}`\n\n{kind_text(info)}; {default}\n\n{info.description or ''}")
    return page("Configuration", *parts)


def limits() -> str:
    """The page of limits."""
    rows = []
    others = []
    for anchor, _, _, entries in sections():
        for name, info in entries:
            option = f"{anchor}.{name}"
            start = (f"`{option}`", default_text(info), cell(_bounds(info).removeprefix(", ")))
            if bound := BOUNDS.get(option):
                reasons = ", ".join(f"`{reason}`" for reason in bound.reasons)
                rows.append((*start, cell(plain_md(info)), reasons, cell(bound.why)))
                continue
            is_number = _annotation(info.annotation) in ("whole number", "number")
            if (anchor == "dns" and is_number) or option in ("milter.max_generations", "milter.timeout"):
                others.append((*start, cell(plain_md(info))))
    head = ("option", "default", "may be", "meaning")
    return page(
        "Limits",
        "All limits hold before the work that they bound is done. What is over one has a result and a reason of its"
        " own, which stand in Authentication-Results and in the log; see [reasons](reasons.md).",
        "## Bounds with a reason\n\n" + table((*head, "reason", "why"), rows),
        "## Other bounds\n\nThey bound what the daemon keeps; no message has another result for them.\n\n"
        + table(head, others),
    )


def plain_md(info: FieldInfo) -> str:
    """An option's words for a table."""
    return (info.description or "").replace("``", "`")
