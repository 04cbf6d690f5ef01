"""Who is signed with which keys, who is trusted, what happens on a result.

A ``Policy`` is what workers use of the configuration: immutable, made once, and asked with dictionary look-ups only.

Signing rules. The most specific rule that matches an author's address decides, whatever the order in the file:

1. the address itself: ``user@example.com``
2. its domain: ``*@example.com``
3. the nearest domain above: ``*@*.example.com``, which matches sub-domains at any depth, not the domain itself
4. everything: ``*``

Domains are compared without case and in their ASCII form (RFC 5891), local parts without case.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import idna

from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Result
from phoenixdkim.dkim.sign import SigningKey, SignOptions
from phoenixdkim.dkim.verify import FromPolicy, LengthPolicy

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Keys = tuple[SigningKey, ...]


@dataclass(frozen=True, slots=True)
class MissingKeys:
    """Stands for the keys of a rule when none of them can be used.

    Attributes:
        names: the rule's keys, by their names in the configuration.
    """

    names: tuple[str, ...]


RuleKeys = Keys | MissingKeys
"""What a rule signs with. A rule always has keys, so no tuple in a table is empty."""
MacroConditions = Mapping[str, frozenset[str]]

_CACHED_CLIENTS: Final = 4096
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_PLAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NO_MACROS: Final[Mapping[str, str]] = {}


class Disposition(StrEnum):
    """What the MTA is told to do with a message."""

    ACCEPT = "accept"
    TEMPFAIL = "tempfail"
    REJECT = "reject"
    DISCARD = "discard"
    QUARANTINE = "quarantine"


class RemoveForged(StrEnum):
    """Which Authentication-Results fields that claim our name are removed."""

    ALL = "all"
    OWN = "own"
    OFF = "off"


class PatternError(ValueError):
    """A rule's ``from`` can't be understood; the message says what to write."""


def ascii_domain(domain: str) -> bytes:
    """A domain in lower case and ASCII (RFC 5891), without final dot.

    Raises:
        ValueError: it is no domain name.
    """
    if len(domain) <= 253 and _PLAIN.fullmatch(domain):
        # Nearly all; a configuration of 10,000 keys has 70,000 of them.
        return domain.lower().encode("ascii")
    name = domain.strip().rstrip(".")
    if not name:
        raise ValueError("an empty domain")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise ValueError(str(error)) from error
    name = name.lower()
    labels = name.split(".")
    if len(name) > 253 or not all(0 < len(label) <= 63 for label in labels):
        raise ValueError("labels have 1 to 63 characters, the whole name at most 253")
    for label in labels:
        if not all(c.isalnum() or c in "-_" for c in label) or label.startswith("-") or label.endswith("-"):
            raise ValueError(f"'{label}' is no label of a domain name")
    return name.encode("ascii")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A rule's ``from``, read: a key of one of the tables of ``SigningTable``."""

    local: bytes
    """Lower-case local part; empty for any."""
    domain: bytes
    """Domain in ASCII; empty for any."""
    below: bool
    """Its sub-domains are meant, not the domain."""


def parse_pattern(text: str) -> Pattern:
    """Read ``user@example.com``, ``*@example.com``, ``*@*.example.com`` or ``*``; ``*@`` may be left out.

    Raises:
        PatternError: it is none of these.
    """
    wanted = 'write "user@example.com", "*@example.com", "*@*.example.com" (its sub-domains) or "*" (everyone)'
    if text in ("*", "*@*"):
        return Pattern(b"", b"", False)
    local, at, domain = text.rpartition("@")
    if at and not local:
        raise PatternError(f"{text!r} has nothing before '@'; {wanted}")
    if local == "*":
        local = ""
    if "*" in local or any(c in local for c in " \t\r\n,;"):
        raise PatternError(f"{text!r} is no address pattern; '*' stands for a whole local part; {wanted}")
    below = domain.startswith("*.")
    if below and local:
        raise PatternError(f"{text!r}: a single address in all sub-domains can't be had; {wanted}")
    try:
        name = ascii_domain(domain[2:] if below else domain)
    except ValueError as error:
        raise PatternError(f"{text!r}: '{domain}' is no domain name ({error}); {wanted}") from error
    return Pattern(local.lower().encode(), name, below)


@dataclass(frozen=True, slots=True)
class SigningTable:
    """Signing rules, by kind of pattern; the keys of the dictionaries are in lower case and ASCII."""

    addresses: Mapping[tuple[bytes, bytes], RuleKeys] = field(default_factory=dict)
    domains: Mapping[bytes, RuleKeys] = field(default_factory=dict)
    below: Mapping[bytes, RuleKeys] = field(default_factory=dict)
    everyone: RuleKeys = ()

    @classmethod
    def of(cls, rules: Mapping[Pattern, RuleKeys]) -> SigningTable:
        """Sort rules into a table."""
        addresses = {(pattern.local, pattern.domain): keys for pattern, keys in rules.items() if pattern.local}
        domains = {
            pattern.domain: keys
            for pattern, keys in rules.items()
            if pattern.domain and not pattern.local and not pattern.below
        }
        below = {pattern.domain: keys for pattern, keys in rules.items() if pattern.below}
        return cls(addresses, domains, below, rules.get(Pattern(b"", b"", False), ()))

    def find(self, address: bytes) -> RuleKeys:
        """Keys of the most specific rule that matches ``local@domain``; none when no rule does."""
        local, _, domain = address.rpartition(b"@")
        domain = domain.lower().rstrip(b".")
        if not domain.isascii():
            try:
                domain = ascii_domain(domain.decode("utf-8"))
            except ValueError:
                # No rule can name it; a signature for everyone would be made for an unusable address.
                return ()
        if self.addresses and (keys := self.addresses.get((_folded(local), domain))):
            return keys
        if keys := self.domains.get(domain):
            return keys
        if self.below:
            # A domain name has at most 127 labels; what is longer matches nothing that could be configured.
            for _ in range(127):
                _, dot, domain = domain.partition(b".")
                if not dot:
                    break
                if keys := self.below.get(domain):
                    return keys
        return self.everyone


