"""Answers kept by name, bounded in number, each until its time is over."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from phoenixdkim.dkim.keys import KeyAnswer

_SECOND_CHANCES = 16


class _Entry:
    __slots__ = ("answer", "expires", "used")

    def __init__(self, answer: KeyAnswer, expires: float) -> None:
        self.answer = answer
        self.expires = expires
        self.used = False


class KeyCache:
    """Key answers by name. ``get`` takes no lock; ``put`` may be called from any thread.

    When full, the oldest entry goes, but one that was asked for since it got there goes to the end of the queue
    instead. A flood of names that are asked for once so leaves those in use alone.

    Args:
        size: the most entries; none are kept when it is 0.
        clock: time in seconds, that never goes back.
    """

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._get = self._entries.get
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: bytes) -> KeyAnswer | None:
        """The answer for a name in lower case, or None when there is none that still holds."""
        entry = self._get(name)
        if entry is None or entry.expires <= self._clock():
            return None
        entry.used = True
        return entry.answer

    def put(self, name: bytes, answer: KeyAnswer, ttl: float) -> None:
        """Keep an answer for ``ttl`` seconds; not at all when that is 0."""
        if ttl <= 0 or self._size <= 0:
            return
        now = self._clock()
        with self._lock:
            self._entries.pop(name, None)
            chances = _SECOND_CHANCES
            while len(self._entries) >= self._size:
                oldest, entry = self._entries.popitem(last=False)
                if entry.used and entry.expires > now and chances > 0:
                    chances -= 1
                    entry.used = False
                    self._entries[oldest] = entry
            self._entries[name] = _Entry(answer, now + ttl)
