"""From a DNS message to the records of a name, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

MAX_CHAIN: Final = 12
"""The most aliases followed for one name."""

BOGUS_CODES: Final = frozenset({5, 6, 7, 8, 9, 10, 11, 12})
"""Extended DNS Errors that say that validation failed (RFC 8914 section 4)."""


class ChainError(Exception):
    """Aliases that form a loop, a chain that is too long, or a name that is too long."""


@dataclass(frozen=True, slots=True)
class Records:
    """What a message says of a name.

    Attributes:
        texts: TXT records, each with its character-strings joined without spaces (RFC 6376 section 3.6.2.2).
        ttl: how long that may be kept, in seconds; None for a negative answer without SOA.
        alias: where the message's chain of aliases stops short; the name to ask for next, or None.
        authentic: the server vouches for it (AD).
    """

    texts: tuple[bytes, ...]
    ttl: int | None
    alias: dns.name.Name | None
    authentic: bool


def dns_name(name: bytes) -> dns.name.Name | None:
    """The absolute name of raw labels with dots between them; None when DNS can't have such a name."""
    try:
        return dns.name.Name([*name.rstrip(b".").split(b"."), b""])
    except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
        return None


def read_answer(message: dns.message.Message, name: dns.name.Name) -> Records:
    """Read a NOERROR or NXDOMAIN message.

    Raises:
        ChainError: the aliases in it loop.
    """
    authentic = bool(message.flags & dns.flags.AD)
    aliases: dict[dns.name.Name, dns.rrset.RRset] = {}
    subtrees: dict[dns.name.Name, dns.rrset.RRset] = {}
    texts: dict[dns.name.Name, dns.rrset.RRset] = {}
    for rrset in message.answer:
        if rrset.rdclass != dns.rdataclass.IN:
            continue
        if rrset.rdtype == dns.rdatatype.CNAME:
            aliases.setdefault(rrset.name, rrset)
        elif rrset.rdtype == dns.rdatatype.DNAME:
            subtrees.setdefault(rrset.name, rrset)
        elif rrset.rdtype == dns.rdatatype.TXT:
            texts.setdefault(rrset.name, rrset)
    ttls = []
    owner = name
    for _ in range(MAX_CHAIN + 1):
        alias = aliases.get(owner)
        if alias is not None:
            ttls.append(alias.ttl)
            owner = alias[0].target
            continue
        # Servers make a CNAME from a DNAME, but need not (RFC 6672 section 3.4.1).
        subtree = next((subtrees[name] for name in _ancestors(owner) if name in subtrees), None) if subtrees else None
        if subtree is None:
            break
        ttls.append(subtree.ttl)
        owner = _moved(owner, subtree)
    else:
        raise ChainError("a chain of aliases without end")
    found = texts.get(owner)
    if found is not None and message.rcode() == dns.rcode.NOERROR:
        joined = tuple(b"".join(rdata.strings) for rdata in found)
        return Records(joined, min([*ttls, found.ttl]), None, authentic)
    negative = _negative_ttl(message.authority)
    if owner != name and negative is None and message.rcode() == dns.rcode.NOERROR:
        return Records((), min(ttls), owner, authentic)
    return Records((), None if negative is None else min([*ttls, negative]), None, authentic)


def _ancestors(name: dns.name.Name) -> Iterator[dns.name.Name]:
    while name != dns.name.root:
        name = name.parent()
        yield name


def _moved(name: dns.name.Name, subtree: dns.rrset.RRset) -> dns.name.Name:
    try:
        return name.relativize(subtree.name).concatenate(subtree[0].target)
    except dns.name.NameTooLong as error:
        raise ChainError("an alias without a possible name") from error


def is_referral(message: dns.message.Message) -> bool:
    """The server names others to ask instead of answering (RFC 2308 section 2.2): it does not recurse."""
    kinds = {rrset.rdtype for rrset in message.authority}
    return (
        message.rcode() == dns.rcode.NOERROR
        and not message.answer
        and dns.rdatatype.NS in kinds
        and dns.rdatatype.SOA not in kinds
    )


def _negative_ttl(authority: Sequence[dns.rrset.RRset]) -> int | None:
    # RFC 2308 section 5: the lesser of the SOA's own TTL and its minimum.
    for rrset in authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return min(rrset.ttl, int(rrset[0].minimum))
    return None


def is_bogus(message: dns.message.Message) -> bool:
    """A failure that the server blames on DNSSEC validation (RFC 8914)."""
    return any(isinstance(option, dns.edns.EDEOption) and option.code in BOGUS_CODES for option in message.options)