def _folded(local: bytes) -> bytes:
    if local.isascii():
        return local.lower()
    return local.decode("utf-8", "surrogateescape").lower().encode("utf-8", "surrogateescape")


def _all_accept() -> dict[Result, Disposition]:
    return dict.fromkeys(Result, Disposition.ACCEPT)


@dataclass(frozen=True)
class Policy:
    """What a worker does with messages.

    Attributes:
        authserv_id: our name in Authentication-Results.
        authserv_id_of_mta: the MTA's name takes its place where it is known.
        signing: messages of trusted clients are signed.
        verifying: all others are verified.
        table: the signing rules.
        networks: trusted networks.
        trust_authenticated: clients that authenticated are trusted wherever they are.
        trusted_macros: a client is trusted if one of these macros has one of its values; an empty set accepts every
            value but the empty one.
        required_macros: a client is trusted only if all of these macros match, too.
        limits: bounds on work.
        sign_options: how signatures are made.
        max_line: octets of a line that the MTA passes on unbroken; None if that depends on the MTA.
        length_policy: what is made of l=.
        from_policy: what is made of several From fields.
        add_none: write Authentication-Results for messages without signature too.
        remove_forged: which Authentication-Results that claim our name are removed.
        removed_ids: further names whose Authentication-Results are removed with them.
        keep_from: networks whose Authentication-Results are kept.
        on_internal_error: for a message inside which something went wrong.
        on_result: for each verification result.
    """

    authserv_id: bytes
    authserv_id_of_mta: bool = False
    signing: bool = False
    verifying: bool = True
    table: SigningTable = SigningTable()
    networks: tuple[Network, ...] = ()
    trust_authenticated: bool = True
    trusted_macros: MacroConditions = field(default_factory=dict)
    required_macros: MacroConditions = field(default_factory=dict)
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    sign_options: SignOptions = SignOptions()  # noqa: RUF009 - frozen
    max_line: int | None = None
    length_policy: LengthPolicy = LengthPolicy.POLICY
    from_policy: FromPolicy = FromPolicy.POLICY
    add_none: bool = True
    remove_forged: RemoveForged = RemoveForged.ALL
    removed_ids: tuple[bytes, ...] = ()
    keep_from: tuple[Network, ...] = ()
    on_internal_error: Disposition = Disposition.TEMPFAIL
    on_result: Mapping[Result, Disposition] = field(default_factory=_all_accept)

    macro_names: tuple[str, ...] = field(init=False)
    """Macros of the conditions."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "macro_names", tuple({**self.trusted_macros, **self.required_macros}))
        for name, networks in (("_trusted_address", self.networks), ("_kept_address", self.keep_from)):
            cached = functools.lru_cache(maxsize=_CACHED_CLIENTS)(functools.partial(_within, networks))
            object.__setattr__(self, name, cached)

    def trusted(self, address: str | None, authenticated: bool, macros: Mapping[str, str] = _NO_MACROS) -> bool:
        """Return whether mail of this client is signed.

        Args:
            address: its IP address as text; None when it is not known.
            authenticated: it authenticated to the MTA.
            macros: values of the macros of ``macro_names``; empty or absent if the MTA did not send one.
        """
        if not all(_matches(macros.get(name), values) for name, values in self.required_macros.items()):
            return False
        if authenticated and self.trust_authenticated:
            return True
        if any(_matches(macros.get(name), values) for name, values in self.trusted_macros.items()):
            return True
        return address is not None and bool(self._trusted_address(address))  # type: ignore[attr-defined]

    def keeps_results(self, address: str | None) -> bool:
        """Whether Authentication-Results of a message of this client are kept, whatever name they claim.

        Args:
            address: its IP address as text; None when it is not known.
        """
        if self.remove_forged is RemoveForged.OFF:
            return True
        return address is not None and bool(self.keep_from) and bool(self._kept_address(address))  # type: ignore[attr-defined]

    def keys_for(self, address: bytes) -> RuleKeys:
        """Keys that sign for the author ``local@domain``, in the rule's order; none when no rule matches."""
        return self.table.find(address)

    def disposition(self, result: Result) -> Disposition:
        """What happens to a message with this verification result."""
        return self.on_result.get(result, Disposition.ACCEPT)


def _matches(value: str | None, accepted: frozenset[str]) -> bool:
    return bool(value) and (not accepted or value in accepted)


def _within(networks: tuple[Network, ...], address: str) -> bool:
    text = address.removeprefix("IPv6:").partition("%")[0]
    try:
        client = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    return any(client.version == network.version and client in network for network in networks)
