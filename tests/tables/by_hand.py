"""Signatures made by hand over any tags whatever, in the words of RFC 6376 and without the product's code.

A row of a table changes one thing. So that nothing else is wrong, the signature is made over the changed text by the
real key: canonicalization, selection and signing stand here a second time, as plainly as the RFC has them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Final

from tables.keys import ED, AnyKey, RsaKey

NOW: Final = 1_700_000_000
DOMAIN: Final = b"example.com"
SELECTOR: Final = b"sel"
NAME: Final = b"sel._domainkey.example.com"

HEAD: Final = (
    b"From: Joe SixPack <joe@example.com>",
    b"To: Suzie Q <suzie@example.net>",
    b"Subject: Is dinner ready?",
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)",
    b"Message-ID: <20030712040037.46341.5F8J@example.com>",
)
BODY: Final = b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"

_DEFAULT: Final[dict[str, bytes]] = {
    "v": b"1",
    "a": b"",
    "c": b"relaxed/relaxed",
    "d": DOMAIN,
    "s": SELECTOR,
    "t": b"%d" % NOW,
    "h": b"from:to:subject:date",
    "bh": b"{bh}",
    "b": b"{b}",
}


def tags(key: AnyKey = ED, *, more: bytes = b"", **changes: bytes | None) -> bytes:
    """A signature's value with the usual tags; a change to None leaves a tag out, ``more`` is put before bh=."""
    values = {**_DEFAULT, "a": key.algorithm.encode(), **changes}
    parts = [b" " + name.encode() + b"=" + value for name, value in values.items() if value is not None]
    if more:
        parts.insert(max(len(parts) - 2, 0), b" " + more)
    return b";".join(parts)


def relaxed_header(name: bytes, value: bytes) -> bytes:
    """RFC 6376 section 3.4.2; without the final CRLF."""
    unfolded = re.sub(rb"\r\n(?=[ \t])", b"", value)
    return name.rstrip(b" \t").lower() + b":" + re.sub(rb"[ \t]+", b" ", unfolded).strip(b" ")


def simple_body(body: bytes) -> bytes:
    """RFC 6376 section 3.4.3."""
    end = len(body)
    while end >= 2 and body[end - 2 : end] == b"\r\n":
        end -= 2
    return body[:end] + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 section 3.4.4."""
    lines = [re.sub(rb"[ \t]+", b" ", line).removesuffix(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def _select(head: Sequence[bytes], names: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """RFC 6376 section 5.4.2: of a repeated name the last instance first; nothing for one that is not there."""
    left = [field.partition(b":")[::2] for field in head]
    chosen = []
    for wanted in names:
        for index in range(len(left) - 1, -1, -1):
            if left[index][0].rstrip(b" \t").lower() == wanted.lower():
                chosen.append(left.pop(index))
                break
    return chosen


def field(
    value: bytes,
    key: AnyKey = ED,
    *,
    head: Sequence[bytes] = HEAD,
    body: bytes = BODY,
    names: Sequence[bytes] = (b"from", b"to", b"subject", b"date"),
    how: tuple[str, str] = ("relaxed", "relaxed"),
    covered: int | None = None,
    name: bytes = b"DKIM-Signature",
    fold: int = 0,
    sha1: bool = False,
) -> bytes:
    """A DKIM-Signature field, without final CRLF.

    Args:
        value: its value with ``{bh}`` and ``{b}`` where these go; all else is taken as it is.
        key: what it is signed with.
        head: the message's other fields, from the top, each without final CRLF.
        body: the message's body.
        names: what is hashed, whatever h= says.
        how: the canonicalizations that are used, whatever c= says.
        covered: octets of the canonical body that are hashed; None for all.
        name: the field's name.
        fold: b= in lines of so many octets.
        sha1: sign with SHA-1.
    """
    canonical = (relaxed_body if how[1] == "relaxed" else simple_body)(body)
    body_hash = (hashlib.sha1 if sha1 else hashlib.sha256)(canonical[:covered]).digest()
    value = value.replace(b"{bh}", base64.b64encode(body_hash))
    # RFC 6376 section 3.7: the value of b= is taken out, and all white space around it.
    unsigned = re.sub(rb"[ \t\r\n]*\{b\}[ \t\r\n]*", b"", value)
    fields = [*_select(head, names), (name, unsigned)]
    if how[0] == "relaxed":
        text = b"\r\n".join(relaxed_header(*entry) for entry in fields)
    else:
        text = b"\r\n".join(n + b":" + v for n, v in fields)
    signed = key.sign(text, True) if sha1 and isinstance(key, RsaKey) else key.sign(text)
    encoded = base64.b64encode(signed)
    if fold:
        encoded = b"\r\n\t".join(encoded[at : at + fold] for at in range(0, len(encoded), fold))
    return name + b":" + value.replace(b"{b}", encoded)


def message(*head: bytes, body: bytes = BODY) -> bytes:
    """Fields and a body, on the wire."""
    return b"".join(entry + b"\r\n" for entry in head) + b"\r\n" + body


def signed(
    value: bytes | None = None,
    key: AnyKey = ED,
    *,
    head: Sequence[bytes] = HEAD,
    body: bytes = BODY,
    names: Sequence[bytes] = (b"from", b"to", b"subject", b"date"),
    how: tuple[str, str] = ("relaxed", "relaxed"),
    covered: int | None = None,
    name: bytes = b"DKIM-Signature",
    fold: int = 0,
    sha1: bool = False,
) -> bytes:
    """A message with such a signature on top; the usual one without arguments."""
    made = field(
        tags(key) if value is None else value,
        key,
        head=head,
        body=body,
        names=names,
        how=how,
        covered=covered,
        name=name,
        fold=fold,
        sha1=sha1,
    )
    return message(made, *head, body=body)
