"""Lines for the log that come from plugins: with their exporter's name, limited in rate, and never like a summary."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from phoenixdkim.exporters.rate_limit import RateLimit
from phoenixdkim.log import Level

BURST: Final = 20
PER_SECOND: Final = 1.0
_SUMMARY: Final = re.compile(r"\bsummary (?=\w+=)")


def disarmed(text: str) -> str:
    """Return text in which nothing looks like the summary line of a message, which log readers count."""
    return _SUMMARY.sub(r"summary\\x20", text)


class ExporterLines:
    """Writes an exporter's lines, 20 at once and one a second after that, and says how many were dropped."""

    def __init__(
        self, name: str, write: Callable[[Level, str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Write the lines of exporter ``name``.

        Args:
            name: the exporter.
            write: writes one line; it makes control characters visible.
            clock: monotonic time in seconds.
        """
        self._name = name
        self._write = write
        self._clock = clock
        self._limit = RateLimit(BURST, PER_SECOND)

    def write(self, level: Level, text: str) -> None:
        """Write a line, or drop it and count."""
        self.report_dropped()
        if self._limit.allows(self._clock()):
            self._put(level, text)

    def drop(self, lines: int) -> None:
        """Count lines that were dropped elsewhere."""
        self._limit.refused += lines

    def report_dropped(self, *, last: bool = False) -> None:
        """Say how many lines were dropped, once there is room for that line again, or if it is the last chance."""
        if self._limit.refused and (last or self._limit.ready(self._clock())):
            dropped = self._limit.take_refused()
            self._limit.allows(self._clock())
            self._limit.take_refused()
            self._put(Level.WARNING, f"{dropped} lines dropped: more than {BURST} at once or one a second")

    def _put(self, level: Level, text: str) -> None:
        self._write(level, disarmed(f"exporter '{self._name}': {text}"))
