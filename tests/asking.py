"""A key that is asked for, and what a resolver told while it was."""

from __future__ import annotations

import base64
import threading
from collections import Counter

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from phoenixdkim.dkim.keys import KeyAnswer
from phoenixdkim.dns import Resolver
from phoenixdkim.events import DnsQuery, DnsResponse, DnsResult


def record() -> bytes:
    """A key record like no other."""
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(key)


KEY = record()
NAME = b"s._domainkey.example.com"
TEXT = NAME.decode()

LATE = 5.0
"""Seconds that a busy machine may be late with an answer. What never ends, or ends with a later deadline, is later."""


class Events:
    """What the resolver told."""

    def __init__(self) -> None:
        self.counts: Counter[object] = Counter()
        self.seconds: list[float] = []
        self.threads: set[int] = set()

    def __call__(self, event: object, seconds: float | None) -> None:
        self.counts[event] += 1
        self.threads.add(threading.get_ident())
        if seconds is not None:
            self.seconds.append(seconds)

    @property
    def questions(self) -> int:
        """Questions put; as many have ended, each with its time."""
        asked = self.counts[DnsQuery()]
        assert asked == sum(self.counts[DnsResponse(result)] for result in DnsResult) == len(self.seconds)
        return asked


def one(resolver: Resolver, name: bytes = NAME, events: Events | None = None) -> tuple[KeyAnswer, Events]:
    """Ask for one name."""
    events = events or Events()
    return resolver.look_up([name], events)[name], events
