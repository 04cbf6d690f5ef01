"""A configuration file with all options, their defaults and their meaning."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, Final

import tomli_w
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from phoenixdkim.config import model

_WIDTH: Final = 110
_HEAD: Final = """\
# PhoenixDKIM configuration, with all options and their defaults.
#
# A line that begins with one '#' and no blank is an option with its default: take the '#' away to change it.
# 'phoenixdkim check' reports all errors of a file in one run.
"""
_NO_RULES: Final = """\
# Write true when you have written the first rule below; there are none yet.
enabled = false
"""
_RULES: Final = """\
#[[signing.rules]]
#from = "*@example.com"
#keys = ["example-rsa", "example-ed25519"]
"""
_KEYS: Final = """\
#[keys.example-rsa]
#domain = "example.com"
#selector = "s2026"
#file = "/etc/phoenixdkim/keys/example.com/s2026.pem"

#[keys.example-ed25519]
#domain = "example.com"
#selector = "e2026"
#file = "/etc/phoenixdkim/keys/example.com/e2026.pem"
"""
_EXPORTERS: Final = """\
#[exporters.textfile]
#path = "/var/lib/prometheus/node-exporter/phoenixdkim.prom"

#[exporters.http]
#listen = "127.0.0.1:9323"

#[exporters.statsd]
#address = "127.0.0.1:8125"
"""


def tables() -> Iterator[tuple[str, type[BaseModel], str]]:
    """The tables of the file: header as written, model, description."""
    for name, info in model.Config.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield f"[{name}]", kind, kind.__doc__ or ""
            if kind is model.Signing:
                yield "[[signing.rules]]", model.Rule, model.Rule.__doc__ or ""
        elif name == "keys":
            yield "[keys.NAME]", model.Key, model.Key.__doc__ or ""


def options(kind: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """The options of a table, by the names they have in the file; tables below it are not among them."""
    for name, info in kind.model_fields.items():
        if not (kind is model.Signing and name == "rules"):
            yield info.alias or name, info


def plain(description: str | None) -> str:
    """A docstring as running text, without markup."""
    return " ".join((description or "").split()).replace("``", '"')


def default_text(info: FieldInfo) -> str:
    """An option's default as TOML; empty when it must be written."""
    if info.is_required():
        return ""
    value: Any = info.get_default(call_default_factory=True)
    if isinstance(value, tuple):
        # In one line, so that taking one '#' away is enough.
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    if value == {}:
        return "{}"
    return _toml(value)


def _toml(value: Any) -> str:
    return tomli_w.dumps({"v": value}).removeprefix("v = ").strip()


def sample() -> str:
    """Return the file's text; as it stands it is valid, and all options have their defaults but signing is off."""
    parts = [_HEAD]
    for header, kind, description in tables():
        parts.append(_comment(plain(description)))
        if header == "[[signing.rules]]":
            parts.append(_options(kind) + "\n" + _RULES)
        elif header == "[keys.NAME]":
            parts.append(_options(kind) + "\n" + _KEYS)
        else:
            written = _options(kind)
            if kind is model.Signing:
                written = written.replace("#enabled = true\n", _NO_RULES)
            parts.append(f"{header}\n{written}")
    parts.append(_comment("Exporters, each a table; every one needs its package.") + _EXPORTERS)
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH))


def _options(kind: type[BaseModel]) -> str:
    lines = ""
    for name, info in options(kind):
        required = info.is_required()
        lines += _comment(f"{name}: {plain(info.description)}" if required else plain(info.description))
        if not required:
            lines += f"#{name} = {default_text(info)}\n"
    return lines
