"""Whole messages of a trusted client. Oracle: what is signed verifies by the reference, its author is one that the rule
names, its field is folded; what is not signed has a reason and no edits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fuzz.honest import DOMAIN, ED25519, MESSAGES, NOW, RSA
from fuzz.reference import is_signature, tag, verifies
from fuzz.target import CONTROLS, Target, check
from fuzz.targets.verifying import OURS, written
from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome
from phoenixdkim.dkim.results import Algorithm, Reason, SignResult
from phoenixdkim.dkim.sign import SigningKey, SignOptions
from phoenixdkim.events import Action
from phoenixdkim.milter.outcome import InsertField
from phoenixdkim.milter.session import Client, MessageSession
from phoenixdkim.policy import Policy, SigningTable, parse_pattern

_KEYS = (
    SigningKey("rsa", DOMAIN, b"r", Algorithm.RSA_SHA256, RSA, b"joe; x@" + DOMAIN),
    SigningKey("ed", DOMAIN, b"e", Algorithm.ED25519_SHA256, ED25519),
)
_TABLES = [SigningTable.of({parse_pattern("*@" + DOMAIN.decode()): keys}) for keys in (_KEYS[1:], _KEYS)]
_HOW = list(Canonicalization)
POLICIES = [
    Policy(
        OURS,
        signing=True,
        table=_TABLES[number >> 3],
        sign_options=SignOptions(_HOW[number & 1], _HOW[number >> 1 & 1], ttl=3600 if number & 4 else None),
    )
    for number in range(16)
]
UNAVAILABLE = KeyAnswer(KeyOutcome.UNAVAILABLE, reason=Reason.DNS_UNAVAILABLE)
_UNWRITTEN = CONTROLS | frozenset(range(127, 256))
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def execute(data: bytes) -> None:
    """Two octets of settings, and the message."""
    settings, size = (data + b"\0\0")[:2]
    fields, body = parse_message(data[2:])
    # RSA signatures cost ten times as much as the rest: one message in sixteen has one.
    policy = POLICIES[settings & 7 | (settings >> 4 == 15) << 3]
    session = MessageSession(policy, Client("192.0.2.1", authenticated=True), NOW)
    for field in fields:
        session.header(field.name, field.value)
    session.end_of_headers()
    step = size or len(body) or 1
    for at in range(0, len(body), step):
        session.body(body[at : at + step])
    outcome = session.end_of_message(dict.fromkeys(session.key_names, UNAVAILABLE))
    if outcome.action is not Action.SIGN:
        check(outcome.unsigned is not None, "not signed, and no reason", outcome)
        return
    plain = [(field.name, field.value) for field in fields]
    authors = [value for name, value in plain if name.rstrip(b" \t").lower() == b"from"]
    check(len(authors) == 1 and DOMAIN in authors[0].lower(), "signed for somebody else", authors)
    check(not _BARE.search(body), "signed a body that a relay would change")
    inserted = [edit for edit in outcome.edits if isinstance(edit, InsertField)]
    check([made.result for made in outcome.signatures] == [SignResult.OK] * len(inserted), "signatures", outcome)
    for edit in inserted:
        check(is_signature((edit.name, b"")) and edit.value[:1] == b" ", "what is inserted", edit)
        lines = edit.value.split(b"\r\n")
        check(all(line[:1] in b" \t" and len(line) < 900 and line.strip() for line in lines), "folds", edit.value)
        check(_UNWRITTEN.isdisjoint(b"".join(lines)), "controls", lines)
        key = RSA if tag(edit.value, b"a") == b"rsa-sha256" else ED25519
        check(verifies([(edit.name, edit.value), *plain], body, 0, key), "does not verify", edit.value, plain)


def seeds() -> Iterator[bytes]:
    for number, message in enumerate(MESSAGES):
        for settings in (0, 3, 0xF6):
            yield bytes((settings, number)) + written(message)
    fields, body = MESSAGES[0]
    yield b"\0\0" + written(([(b"From ", b" A <a@" + DOMAIN + b">, b@" + DOMAIN), *fields[1:]], body))
    yield b"\0\0" + written((fields, b"a" * 1000 + b"\r\n"))


TARGET = Target(
    execute,
    seeds,
    (
        *(b"\r\n", b"From:", b"Subject:", b"DKIM-Signature:", b"\r\n\t", b"\r", b"\n", b" ", b"\t", b"@" + DOMAIN),
        *(b"<", b">", b",", b":", b'"', b"(", "ä".encode(), b"\0", b"x" * 998),
    ),
    1536,
)
