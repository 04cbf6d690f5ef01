"""An exporter's page: shared memory that outlives the exporter's process.

It holds the cursor (the totals that the exporter has taken), what is known of delivery, the failure counts and
the plugin's own metrics. The exporter's process writes it, but for the words that are the supervisor's; every
other exporter reads it, so that all show the same.

The cursor has two banks: tick g's totals go to bank g & 1, so the bank of tick g - 1 is still there and the
difference of the two is what tick g delivers. A successor counts as lost what its predecessor had taken and not
delivered.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
from array import array
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from phoenixdkim.exporters.declared import SCHEMA_OCTETS, Declared, Shown, read_schema, schema_text
from phoenixdkim.ledger import LAYOUT, STRIPES, LedgerError, sealed_memory
from phoenixdkim.metrics import Family, Kind, MetricSpec, Sample

_MAGIC: Final = int.from_bytes(b"PhxPage1", "little")
EVENTS: Final = len(LAYOUT.events)
_OWN_SLOTS: Final = 512
_MAX_LAYOUTS: Final = 8
"""So many layouts of one page are followed; a plugin has one, and another after each upgrade."""
_MAX_AMOUNT: Final = 2**53
"""The most that may be added at once: the formats show floats, which are exact up to here."""

_HEADER_WORDS: Final = 64
(
    _MAGIC_WORD,
    _DIGEST,
    _HEARTBEAT,  # host
    _FAILURES,  # host
    _DEATHS,  # supervisor
    _UP,  # supervisor
    _TICK,  # host: number of the bank that holds the cursor
    _SETTLED,  # host: which of the two records of (lost, settled tick, delivered entries of this one) is valid
    _LOST0,
    _SETTLED0,
    _DONE0,
    _LOST1,
    _SETTLED1,
    _DONE1,
    _SCHEMA_LENGTH,
) = range(15)
_CURSORS: Final = _HEADER_WORDS
_RING: Final = _CURSORS + 2 * EVENTS
_OWN: Final = _RING + STRIPES
_SCHEMA: Final = _OWN + _OWN_SLOTS
SIZE: Final = -(-(8 * _SCHEMA + SCHEMA_OCTETS) // mmap.PAGESIZE) * mmap.PAGESIZE


def make_page(name: str) -> int:
    """Make an empty page; returns its descriptor."""
    fd = sealed_memory(f"phoenixdkim-exporter-{name}", SIZE)
    with mmap.mmap(fd, SIZE) as memory:
        words = memoryview(memory).cast("Q")
        words[_MAGIC_WORD] = _MAGIC
        words[_DIGEST] = LAYOUT.digest
        words.release()
    return fd


class Page:
    """A view of an exporter's page."""

    def __init__(self, fd: int, name: str, writable: bool = False) -> None:
        """Map the page behind ``fd``.

        Raises:
            LedgerError: it is no page, or one of another version.
        """
        self.name = name
        if os.fstat(fd).st_size != SIZE:
            raise LedgerError(f"exporter '{name}': its shared page is of another version; restart the daemon")
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._map = mmap.mmap(fd, SIZE, mmap.MAP_SHARED, access)
        self._words = memoryview(self._map).cast("Q")
        self._floats = memoryview(self._map).cast("d")
        self._schema = b""
        self._shown: tuple[Shown, ...] = ()
        self._layouts = 0
        if self._words[_MAGIC_WORD] != _MAGIC or self._words[_DIGEST] != LAYOUT.digest:
            raise LedgerError(f"exporter '{name}': its shared page is of another version; restart the daemon")

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._floats.release()
        self._map.close()

    @property
    def heartbeat(self) -> int:
        """Monotonic nanoseconds at which the exporter's process last showed that it lives."""
        return self._words[_HEARTBEAT]

    @property
    def up(self) -> int:
        """1 while the exporter runs."""
        return self._words[_UP]

    @property
    def failures(self) -> int:
        """Hook calls that failed and processes that ended unasked."""
        return self._words[_FAILURES] + self._words[_DEATHS]

    @property
    def lost(self) -> int:
        """Events taken and not delivered."""
        return self._words[_LOST1 if self._words[_SETTLED] & 1 else _LOST0]

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

    def set_up(self, up: bool) -> None:
        """Supervisor: say whether the exporter runs."""
        self._words[_UP] = int(up)

    def add_death(self) -> None:
        """Supervisor: count a process that ended unasked."""
        self._words[_DEATHS] += 1

    def families(self) -> list[Family]:
        """The plugin's own metrics as they are now.

        The plugin's process can write anything into its page. What is no description within the bounds is not shown,
        and neither is the ninth layout: series are bounded, now and over time, and other exporters are not disturbed.
        """
        found = []
        slot = _OWN
        for shown in self._read_shown():
            spec = MetricSpec(shown.name, shown.kind, shown.help, dotted=shown.dotted)
            samples = []
            for labels in shown.series:
                value: float = self._words[slot]
                if shown.kind is Kind.GAUGE:
                    value = self._floats[slot] if math.isfinite(self._floats[slot]) else 0.0
                samples.append(Sample(labels, value))
                slot += 1
            found.append(Family(spec, tuple(samples)))
        return found

    def _read_shown(self) -> tuple[Shown, ...]:
        length = min(self._words[_SCHEMA_LENGTH], SCHEMA_OCTETS)
        if not length:
            return ()
        text = self._map[8 * _SCHEMA : 8 * _SCHEMA + length]
        if text != self._schema:
            shown = read_schema(text)
            if shown is None or self._layouts == _MAX_LAYOUTS:
                return ()
            self._schema, self._shown = text, shown
            self._layouts += 1
        return self._shown


