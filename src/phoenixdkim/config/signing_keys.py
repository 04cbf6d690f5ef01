"""The keys of a configuration, and the rules that sign with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from phoenixdkim.config.faults import Fault, Severity, dotted, shown
from phoenixdkim.config.load import Loaded
from phoenixdkim.config.model import Config, Rule
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.sign import SigningKey
from phoenixdkim.keystore import KeyStore, KeyStoreError, OnMissingKey, algorithm_of
from phoenixdkim.keystore.identities import Identities
from phoenixdkim.policy import MissingKeys, Pattern, RuleKeys, ascii_domain, parse_pattern

Progress = Callable[[str], None]
_LISTED: Final = 5
"""Rules that one message names."""


def no_progress(name: str) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Keys that can be used, by name."""

    usable: Mapping[str, SigningKey]

    def rules(self, config: Config) -> dict[Pattern, RuleKeys]:
        """Return the signing rules with those of their keys that can be used."""
        return {parse_pattern(rule.from_): self._of_rule(rule) for rule in config.signing.rules}

    def _of_rule(self, rule: Rule) -> RuleKeys:
        chosen = tuple(self.usable[name] for name in rule.keys if name in self.usable)
        if not chosen:
            return MissingKeys(rule.keys)
        if not rule.identity:
            return chosen
        local, _, domain = rule.identity.rpartition("@")
        value = local.encode("ascii") + b"@" + ascii_domain(domain)
        return tuple(dataclasses.replace(key, identity=value) for key in chosen)


def load_keys(
    config: Config,
    loaded: Loaded,
    owners: frozenset[int],
    identities: Identities,
    names: Collection[str] | None = None,
    progress: Progress = no_progress,
) -> tuple[SigningKeys, list[Fault]]:
    """Load the private keys; returns them and all errors and warnings.

    Args:
        config: the configuration.
        loaded: where it came from, to locate errors.
        owners: user ids that may own key files; root always may.
        identities: is filled with what the files were.
        names: keys to load; None for all.
        progress: is called with the name of each key before it is loaded, and with an empty one at the end.
    """
    usable: dict[str, SigningKey] = {}
    missing: dict[str, str] = {}
    faults: list[Fault] = []
    with KeyStore(config.signing.key_permissions, owners, Limits(**config.limits.model_dump()), identities) as store:
        for name, key in config.keys.items():
            if names is not None and name not in names:
                continue
            progress(name)
            try:
                found = store.load(key.file)
            except KeyStoreError as error:
                missing[name] = str(error.fault)
                continue
            faults += [loaded.fault(_path(name), str(warning), Severity.WARNING) for warning in found.warnings]
            usable[name] = SigningKey(
                name,
                ascii_domain(key.domain),
                ascii_domain(key.selector),
                algorithm_of(found.private),
                found.private,
                first=found.first,
            )
    progress("")
    if config.signing.on_missing_key is OnMissingKey.REFUSE:
        faults += [loaded.fault(_path(name), message) for name, message in missing.items()]
    elif missing:
        effects = _effects(config.signing.rules, missing, usable)
        for name, message in missing.items():
            faults.append(loaded.fault(_path(name), f"{message}; {effects[name]}", Severity.WARNING))
    return SigningKeys(usable), faults


def _path(name: str) -> tuple[str, ...]:
    return "keys", name, "file"


class _Effect(StrEnum):
    """What becomes of a rule's mail when keys of it are missing."""

    DEFER = "its mail is deferred with 451 until a key can be used (on_missing_key)"
    SIGN = "its mail is signed with its other keys"


def _effects(rules: Sequence[Rule], missing: Collection[str], usable: Collection[str]) -> dict[str, str]:
    """For each missing key: which rules it affects, and how."""
    affected: dict[str, dict[_Effect, list[str]]] = {name: {} for name in missing}
    for number, rule in enumerate(rules):
        effect = _Effect.SIGN if any(name in usable for name in rule.keys) else _Effect.DEFER
        for name in rule.keys:
            if name in affected:
                rule_name = f"{dotted(('signing', 'rules', number))} ({shown(rule.from_)})"
                affected[name].setdefault(effect, []).append(rule_name)
    return {name: _effect_words(found) for name, found in affected.items()}


def _effect_words(found: Mapping[_Effect, Sequence[str]]) -> str:
    if not found:
        return "no signing rule uses this key"
    parts = []
    for effect in _Effect:
        if names := found.get(effect):
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            parts.append(f"{', '.join(names[:_LISTED])}{more}: {effect}")
    return "; ".join(parts)
