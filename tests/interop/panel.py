"""All judges together, with the keys of a run, and the count of what they were asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from interop.judges import Judge, OtherSigner, Verdict
from interop.messages import TWISTS, Case, Trait, cases
from interop.peers import KeyPair
from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.dkim.sign import Signer, SigningKey
from phoenixdkim.dkim.verify import SignatureVerdict
from signed_mail import verify

_NEVER: Final = {("Mail::DKIM", "ed25519-sha256")}
"""What a judge never does."""


class Peer(Judge, OtherSigner, Protocol):
    """A judge that signs as well."""


@dataclass(frozen=True)
class Panel:
    """Keys and judges."""

    keys: tuple[KeyPair, ...]
    judges: tuple[Peer, ...]

    @property
    def records(self) -> dict[str, list[bytes]]:
        return {key.name: [key.record.encode()] for key in self.keys}

    def key(self, algorithm: str) -> KeyPair:
        return next(key for key in self.keys if key.algorithm == algorithm)

    def signed_here(self, case: Case, now: int) -> bytes:
        """The message with our signatures on top."""
        keys = [
            SigningKey(
                key.selector, key.domain.encode(), key.selector.encode(), Algorithm(name), key.private, case.identity
            )
            for name in case.algorithms
            for key in (self.key(name),)
        ]
        signer = Signer(case.fields, keys, case.options, now)
        signer.body(case.body)
        values = [value for _, value in signer.finish()]
        assert None not in values, case
        return b"".join(b"DKIM-Signature:" + value + b"\r\n" for value in values if value is not None) + case.raw

    def verified_here(self, message: bytes, now: int) -> tuple[SignatureVerdict, ...]:
        return verify(message, {name.encode(): records for name, records in self.records.items()}, now=now)

    def verdict(self, judge: Judge, message: bytes, algorithm: str, now: int) -> Verdict | None:
        """What the judge says of the signature by the key of this algorithm; None for nothing."""
        selector = self.key(algorithm).selector.encode()
        found = [row for row in judge.verify(message, self.records, now) if row.selector == selector]
        return found[0] if len(found) == 1 and found[0].algorithm == algorithm.encode() else None


@dataclass
class Tally:
    """What a run over generated messages did.

    Attributes:
        messages: how many there were.
        traits: how many of them have each trait.
        demanded, lifted: verdicts by judge and algorithm that counted, and that a known limit lifted.
        unjudged: signatures that the limits of all judges left to none.
    """

    messages: int = 0
    traits: Counter[Trait] = field(default_factory=Counter)
    demanded: Counter[tuple[str, str]] = field(default_factory=Counter)
    lifted: Counter[tuple[str, str]] = field(default_factory=Counter)
    unjudged: int = 0

    def message(self, case: Case) -> None:
        """Count a message."""
        self.messages += 1
        self.traits.update(case.traits)

    def complete(self, messages: int) -> None:
        """Demand that there were so many messages, each trait among them, and that each judge counted."""
        assert self.messages >= messages
        assert self.unjudged * 20 < messages, self.unjudged
        missing = set(Trait) - set(self.traits)
        assert not missing, missing
        for what, number in self.lifted.items():
            assert 2 * self.demanded[what] > number or what in _NEVER, (what, number, self.demanded[what])

    def __str__(self) -> str:
        rows = [f"{self.messages} messages, {self.unjudged} signatures that no judge could judge"]
        for judge, algorithm in sorted({*self.demanded, *self.lifted}):
            what = judge, algorithm
            rows.append(f"{judge} {algorithm}: {self.demanded[what]} verdicts, {self.lifted[what]} lifted")
        return "\n".join(rows)


def over_messages(count: int, check: Callable[[Case, int], None]) -> None:
    """Call ``check`` with ``count`` different messages, the same in each run, and the time.

    A failure is made small before it is shown.
    """
    passed: set[Case] = set()
    # A few messages of each kind first: what is rare in general must not depend on luck.
    for trait in TWISTS:
        _run(cases(trait), 4, min(count, len(passed) + 2), check, passed)
    _run(cases(), count * 3 // 2, count, check, passed)


def _run(
    strategy: SearchStrategy[Case], tries: int, until: int, check: Callable[[Case, int], None], passed: set[Case]
) -> None:
    """Add messages to those that passed until there are so many, with that many tries."""

    @settings(
        max_examples=tries,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(case: Case) -> None:
        # The generator repeats itself; only a new message tells something.
        if case not in passed and len(passed) < until:
            check(case, int(time.time()))
            passed.add(case)

    run()
