"""The octets of the configuration file, and whether they are complete.

Only the start, a reload and the commands read the file. Whatever is at its path - a directory, a fifo that nobody
writes to, a device - is an error and never a wait.
"""

from __future__ import annotations

import enum
import errno
import os
import stat
from dataclasses import dataclass
from typing import Final

MAX_OCTETS: Final = 4 * 1024 * 1024
"""The largest configuration file."""
QUIET: Final = 1.0
"""Seconds without a change after which a file counts as complete."""
PATIENCE: Final = 10.0
"""Seconds to wait for a file that goes on changing."""


class SourceError(Exception):
    """The file cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file is written or replaced."""

    inode: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file's octets and its stamp when they were read."""

    path: str
    data: bytes
    stamp: Stamp


def read_source(path: str) -> Source:
    """Read a configuration file without ever waiting for it.

    Raises:
        SourceError: it is missing, unreadable, too large, or not a regular file.
    """
    try:
        # O_NONBLOCK: a fifo without a writer would be waited for.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise SourceError(_unreadable(error)) from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"is {_kind(found.st_mode)}, not a regular file; write the path of the TOML file")
        parts: list[bytes] = []
        left = MAX_OCTETS + 1
        while left and (part := os.read(fd, left)):
            parts.append(part)
            left -= len(part)
    except OSError as error:
        raise SourceError(_unreadable(error)) from error
    finally:
        os.close(fd)
    if not left:
        raise SourceError(f"is larger than {MAX_OCTETS} octets; a configuration file is smaller")
    return Source(path, b"".join(parts), _stamp(found))


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns)


def _unreadable(error: OSError) -> str:
    hint = "; 'phoenixdkim check --sample' prints a file to start from" if error.errno == errno.ENOENT else ""
    return f"cannot be read: {error.strerror}{hint}"


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a fifo"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((words for test, words in kinds if test(mode)), "something else")


class Completeness(enum.Enum):
    """Whether a file can be read now."""

    COMPLETE = "complete"
    CHANGING = "changing"
    GIVEN_UP = "given up"


class QuietPeriod:
    """Waits until nobody writes to a file, without blocking.

    A file whose last change is older than ``QUIET`` is complete. So is one that was seen unchanged for as long,
    whatever its modification time says: clocks differ, and copies may keep a time in the future.
    """

    def __init__(self, path: str, now: float) -> None:
        """Start to watch.

        Args:
            path: the file.
            now: monotonic seconds.
        """
        self._path = path
        self._started = now
        self._since = now
        self.stamp: Stamp | None = None
        """Of the file when it was looked at last; None if there was no regular file."""

    def look(self, now: float, wall: float) -> Completeness:
        """Look at the file once.

        Args:
            now: monotonic seconds.
            wall: Unix time in seconds, to compare with the file's modification time.
        """
        try:
            found = os.stat(self._path)
        except OSError:
            # Reading it says what is wrong.
            self.stamp = None
            return Completeness.COMPLETE
        if not stat.S_ISREG(found.st_mode):
            self.stamp = None
            return Completeness.COMPLETE
        stamp = _stamp(found)
        if stamp != self.stamp:
            self.stamp = stamp
            self._since = now
        if now - self._since >= QUIET or wall - found.st_mtime >= QUIET:
            return Completeness.COMPLETE
        return Completeness.GIVEN_UP if now - self._started >= PATIENCE else Completeness.CHANGING
