"""What an exporter's process writes to stdout and stderr: a pipe, read as lines, without waiting and within bounds."""

from __future__ import annotations

import os
from typing import Final

_OCTETS: Final = 65536
_LINES: Final = 50
_LONGEST: Final = 1000
_PAUSE: Final = 0.1
_LAST_READS: Final = 16
"""Reads of what is left in the pipe of a process that has ended; a pipe holds a megabyte at most."""


class Output:
    """The reading end of the pipe.

    A process that writes faster than it is read waits, and nobody else does. What is beyond the bounds is dropped.

    Attributes:
        dropped: lines that were dropped since ``take_dropped``.
        ended: whether every process that could write has closed its end.
    """

    def __init__(self, fd: int) -> None:
        """Take over the descriptor ``fd``."""
        os.set_blocking(fd, False)
        self.ended = False
        self.dropped = 0
        self._fd = fd
        self._rest = b""
        self._due = 0.0

    def fileno(self) -> int:
        """The descriptor, for ``select``."""
        return self._fd

    def due(self, now: float) -> bool:
        """Return whether it may be read again; a flood is read ten times a second.

        Args:
            now: monotonic time in seconds.
        """
        return not self.ended and now >= self._due

    def read(self, now: float) -> list[str]:
        """Return the complete lines that have come, without line ends and control over their length."""
        self._due = now + _PAUSE
        try:
            data = os.read(self._fd, _OCTETS)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return self._take_rest()
        lines = (self._rest + data).split(b"\n", _LINES)
        beyond = lines.pop()
        if len(lines) == _LINES and b"\n" in beyond:
            self.dropped += beyond.count(b"\n")
            beyond = beyond[beyond.rindex(b"\n") + 1 :]
        # One octet more than is shown, so that it is known to be longer.
        self._rest = beyond[: _LONGEST + 1]
        return [_text(line) for line in lines if line.strip()]

    def _take_rest(self) -> list[str]:
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest.strip() else []

    def take_dropped(self) -> int:
        """Return how many lines were dropped, and start again at 0."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def finish(self, now: float) -> list[str]:
        """Return what is left once the process has ended, and close; others that hold the pipe are not waited for."""
        found: list[str] = []
        for _ in range(_LAST_READS):
            before = self._rest
            lines = self.read(now)
            found += lines[: max(0, _LINES - len(found))]
            if self.ended or (not lines and self._rest == before):
                break
        found += self._take_rest()
        self.close()
        return found

    def close(self) -> None:
        """Close the pipe."""
        self.ended = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _text(line: bytes) -> str:
    shown = line[:_LONGEST].rstrip(b"\r").decode("utf-8", "backslashreplace")
    return shown + " [cut]" if len(line) > _LONGEST else shown


def output_pipe() -> tuple[Output, int]:
    """Return a pipe's reading end, and the descriptor to write to."""
    reading, writing = os.pipe()
    return Output(reading), writing
