"""Mutants: signed messages and key records with a few things changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from interop.mutations import AFTER, BEFORE, RECORDS, Draft, set_tag
from interop.peers import KeyPair
from interop.reference import signed_field


@dataclass(frozen=True)
class Mutant:
    """A message and the record for its key, and what was changed."""

    algorithm: str
    message: bytes
    records: dict[str, list[bytes]]
    changes: tuple[str, ...]


def sound(key: KeyPair, now: int) -> Draft:
    """A message with nothing wrong."""
    fields = [
        (b"Received", b" from a.example by b.example;\r\n\tMon, 2 Jan 2023 10:00:00 +0000"),
        (b"From", b" Joe Doe <joe@example.com>"),
        (b"To", b" jane@example.net"),
        (b"Subject", b"  a subject\r\n of two lines "),
        (b"Date", b" Mon, 2 Jan 2023 10:00:00 +0000"),
        (b"Message-ID", b" <1@example.com>"),
    ]
    tags = [b" v=1", b" a=" + key.algorithm.encode(), b" c=relaxed/simple", b" d=example.com"]
    tags += [
        b" s=" + key.selector.encode(),
        b"\r\n\tt=%d" % (now - 60),
        b" h=From:To:Subject:Date",
        b"\r\n\tbh=",
        b" b=",
    ]
    return Draft(key, now, fields, b"one line\r\n", tags, key.record.encode())


def finished(draft: Draft, after: Iterable[Callable[[bytes], bytes]]) -> Mutant:
    """The message signed, and changed after that."""
    signature = signed_field(draft.field_name, draft.tags, draft.fields, draft.body, draft.key.private)
    fields = [signature, *draft.fields]
    message = b"".join(name + b":" + value + b"\r\n" for name, value in fields) + b"\r\n" + draft.body
    for change in after:
        message = change(message)
    records = {} if draft.record is None else {draft.key.name: [draft.record]}
    return Mutant(draft.key.algorithm, message, records, tuple(draft.changes))


_BODIES = (b"one line\r\n", b"two  words \r\n\r\nand more\t\r\n\r\n\r\n", b"", b"\r\n", b"8 bit \xe9\xa0 \r\n.\r\n")
_CANONICALIZATIONS = (b"simple/simple", b"simple/relaxed", b"relaxed/simple", b"relaxed/relaxed")
_NAMES = (b"From:To:Subject:Date", b"From : From : Subject", b"from:to:cc:subject:date:message-id")


def mutant(keys: Sequence[KeyPair], now: int, random: Random) -> Mutant:
    """One mutant, with one to three changes."""
    made = sound(random.choice(keys), now)
    made.body = random.choice(_BODIES)
    set_tag(made, b"c", random.choice(_CANONICALIZATIONS))
    set_tag(made, b"h", random.choice(_NAMES))
    after: list[Callable[[bytes], bytes]] = []
    for _ in range(random.choice([1, 1, 1, 2, 2, 3])):
        kind = random.choice([BEFORE, BEFORE, RECORDS, AFTER])
        name = random.choice(list(kind))
        made.changes.append(name)
        if kind is AFTER:
            after.append(partial(AFTER[name], random=random))
        else:
            kind[name](made, random)  # type: ignore[operator]
    return finished(made, after)