class HostPage(Page):
    """The page with write access, in the exporter's own process."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd, name, writable=True)
        self._lock = threading.Lock()
        self._within_tick = False
        self._pending = 0  # lost in this tick, and not noted in the page yet
        self._declared: dict[str, tuple[Declared, int]] = {}

    def beat(self, now_ns: int) -> None:
        """Show that this process lives."""
        self._words[_HEARTBEAT] = now_ns

    def add_failure(self) -> None:
        """Count a hook call that failed."""
        self._words[_FAILURES] += 1

    def _settle(self, lost: int, tick: int, done: int) -> None:
        number = self._words[_SETTLED] + 1
        self._words[_LOST1 if number & 1 else _LOST0] = lost
        self._words[_SETTLED1 if number & 1 else _SETTLED0] = tick
        self._words[_DONE1 if number & 1 else _DONE0] = done
        self._words[_SETTLED] = number

    @property
    def _done(self) -> int:
        return self._words[_DONE1 if self._words[_SETTLED] & 1 else _DONE0]

    def recover(self, takes_events: bool = True) -> int:
        """Count as lost what a predecessor took and did not deliver; returns how many events that were.

        Args:
            takes_events: False for an exporter that shows states from snapshots: its next one makes up for it.
        """
        tick = self._words[_TICK]
        if self.settled_tick >= tick:
            return 0
        if not takes_events:
            self._settle(self.lost, tick, 0)
            return 0
        entries = [n - o for n, o in zip(self._bank(tick), self._bank(tick - 1), strict=True) if n > o]
        lost = sum(entries[self._done :])
        self._settle(self.lost + lost, tick, 0)
        return lost

    def take(self, totals: Sequence[int]) -> list[tuple[int, int]]:
        """Move the cursor to ``totals``; returns (event slot, count) of each event since the last tick."""
        tick = self._words[_TICK]
        before = self._bank(tick)
        entries = [(slot, totals[slot] - before[slot]) for slot in range(EVENTS) if totals[slot] > before[slot]]
        start = _CURSORS + ((tick + 1) & 1) * EVENTS
        self._words[start : start + EVENTS] = memoryview(array("Q", totals[:EVENTS]))
        with self._lock:
            self._settle(self.lost, self.settled_tick, 0)
            self._within_tick = True
            self._words[_TICK] = tick + 1
        return entries

    def delivered(self, entries: int) -> None:
        """The first ``entries`` of this tick have left the process, or are counted as lost."""
        if entries < 0:
            raise ValueError(f"{entries} events can't have been delivered")
        with self._lock:
            self._settle(self.lost + self._pending, self.settled_tick, entries)
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
        text = schema_text([metric.shown for metric in metrics])
        if slot - _OWN > _OWN_SLOTS or len(text) > SCHEMA_OCTETS:
            raise ValueError(f"exporter '{self.name}': its own metrics have {slot - _OWN} series; {_OWN_SLOTS} fit")
        length = self._words[_SCHEMA_LENGTH]
        if self._map[8 * _SCHEMA : 8 * _SCHEMA + length] == text:
            return
        self._words[_SCHEMA_LENGTH] = 0
        self._words[_OWN : _OWN + _OWN_SLOTS] = memoryview(array("Q", bytes(8 * _OWN_SLOTS)))
        self._map[8 * _SCHEMA : 8 * _SCHEMA + len(text)] = text
        self._words[_SCHEMA_LENGTH] = len(text)

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
        """Add to one of the plugin's own counters.

        Raises:
            ValueError: not declared, no counter, a label that is no member, or an amount below 0.
        """
        declared, slot = self._slot(metric, labels)
        if declared.shown.kind is not Kind.COUNTER:
            raise ValueError(f"exporter '{self.name}': metric '{metric.name}' is a gauge; use set")
        if not isinstance(amount, int) or not 0 <= amount <= _MAX_AMOUNT:
            raise ValueError(
                f"exporter '{self.name}': metric '{metric.name}': {amount!r:.60} can't be added;"
                " a whole number from 0 can"
            )
        with self._lock:
            self._words[slot] = (self._words[slot] + amount) % 2**64

    def set(self, metric: MetricSpec, labels: Mapping[str, Enum], value: float) -> None:
        """Set one of the plugin's own gauges.

        Raises:
            ValueError: not declared, no gauge, a label that is no member, or a value that is no finite number.
        """
        declared, slot = self._slot(metric, labels)
        if declared.shown.kind is not Kind.GAUGE:
            raise ValueError(f"exporter '{self.name}': metric '{metric.name}' is a counter; use add")
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"exporter '{self.name}': metric '{metric.name}': {value!r:.60} is no finite number")
        self._floats[slot] = value
