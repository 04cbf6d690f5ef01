"""Answers kept by name, bounded in number, each until its time is over."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome

_SECOND_CHANCES = 16


class _Entry:
    __slots__ = ("answer", "asked", "expires", "used", "weight")

    def __init__(self, answer: KeyAnswer, asked: float, expires: float) -> None:
        self.answer = answer
        self.asked = asked
        self.expires = expires
        self.used = False
        # A parsed key is what takes memory: a name with eight of them counts as eight.
        self.weight = max(1, len(answer.keys))


class KeyCache:
    """Key answers by name. ``get`` takes no lock; the others may be called from any thread too.

    When full, the oldest entry goes, but one that was asked for since it got there goes to the end of the queue
    instead. A flood of names that are asked for once so leaves those in use alone.

    Args:
        size: the most keys, and names without any; none are kept when it is 0.
        clock: time in seconds, that never goes back.
    """

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._get = self._entries.get
        self._weight = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: bytes, since: float = float("-inf")) -> KeyAnswer | None:
        """The answer for a name in lower case, or None when there is none that still holds.

        Args:
            since: an answer to a question put before this time does not count.
        """
        entry = self._get(name)
        if entry is None or entry.expires <= self._clock() or entry.asked < since:
            return None
        entry.used = True
        return entry.answer

    def older(self, name: bytes, than: float) -> bool:
        """Whether a key is kept for a name, and the name was asked for before a time."""
        entry = self._get(name)
        return entry is not None and entry.asked < than and entry.answer.outcome is KeyOutcome.FOUND

    def put(self, name: bytes, answer: KeyAnswer, ttl: float, asked: float) -> None:
        """Keep an answer for ``ttl`` seconds; not at all when that is 0. What was kept of the name goes.

        Args:
            asked: when the question was put.
        """
        now = self._clock()
        entry = _Entry(answer, asked, now + ttl)
        with self._lock:
            self._drop(name)
            if ttl <= 0 or entry.weight > self._size:
                return
            chances = _SECOND_CHANCES
            while self._weight + entry.weight > self._size:
                oldest, last = self._entries.popitem(last=False)
                if last.used and last.expires > now and chances > 0:
                    chances -= 1
                    last.used = False
                    self._entries[oldest] = last
                else:
                    self._weight -= last.weight
            self._entries[name] = entry
            self._weight += entry.weight

    def stays(self, name: bytes, asked: float) -> bool:
        """Note that a name was asked for in vain; whether an answer is kept that still holds."""
        with self._lock:
            entry = self._get(name)
            if entry is None or entry.expires <= self._clock():
                return False
            entry.asked = asked
            return True

    def _drop(self, name: bytes) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._weight -= entry.weight
