"""A configuration in numbers: what a reload changes, and what speaks against it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from phoenixdkim.config.model import Config
from phoenixdkim.messages import Items, Range, Text

_COUNTED: Final = ("signing", "keys", "exporters")
ACCEPT: Final = "if this is intended, run 'phoenixdkim reload --accept-shrink', or write signing.enabled = false"
_Count = Annotated[int, Range(0, 2**32)]
_Digests = Annotated[Mapping[Annotated[str, Text(64)], Annotated[str, Text(64)]], Items(1000)]


@dataclass(frozen=True, slots=True)
class Summary:
    """What two configurations are compared by. It has no key, and no secret that is not in the file.

    Attributes:
        rules: signing rules in use; 0 when signing is off.
        keys: ``[keys.NAME]`` tables.
        trusted: trusted networks.
        trusted_macros: macros whose mail is signed.
        signing: mail is signed.
        disabled: the file says ``signing.enabled = false``.
        has_signing: the file has a ``[signing]`` table.
        has_trusted: the file has ``signing.trusted``.
        authenticated: mail of authenticated clients is signed.
        verifying: mail is verified.
        max_shrink: ``reload.max_shrink``.
        digests: of rules, keys, trusted networks and each other table, by name.
        exporters: digests of the exporters' tables, by name.
    """

    rules: _Count
    keys: _Count
    trusted: _Count
    trusted_macros: _Count
    signing: bool
    disabled: bool
    has_signing: bool
    has_trusted: bool
    authenticated: bool
    verifying: bool
    max_shrink: Annotated[float, Range(0, 1)]
    digests: _Digests
    exporters: _Digests


def summarize(config: Config, tables: Mapping[str, object]) -> Summary:
    """Return the summary of a checked configuration.

    Args:
        config: the configuration.
        tables: the file's tables as they were read, to tell what is written from what is a default.
    """
    written = tables.get("signing")
    signing = config.signing
    rules = signing.rules if signing.enabled else ()
    digests = {
        "rules": _digest([rule.model_dump(mode="json") for rule in rules]),
        "keys": _digest({name: key.model_dump(mode="json") for name, key in config.keys.items()}),
        "trusted": _digest(signing.trusted),
        "signing": _digest(signing.model_dump(mode="json", exclude={"rules", "trusted", "enabled"})),
    }
    for name in Config.model_fields:
        if name not in _COUNTED:
            digests[name] = _digest(getattr(config, name).model_dump(mode="json"))
    return Summary(
        rules=len(rules),
        keys=len(config.keys),
        trusted=len(signing.trusted),
        trusted_macros=len(signing.trusted_macros),
        signing=signing.enabled and bool(rules),
        disabled=isinstance(written, Mapping) and not signing.enabled,
        has_signing=isinstance(written, Mapping),
        has_trusted=isinstance(written, Mapping) and "trusted" in written,
        authenticated=signing.trust_authenticated,
        verifying=config.verifying.enabled,
        max_shrink=config.reload.max_shrink,
        digests=digests,
        exporters={name: _digest(table) for name, table in config.exporters.items()},
    )


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def changes(old: Summary, new: Summary) -> str:
    """Return what changes in one line: ``rules 12 -> 13, keys 4, trusted 2, exporters +http -statsd``."""
    parts = [_count(name, old, new) for name in ("rules", "keys", "trusted")]
    exporters = [
        *(f"+{name}" for name in new.exporters if name not in old.exporters),
        *(f"-{name}" for name in old.exporters if name not in new.exporters),
        *(f"~{name}" for name, digest in new.exporters.items() if old.exporters.get(name, digest) != digest),
    ]
    if exporters:
        parts.append(f"exporters {' '.join(exporters)}")
    for name, before, after in (
        ("signing", old.signing, new.signing),
        ("verifying", old.verifying, new.verifying),
        ("authenticated", old.authenticated, new.authenticated),
    ):
        if before is not after:
            parts.append(f"{name} {_switch(before)} -> {_switch(after)}")
    tables = [
        name
        for name in new.digests
        if name not in ("rules", "keys", "trusted") and old.digests.get(name) != new.digests[name]
    ]
    if tables:
        parts.append(f"options {' '.join(tables)}")
    return ", ".join(parts)


def _count(name: str, old: Summary, new: Summary) -> str:
    before: int = getattr(old, name)
    after: int = getattr(new, name)
    if before != after:
        return f"{name} {before} -> {after}"
    return f"{name} {after}" + ("" if old.digests.get(name) == new.digests.get(name) else " (changed)")


def _switch(value: bool) -> str:
    return "on" if value else "off"


def objections(old: Summary, new: Summary) -> list[str]:
    """Return why a reload from ``old`` to ``new`` needs consent: each reason in a line, none when it needs none.

    A file that lost a part still may be valid. Nothing speaks against a new file that says
    ``signing.enabled = false``, and there is nothing to lose where nothing is signed.
    """
    if not old.signing or new.disabled:
        return []
    found: list[str] = []
    if not new.has_signing:
        found.append("signing: the table is missing; the running configuration has one")
    elif new.rules == 0:
        found.append(f"signing.rules: all {old.rules} rules are missing")
    for name, path in (("rules", "signing.rules"), ("keys", "keys")):
        before: int = getattr(old, name)
        after: int = getattr(new, name)
        if before and (before - after) / before > old.max_shrink and not (name == "rules" and after == 0):
            found.append(f"{path}: {before} -> {after} removes more than reload.max_shrink = {old.max_shrink:g} allows")
    if old.digests.get("trusted") != new.digests.get("trusted") and old.trusted:
        if new.trusted == 0:
            found.append(f"signing.trusted: all {old.trusted} networks are removed")
        elif old.has_trusted and new.has_signing and not new.has_trusted:
            found.append(
                f"signing.trusted: the option is missing; the running configuration names {old.trusted} networks"
            )
    if old.trusted_macros and not new.trusted_macros:
        found.append(f"signing.trusted_macros: all {old.trusted_macros} macros are removed")
    return found
