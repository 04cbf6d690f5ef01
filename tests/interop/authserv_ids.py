"""Readers of Authentication-Results that are not ours, and values that are made to mislead them."""

from __future__ import annotations

import base64
import email
import email.errors
import email.header
import email.policy
import itertools
import random
import re
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
NODE: Final = HERE.parents[1] / ".tools" / "node"
OURS: Final = "mx.example.com"

_CHARSETS: Final = (
    *("utf-8", "UTF-8", "us-ascii", "iso-8859-1", "windows-1252", "iso-2022-jp", "shift_jis", "utf-8*en", "utf_8_sig"),
    *("utf-16", "utf-16be", "utf-16le", "utf-32", "utf-7", "cp037", "hz", "idna", "unicode_escape"),
    *("x-unknown", "EBCDIC-US", "utf-8//translit", "U.T.F.8"),
)
_JUNK: Final = (
    *(b" ", b"\t", b"\r\n ", b"\x0b", b"\x01", b"\x1c", b"\x85", b"\xff", b";", b"; dkim=pass", b" dkim=pass", b"a=b"),
    *(b'"', b"'", b"\\", b"(x)", b"(a (b) c)", b"(", b")", b"<", b">", b"[", b"]", b"=", b"=?", b"?=", b"%20", b"@"),
    *(b",", b".", b":", b":25", b"/1", b" 1", b"-", b"_", b"x", b"other.example", b"=?utf-8?q??="),
    *(text.encode() for text in ("\u00ad", "\u200b", "\u00a0", "\u2028", "\uff58")),
)
_FORMS: Final = ("{};", "{}; dkim=pass", '"{}"', "({})", "{} ", "{}.", "sub.{}", "{}.evil.example")


def values(seed: int, count: int) -> list[bytes]:
    """Return values, without leading space, that may or may not be read as ours; the same for the same seed."""
    chance = random.Random(seed)
    found: list[bytes] = []
    while len(found) < count:
        value = _value(chance)
        # A field is one field: each line end begins a fold.
        if b"\n" not in value.replace(b"\r\n ", b""):
            found.append(value)
    return found


def _value(chance: random.Random) -> bytes:
    name = OURS
    if chance.random() < 0.2:
        name = chance.choice([name.upper(), name.replace("m", "\uff4d"), *(form.format(name) for form in _FORMS)])
    cuts = [0, *sorted(chance.randint(0, len(name)) for _ in range(chance.randint(1, 3))), len(name)]
    pieces = [name[start:end] for start, end in itertools.pairwise(cuts)]
    parts = [_encoded(chance, piece.encode()) if chance.random() < 0.45 else piece.encode() for piece in pieces]
    if chance.random() < 0.05:
        parts = [_encoded(chance, b"".join(parts))]
    for likelihood in (0.6, 0.3):
        if chance.random() < likelihood:
            parts.insert(chance.randint(0, len(parts)), chance.choice(_JUNK))
    head = chance.choice([b"", b"", b" ", b"\r\n "]).join(parts)
    return chance.choice([b"", b"(c) "]) + head + chance.choice([b"; dkim=pass header.d=bank.example", b"", b" ; none"])


def _encoded(chance: random.Random, text: bytes) -> bytes:
    charset = chance.choice(_CHARSETS)
    try:
        octets = text.decode().encode(charset.partition("*")[0])
    except (LookupError, UnicodeError):
        octets = text
    if chance.random() < 0.5:
        letter, word = chance.choice([b"b", b"B"]), base64.b64encode(octets)
        if chance.random() < 0.3:
            word = word.rstrip(b"=")
        if chance.random() < 0.1:
            word = word[:2] + chance.choice([b" ", b"!", b"=", b"-"]) + word[2:]
    else:
        letter = chance.choice([b"q", b"Q"])
        plain = re.compile(rb"[A-Za-z0-9]")
        word = b"".join(
            bytes((octet,)) if plain.match(bytes((octet,))) and chance.random() < 0.6 else b"=%02X" % octet
            for octet in octets
        )
    return b"=?" + charset.encode() + b"?" + letter + b"?" + word + b"?="


def readings(found: Sequence[bytes]) -> list[dict[str, list[str]]]:
    """Return what each reader takes for the authserv-id of each value; several where it has several ways."""
    question = "".join(value.hex() + "\n" for value in found)
    perl = _ask(["perl", str(HERE / "authserv_ids.pl")], question)
    node = _ask(["node", str(HERE / "authserv_ids.js")], question)
    answers = []
    for value, by_perl, by_node in zip(found, perl, node, strict=True):
        mailauth, decoded, after = (bytes.fromhex(text).decode("utf-8", "replace") for text in by_node.split(" "))
        answers.append(
            {
                "Mail::AuthenticationResults": [bytes.fromhex(by_perl).decode("latin-1")],
                "mailauth": [mailauth],
                "mailauth behind libmime": [after],
                "libmime": list(_simple(decoded)),
                "email.policy.default": list(_simple(_by_policy(value))),
                "email.header": list(_simple(_by_header(value))),
                "email.header behind email.policy.default": list(_simple(_by_header(_by_policy(value)))),
            }
        )
    return answers


def is_ours(name: str) -> bool:
    """Whether a reader that found this would take it for our name."""
    return name.strip(" \t\r\n.\"'").lower() == OURS


def _ask(command: list[str], question: str) -> list[str]:
    cwd = NODE if command[0] == "node" else None
    done = subprocess.run(command, input=question, capture_output=True, text=True, timeout=100, check=True, cwd=cwd)
    return done.stdout.splitlines()


def _by_policy(value: bytes) -> str:
    message = email.message_from_bytes(b"Authentication-Results: " + value + b"\r\n\r\n", policy=email.policy.default)
    try:
        return str(message["Authentication-Results"])
    except (LookupError, ValueError, AttributeError, TypeError):
        # Some damaged words are too much for the package.
        return ""


def _by_header(value: bytes | str) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            words = email.header.decode_header(text.replace("\r\n", ""))
            return str(email.header.make_header(words))
        except (email.errors.MessageError, LookupError, ValueError):
            return ""


def _simple(text: str) -> Iterator[str]:
    """What scripts do with a decoded value."""
    head = text.split(";")[0]
    yield head
    yield (head.split() or [""])[0]
    for pattern in (r"\s*([\w.-]+)", r'\s*"?([A-Za-z0-9.-]+)'):
        match = re.match(pattern, re.sub(r"\\(.)", r"\1", text))
        if match is not None:
            yield match[1]
