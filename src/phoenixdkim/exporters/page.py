"""An exporter's page: shared memory that outlives the exporter's process.

It holds the cursor (the totals that the exporter has taken), what is known of delivery, the number of failed hook
calls and the values of the plugin's own metrics. The exporter's process writes it, so every reader treats it as
untrusted: each read is bounded, checked and never raises.

The cursor has two banks: tick g's totals go to bank g & 1, so the bank of tick g - 1 is still there and the
difference of the two is what tick g delivers. A successor counts as lost what its predecessor had taken and not
delivered.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
import threading
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from phoenixdkim.exporters.declared import Declared
from phoenixdkim.exporters.record import OWN_SLOTS, Facts, layout_of
from phoenixdkim.ledger import LAYOUT, STRIPES, LedgerError, seal_seals, shared_memory
from phoenixdkim.metrics import Kind, MetricSpec

_MAGIC: Final = int.from_bytes(b"PhxPage2", "little")
EVENTS: Final = len(LAYOUT.events)
MOST: Final = 2**53
"""The highest total: the formats show floats, which are exact up to here."""
_HIGHEST: Final = sys.float_info.max
_NO_FACTS: Final = Facts()

_HEADER_WORDS: Final = 64
(
    _MAGIC_WORD,
    _DIGEST,
    _HEARTBEAT,
    _FAILURES,
    _LAYOUT,  # digest of the description that the own metrics' values belong to
    _TICK,  # number of the bank that holds the cursor
    _SUM0,  # checksums of the banks
    _SUM1,
    _SETTLED,  # which of the two records of (lost, settled tick, delivered entries of this one) is valid
    _LOST0,
    _SETTLED0,
    _DONE0,
    _LOST1,
    _SETTLED1,
    _DONE1,
) = range(15)
_CURSORS: Final = _HEADER_WORDS
_RING: Final = _CURSORS + 2 * EVENTS
_OWN: Final = _RING + STRIPES
SIZE: Final = -(-8 * (_OWN + OWN_SLOTS) // mmap.PAGESIZE) * mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class PageValues:
    """What a sound page says of its exporter.

    Attributes:
        heartbeat: monotonic nanoseconds at which the exporter's process last showed that it lives.
        failures: hook calls that failed.
        lost: events taken and not delivered.
        layout: digest of the description that ``own`` belongs to.
        own: words of the plugin's own metrics.
    """

    heartbeat: int
    failures: int
    lost: int
    layout: int
    own: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a successor found in its page.

    Attributes:
        lost: events that its predecessor took and did not deliver; they are counted as lost.
        reset: whether the page was not usable; the cursor then starts at the totals of now.
    """

    lost: int = 0
    reset: bool = False


def make_page(name: str) -> int:
    """Make an empty page; returns its descriptor."""
    fd = shared_memory(f"phoenixdkim-exporter-{name}", SIZE)
    # Not against writers: each process of the exporter maps it anew.
    seal_seals(fd)
    with mmap.mmap(fd, SIZE) as memory:
        words = memoryview(memory).cast("Q")
        _clear(words)
        words.release()
    return fd


def _clear(words: memoryview[int]) -> None:
    words[:] = memoryview(array("Q", bytes(SIZE)))
    words[_MAGIC_WORD] = _MAGIC
    words[_DIGEST] = LAYOUT.digest
    words[_LAYOUT] = layout_of(())
    words[_SUM0] = words[_SUM1] = _checksum(array("Q", bytes(8 * EVENTS)))


def _shown(value: object) -> str:
    # Python refuses to write out whole numbers of more than 4300 digits.
    return "a huge number" if isinstance(value, int) and abs(value) > MOST else f"{value!r:.60}"


def _checksum(bank: array[int]) -> int:
    return zlib.crc32(bank.tobytes())


class Page:
    """A read-only view of an exporter's page."""

    def __init__(self, fd: int, name: str, writable: bool = False) -> None:
        """Map the page behind ``fd``.

        Raises:
            LedgerError: its size is that of another version.
        """
        self.name = name
        if os.fstat(fd).st_size != SIZE:
            raise LedgerError(f"exporter '{name}': its shared page is of another version; restart the daemon")
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._map = mmap.mmap(fd, SIZE, mmap.MAP_SHARED, access)
        self._words = memoryview(self._map).cast("Q")

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._map.close()

    def read(self) -> PageValues | None:
        """Return what the page says; None when no process of ours would have written it so."""
        header = array("Q", self._words[:_HEADER_WORDS].tobytes())
        lost = header[_LOST1 if header[_SETTLED] & 1 else _LOST0]
        if header[_MAGIC_WORD] != _MAGIC or header[_DIGEST] != LAYOUT.digest:
            return None
        if max(header[_FAILURES], lost, header[_TICK], header[_SETTLED]) > MOST:
            return None
        own = tuple(self._words[_OWN : _OWN + OWN_SLOTS])
        return PageValues(header[_HEARTBEAT], header[_FAILURES], lost, header[_LAYOUT], own)

    @property
    def lost(self) -> int:
        """Events taken and not delivered."""
        return self._words[_LOST1 if self._words[_SETTLED] & 1 else _LOST0]

    @property
    def failures(self) -> int:
        """Hook calls that failed."""
        return self._words[_FAILURES]

    @property
    def settled_tick(self) -> int:
        """Number of the last tick of which all is delivered or counted as lost."""
        return self._words[_SETTLED1 if self._words[_SETTLED] & 1 else _SETTLED0]

    def _bank(self, tick: int) -> array[int]:
        start = _CURSORS + (tick & 1) * EVENTS
        return array("Q", self._words[start : start + EVENTS].tobytes())

    @property
    def tick(self) -> int:
        """Number of the last tick; a successor goes on counting."""
        return self._words[_TICK]

    def taken(self) -> list[int]:
        """The totals that the exporter has taken, by event slot."""
        return list(self._bank(self._words[_TICK]))


