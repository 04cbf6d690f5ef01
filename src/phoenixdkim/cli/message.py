"""One message from standard input through the milter's own session."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from phoenixdkim.dkim.headers import crlf, parse_message
from phoenixdkim.dkim.keys import KeyAnswer
from phoenixdkim.milter.outcome import Outcome
from phoenixdkim.milter.session import Client, MessageSession
from phoenixdkim.policy import Policy

LookUp = Callable[[Sequence[bytes]], Mapping[bytes, KeyAnswer]]

_CHUNK: Final = 65535
"""What a milter is handed at most at one time."""


def no_keys(names: Sequence[bytes]) -> Mapping[bytes, KeyAnswer]:
    """For a session that only signs: it needs no key record."""
    return {}


def process(data: bytes, policy: Policy, client: Client, now: int, look_up: LookUp) -> Outcome:
    """Put a message through a session, as the milter does.

    Args:
        data: the message; line ends without CR are taken for the wire's.
        policy: what to do.
        client: who hands it in.
        now: Unix time in seconds.
        look_up: gets the key records that the session needs.
    """
    session, names, body = _begun(data, policy, client, now)
    for at in range(0, len(body), _CHUNK):
        session.body(body[at : at + _CHUNK])
    return session.end_of_message(look_up(names) if names else {})


def missing_keys(data: bytes, policy: Policy, client: Client, now: int) -> tuple[str, ...]:
    """Return the names of the keys that would sign a message, if ``policy`` has none of them loaded."""
    return _begun(data, policy, client, now)[0].missing_keys


def _begun(data: bytes, policy: Policy, client: Client, now: int) -> tuple[MessageSession, tuple[bytes, ...], bytes]:
    """A session that has the header; the names of the key records that it needs; the body."""
    fields, body = parse_message(crlf(data))
    session = MessageSession(policy, client, now)
    for field in fields:
        session.header(field.name, field.value)
    return session, session.end_of_headers(), body


def timestamp(text: str) -> int:
    """Read a time for ``--now``: Unix seconds, or ISO 8601, in UTC when it names no zone.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    if text.isascii() and text.isdigit() and len(text) <= 12:
        return int(text)
    try:
        found = datetime.datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write Unix seconds or 2026-06-04T10:00:00Z") from error
