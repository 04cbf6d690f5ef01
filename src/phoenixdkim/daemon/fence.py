"""A fence around what the supervisor does about one child, so that no child can end the supervisor."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from phoenixdkim import events
from phoenixdkim.exporters.described import described

_REPEAT: Final = 60.0
_REMEMBERED: Final = 100


class Fence:
    """Calls functions, and logs and counts what they raise."""

    def __init__(
        self,
        report: Callable[[str], None],
        count: Callable[[events.Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Report by these functions.

        Args:
            report: logs an error; the same one at most once a minute.
            count: takes an event for each exception.
            clock: monotonic time in seconds.
        """
        self._report = report
        self._count = count
        self._clock = clock
        self._reported: dict[str, float] = {}

    def run(self, what: str, action: Callable[[], object]) -> bool:
        """Call ``action``; returns whether it did not raise. ``what`` says in the log what it concerns."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 - mail and other children have nothing to do with it
            text = f"{what}: internal error: {described(error)}"
            now = self._clock()
            if now - self._reported.get(text, now - _REPEAT) >= _REPEAT:
                self._reported = dict(list(self._reported.items())[-_REMEMBERED:]) | {text: now}
                self._report(text)
            self._count(events.InternalError(events.Stage.PROCESSES))
            return False
        return True
