"""Which key a process is loading, in memory shared with its parent.

A library that crashes or hangs on a key takes its process along. The parent then says which key it was.
"""

from __future__ import annotations

import mmap
import struct
from typing import Final

KEY_TIMEOUT: Final = 10.0
"""Seconds that loading one key may take; it takes a fraction of a millisecond."""
_SIZE: Final = 4096
_HEAD: Final = struct.Struct("=QH")
_MAX_NAME: Final = 1000


class LoadProgress:
    """Shared by a process that loads keys and its parent; made before the fork.

    The parent believes nothing of it but the name in a message.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)
        self._count = 0
        self._seen = 0
        self._since: float | None = None

    def note(self, name: str) -> None:
        """Note the key that is loaded next; an empty name when all are loaded. For the loading process."""
        self._count += 1
        octets = name.encode("utf-8", "surrogatepass")[:_MAX_NAME]
        _HEAD.pack_into(self._memory, 0, self._count, len(octets))
        self._memory[_HEAD.size : _HEAD.size + len(octets)] = octets

    def key(self) -> str:
        """Return the name of the key that is being loaded; empty when none is."""
        size = min(_HEAD.unpack_from(self._memory)[1], _MAX_NAME)
        return self._memory[_HEAD.size : _HEAD.size + size].decode("utf-8", "replace")

    def hanging(self, now: float) -> bool:
        """Whether the same key has been loading for more than ``KEY_TIMEOUT``. For the parent, called repeatedly.

        Args:
            now: monotonic seconds.
        """
        count, size = _HEAD.unpack_from(self._memory)
        if not size or count != self._seen or self._since is None:
            self._seen, self._since = count, now
        return now - self._since > KEY_TIMEOUT

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()


def crashed(how: str) -> str:
    """Return what to say of a key at which the loading process ended.

    Args:
        how: as in ``signal SIGSEGV``.
    """
    return f"loading this key crashed the loader ({how}); remove the key, or replace it by a new one"


def hung() -> str:
    """Return what to say of a key that could not be loaded in time."""
    return (
        f"loading this key took more than {KEY_TIMEOUT:.0f} s; remove the key, or move its file to a disk that answers"
    )
