"""What a fuzz target is: code under test, what must hold for every input, and inputs to begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

CONTROLS = frozenset(range(32)) - {9}
"""Octets that no line of a field that we write may have: the controls, but tab."""


class Wrong(AssertionError):
    """The code under test did what it must not do."""


def check(holds: object, why: str, *shown: object) -> None:
    """Raise ``Wrong`` unless it holds; unlike ``assert`` it stays under ``python -O``."""
    if not holds:
        raise Wrong(": ".join([why, *map(repr, shown)]))


@dataclass(frozen=True)
class Target:
    """One target.

    Attributes:
        execute: takes one input; raises for whatever must not happen, an undocumented exception included.
        seeds: inputs to begin with, made from valid objects.
        words: what a mutation may put in.
        max_octets: longest input.
    """

    execute: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...] = ()
    max_octets: int = 512