class HostPage(Page):
    """The page with write access, in the exporter's own process."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd, name, writable=True)
        self._floats = memoryview(self._map).cast("d")
        self._lock = threading.Lock()
        self._within_tick = False
        self._pending = 0  # lost in this tick, and not noted in the page yet
        self._declared: dict[str, tuple[Declared, int]] = {}

    def close(self) -> None:
        """Unmap."""
        self._floats.release()
        super().close()

    def beat(self, now_ns: int) -> None:
        """Show that this process lives."""
        self._words[_HEARTBEAT] = now_ns

    def add_failure(self) -> None:
        """Count a hook call that failed."""
        self._words[_FAILURES] = min(self._words[_FAILURES] + 1, MOST)

    def _settle(self, lost: int, tick: int, done: int) -> None:
        number = (self._words[_SETTLED] + 1) % 2**64
        self._words[_LOST1 if number & 1 else _LOST0] = min(lost, MOST)
        self._words[_SETTLED1 if number & 1 else _SETTLED0] = tick
        self._words[_DONE1 if number & 1 else _DONE0] = done
        self._words[_SETTLED] = number

    @property
    def _done(self) -> int:
        return self._words[_DONE1 if self._words[_SETTLED] & 1 else _DONE0]

    def recover(
        self, totals: Sequence[int], heads: Sequence[int], facts: Facts = _NO_FACTS, takes_events: bool = True
    ) -> Recovery:
        """Go on where a predecessor ended; what it took and did not deliver is counted as lost.

        A page that no process of ours left so is reset: its totals go on from the supervisor's record, and its cursor
        from ``totals``, since what was delivered is not known.

        Args:
            totals: the ledger's totals.
            heads: heads of the ledger's rings.
            facts: the exporter's record.
            takes_events: False for an exporter that shows states from snapshots: its next one makes up for it.
        """
        if not self._is_intact(totals):
            self._reset(totals, heads, facts)
            return Recovery(reset=True)
        tick = self._words[_TICK]
        if self.settled_tick >= tick:
            return Recovery()
        if not takes_events:
            self._settle(self.lost, tick, 0)
            return Recovery()
        entries = [n - o for n, o in zip(self._bank(tick), self._bank(tick - 1), strict=True) if n > o]
        lost = sum(entries[self._done :])
        self._settle(self.lost + lost, tick, 0)
        return Recovery(lost)

    def _is_intact(self, totals: Sequence[int]) -> bool:
        if self.read() is None:
            return False
        tick = self._words[_TICK]
        bank = self._bank(tick)
        if max(tick, self._words[_SETTLED]) > MOST // 2 or self.settled_tick > tick or self._done > EVENTS:
            return False
        if self._words[_SUM1 if tick & 1 else _SUM0] != _checksum(bank):
            return False
        if any(taken > total for taken, total in zip(bank, totals, strict=False)):
            return False
        if self.settled_tick < tick:
            # Only then is the other bank of use: a kill within a tick leaves it half written.
            before = self._bank(tick - 1)
            return self._words[_SUM0 if tick & 1 else _SUM1] == _checksum(before) and all(
                old <= new for old, new in zip(before, bank, strict=True)
            )
        return True

    def _reset(self, totals: Sequence[int], heads: Sequence[int], facts: Facts) -> None:
        _clear(self._words)
        self._words[_FAILURES] = min(facts.failures, MOST)
        self._words[_LOST0] = min(facts.lost, MOST)
        self._words[_LAYOUT] = facts.layout
        self._words[_OWN : _OWN + OWN_SLOTS] = memoryview(array("Q", facts.values))
        self._write_bank(0, totals)
        self.set_ring_heads(heads)

    def _write_bank(self, tick: int, totals: Sequence[int]) -> None:
        bank = array("Q", totals[:EVENTS])
        start = _CURSORS + (tick & 1) * EVENTS
        self._words[start : start + EVENTS] = memoryview(bank)
        self._words[_SUM1 if tick & 1 else _SUM0] = _checksum(bank)

    def take(self, totals: Sequence[int]) -> list[tuple[int, int]]:
        """Move the cursor to ``totals``; returns (event slot, count) of each event since the last tick."""
        tick = self._words[_TICK]
        before = self._bank(tick)
        entries = [(slot, totals[slot] - before[slot]) for slot in range(EVENTS) if totals[slot] > before[slot]]
        self._write_bank(tick + 1, totals)
        with self._lock:
            self._settle(self.lost, self.settled_tick, 0)
            self._within_tick = True
            self._words[_TICK] = (tick + 1) % 2**64
        return entries

    def delivered(self, entries: int) -> None:
        """The first ``entries`` of this tick have left the process, or are counted as lost."""
        if entries < 0:
            raise ValueError(f"{entries} events can't have been delivered")
        with self._lock:
            self._settle(self.lost + self._pending, self.settled_tick, min(entries, EVENTS))
            self._pending = 0

    def settle(self) -> None:
        """All of this tick is delivered or counted as lost."""
        with self._lock:
            self._settle(self.lost + self._pending, self._words[_TICK], 0)
            self._pending = 0
            self._within_tick = False

    def add_lost(self, count: int) -> None:
        """Count events that could not be delivered.

        Within a tick they are noted together with what is delivered: a successor counts all that is not noted, and
        must not count these twice.
        """
        with self._lock:
            if self._within_tick:
                self._pending += count
            else:
                self._settle(self.lost + count, self.settled_tick, self._done)

    def ring_heads(self) -> list[int]:
        """Where this exporter is in the rings of raw measures."""
        return list(self._words[_RING : _RING + STRIPES])

    def set_ring_heads(self, heads: Sequence[int]) -> None:
        """Move on in the rings."""
        self._words[_RING : _RING + STRIPES] = memoryview(array("Q", heads))

    def declare(self, metrics: Sequence[Declared]) -> None:
        """Lay out the plugin's own metrics; values are kept when the layout is the predecessor's.

        Raises:
            ValueError: they do not fit.
        """
        slot = _OWN
        for metric in metrics:
            self._declared[metric.shown.name] = metric, slot
            slot += len(metric.shown.series)
        if slot - _OWN > OWN_SLOTS:
            raise ValueError(f"exporter '{self.name}': its own metrics have {slot - _OWN} series; {OWN_SLOTS} fit")
        layout = layout_of([metric.shown for metric in metrics])
        if self._words[_LAYOUT] != layout:
            self._words[_OWN : _OWN + OWN_SLOTS] = memoryview(array("Q", bytes(8 * OWN_SLOTS)))
            self._words[_LAYOUT] = layout

    def _slot(self, metric: MetricSpec, labels: Mapping[str, Enum]) -> tuple[Declared, int]:
        declared, base = self._declared.get(metric.name, (None, 0))
        if declared is None:
            raise ValueError(
                f"exporter '{self.name}': metric '{metric.name}' was not declared; return it from phoenixdkim_metrics"
            )
        position = declared.position(labels)
        if position is None:
            wanted = ", ".join(f"{name}: a member of {type(of[0]).__name__}" for name, of in declared.members) or "none"
            given = ", ".join(f"{name}: {value!r:.60}" for name, value in labels.items()) or "none"
            raise ValueError(
                f"exporter '{self.name}': metric '{metric.name}' was declared with labels {wanted}; given are {given}"
            )
        return declared, base + position

    def add(self, metric: MetricSpec, labels: Mapping[str, Enum], amount: int) -> None:
        """Add to one of the plugin's own counters, up to ``MOST``.

        Raises:
            ValueError: not declared, no counter, a label that is no member, or an amount below 0.
        """
        declared, slot = self._slot(metric, labels)
        if declared.shown.kind is not Kind.COUNTER:
            raise ValueError(f"exporter '{self.name}': metric '{metric.name}' is a gauge; use set")
        if not isinstance(amount, int) or not 0 <= amount <= MOST:
            raise ValueError(
                f"exporter '{self.name}': metric '{metric.name}': {_shown(amount)} can't be added;"
                " a whole number from 0 can"
            )
        with self._lock:
            self._words[slot] = min(self._words[slot] + amount, MOST)

    def set(self, metric: MetricSpec, labels: Mapping[str, Enum], value: float) -> None:
        """Set one of the plugin's own gauges.

        Raises:
            ValueError: not declared, no gauge, a label that is no member, or a value that is no finite number.
        """
        declared, slot = self._slot(metric, labels)
        if declared.shown.kind is not Kind.GAUGE:
            raise ValueError(f"exporter '{self.name}': metric '{metric.name}' is a counter; use add")
        if not isinstance(value, (int, float)) or not abs(value) < math.inf or abs(value) > _HIGHEST:
            raise ValueError(f"exporter '{self.name}': metric '{metric.name}': {_shown(value)} is no finite number")
        self._floats[slot] = value
