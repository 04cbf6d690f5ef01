"""An exporter's record: what the supervisor knows of an exporter, in memory that the supervisor alone can write.

It holds whether the exporter runs, how many of its processes died, the description of its metrics that the supervisor
accepted, and the highest totals seen in the exporter's own page. Exporters get it read-only.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from phoenixdkim.exporters.declared import MAX_SERIES, SCHEMA_OCTETS, Shown, read_schema, schema_text
from phoenixdkim.ledger import LedgerError, seal_writers, shared_memory

_MAGIC: Final = int.from_bytes(b"PhxRcrd1", "little")
OWN_SLOTS: Final = 512
"""Series that a plugin's own metrics may have in shared memory; ``MAX_SERIES`` is less."""
_TRIES: Final = 100
"""Attempts at reading a description that is being replaced; the previous one is used after that."""

# Words of the record. The edition is odd while the supervisor replaces the description.
_MAGIC_WORD, _EDITION, _UP, _DEATHS, _FAILURES, _LOST, _SCHEMA_LENGTH = range(7)
_VALUES: Final = 16
_SCHEMA: Final = _VALUES + OWN_SLOTS
SIZE: Final = -(-(8 * _SCHEMA + SCHEMA_OCTETS) // mmap.PAGESIZE) * mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class Facts:
    """What a record says at one moment.

    Attributes:
        edition: number of the description; it changes with each accepted one.
        up: whether the exporter runs.
        deaths: processes that ended unexpectedly.
        failures: failed hook calls, the highest number seen.
        lost: lost events, the highest number seen.
        values: words of the own metrics' series, in order of the description.
        description: the own metrics; empty before the first check.
        layout: digest of the description.
    """

    edition: int = 0
    up: bool = False
    deaths: int = 0
    failures: int = 0
    lost: int = 0
    values: tuple[int, ...] = (0,) * OWN_SLOTS
    description: tuple[Shown, ...] = ()
    layout: int = 0


def layout_of(description: Sequence[Shown]) -> int:
    """Digest of a description, which names the layout of the series' slots."""
    return int.from_bytes(hashlib.sha256(schema_text(description)).digest()[:8], "little")


class Record:
    """A view of an exporter's record."""

    def __init__(self, fd: int, name: str) -> None:
        """Map the record behind ``fd`` read-only.

        Raises:
            LedgerError: it is not a record, or one of another version.
        """
        if os.fstat(fd).st_size != SIZE:
            raise LedgerError(f"exporter '{name}': its record is of another version; restart the daemon")
        self._open(mmap.mmap(fd, SIZE, mmap.MAP_SHARED, mmap.PROT_READ), name)
        if self._words[_MAGIC_WORD] != _MAGIC:
            raise LedgerError(f"exporter '{name}': its record is of another version; restart the daemon")

    def _open(self, memory: mmap.mmap, name: str) -> None:
        self.name = name
        self._map = memory
        self._words = memoryview(memory).cast("Q")
        self._facts = Facts(layout=layout_of(()))

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._map.close()

    def read(self) -> Facts:
        """Return the facts as they are now."""
        for _ in range(_TRIES):
            words = array("Q", self._words[:_SCHEMA].tobytes())
            found = self._facts
            if words[_EDITION] != found.edition:
                length = min(words[_SCHEMA_LENGTH], SCHEMA_OCTETS)
                description = read_schema(self._map[8 * _SCHEMA : 8 * _SCHEMA + length]) or ()
                found = Facts(words[_EDITION], description=description, layout=layout_of(description))
            if words[_EDITION] & 1 == 0 and self._words[_EDITION] == words[_EDITION]:
                self._facts = replace(
                    found,
                    up=bool(words[_UP]),
                    deaths=words[_DEATHS],
                    failures=words[_FAILURES],
                    lost=words[_LOST],
                    values=tuple(words[_VALUES:_SCHEMA]),
                )
                break
        return self._facts


class RecordWriter(Record):
    """The record with write access, in the supervisor."""

    def __init__(self, name: str) -> None:
        """Make an empty record; ``fd`` is its descriptor."""
        assert MAX_SERIES <= OWN_SLOTS
        self.fd = shared_memory(f"phoenixdkim-record-{name}", SIZE)
        self._open(mmap.mmap(self.fd, SIZE), name)
        self._words[_MAGIC_WORD] = _MAGIC
        # This mapping stays writable; no later one can be, not even of a process with the same user.
        seal_writers(self.fd)

    def close(self) -> None:
        """Unmap and close."""
        super().close()
        os.close(self.fd)

    def set_up(self, up: bool) -> None:
        """Set whether the exporter runs."""
        self._words[_UP] = int(up)

    def add_death(self) -> None:
        """Count a process that ended unexpectedly."""
        self._words[_DEATHS] += 1

    def accept(self, description: Sequence[Shown]) -> None:
        """Publish the description of the exporter's metrics; the values of another one are dropped."""
        text = schema_text(description)
        if self._words[_EDITION] and text == self._map[8 * _SCHEMA : 8 * _SCHEMA + self._words[_SCHEMA_LENGTH]]:
            return
        self._words[_EDITION] += 1
        self._words[_SCHEMA_LENGTH] = len(text)
        self._map[8 * _SCHEMA : 8 * _SCHEMA + len(text)] = text
        self._words[_VALUES:_SCHEMA] = memoryview(array("Q", bytes(8 * OWN_SLOTS)))
        self._words[_EDITION] += 1

    def keep(self, failures: int, lost: int, values: Sequence[int]) -> None:
        """Store the totals seen in the exporter's page, for readers that begin later and for its successor."""
        self._words[_FAILURES] = failures
        self._words[_LOST] = lost
        self._words[_VALUES : _VALUES + len(values)] = memoryview(array("Q", values))
