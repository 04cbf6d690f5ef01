"""An exporter's page: shared memory that outlives the exporter's process.

It holds the cursor (the totals that the exporter has taken), what is known of delivery, the failure counts and
the plugin's own metrics. The exporter's process writes it, but for the words that are the supervisor's; every
other exporter reads it, so that all show the same.

The cursor has two banks: tick g's totals go to bank g & 1, so the bank of tick g - 1 is still there and the
difference of the two is what tick g delivers. A successor counts as lost what its predecessor had taken and not
delivered.
"""

from __future__ import annotations

import json
import mmap
import os
import threading
from array import array
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

from phoenixdkim.ledger import LAYOUT, STRIPES, LedgerError, sealed_memory
from phoenixdkim.metrics import Family, Kind, MetricSpec, Sample

_MAGIC: Final = int.from_bytes(b"PhxPage1", "little")
EVENTS: Final = len(LAYOUT.events)
_OWN_SLOTS: Final = 512
_SCHEMA_OCTETS: Final = 128 * 1024

_HEADER_WORDS: Final = 64
(
    _MAGIC_WORD,
    _DIGEST,
    _HEARTBEAT,  # host
    _FAILURES,  # host
    _DEATHS,  # supervisor
    _UP,  # supervisor
    _TICK,  # host: number of the bank that holds the cursor
    _DONE,  # host: how many entries of this tick are delivered
    _SETTLED,  # host: which of the two records of (lost, settled tick) is valid
    _LOST0,
    _SETTLED0,
    _LOST1,
    _SETTLED1,
    _SCHEMA_LENGTH,
) = range(14)
_CURSORS: Final = _HEADER_WORDS
_RING: Final = _CURSORS + 2 * EVENTS
_OWN: Final = _RING + STRIPES
_SCHEMA: Final = _OWN + _OWN_SLOTS
SIZE: Final = -(-(8 * _SCHEMA + _SCHEMA_OCTETS) // mmap.PAGESIZE) * mmap.PAGESIZE


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

    def set_up(self, up: bool) -> None:
        """Supervisor: say whether the exporter runs."""
        self._words[_UP] = int(up)

    def add_death(self) -> None:
        """Supervisor: count a process that ended unasked."""
        self._words[_DEATHS] += 1

    def families(self) -> list[Family]:
        """The plugin's own metrics as they are now."""
        length = self._words[_SCHEMA_LENGTH]
        if not length:
            return []
        schema = json.loads(self._map[8 * _SCHEMA : 8 * _SCHEMA + length])
        found = []
        slot = _OWN
        for entry in schema:
            spec = MetricSpec(entry["name"], Kind(entry["kind"]), entry["help"], dotted=entry["dotted"])
            samples = []
            for labels in entry["series"]:
                value = self._words[slot] if spec.kind is Kind.COUNTER else self._floats[slot]
                samples.append(Sample(tuple((name, text) for name, text in labels), value))
                slot += 1
            found.append(Family(spec, tuple(samples)))
        return found


class HostPage(Page):
    """The page with write access, in the exporter's own process."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd, name, writable=True)
        self._lock = threading.Lock()
        self._slots: dict[tuple[str, tuple[str, ...]], int] = {}

    def beat(self, now_ns: int) -> None:
        """Show that this process lives."""
        self._words[_HEARTBEAT] = now_ns

    def add_failure(self) -> None:
        """Count a hook call that failed."""
        self._words[_FAILURES] += 1

    def _settle(self, lost: int, tick: int) -> None:
        number = self._words[_SETTLED] + 1
        self._words[_LOST1 if number & 1 else _LOST0] = lost
        self._words[_SETTLED1 if number & 1 else _SETTLED0] = tick
        self._words[_SETTLED] = number

    @property
    def _settled_tick(self) -> int:
        return self._words[_SETTLED1 if self._words[_SETTLED] & 1 else _SETTLED0]

    def _bank(self, tick: int) -> array[int]:
        start = _CURSORS + (tick & 1) * EVENTS
        return array("Q", self._words[start : start + EVENTS].tobytes())

    def recover(self) -> int:
        """Count as lost what a predecessor took and did not deliver; returns how many events that were."""
        tick = self._words[_TICK]
        if self._settled_tick >= tick:
            return 0
        entries = [n - o for n, o in zip(self._bank(tick), self._bank(tick - 1), strict=True) if n > o]
        lost = sum(entries[self._words[_DONE] :])
        self._settle(self.lost + lost, tick)
        return lost

    def take(self, totals: Sequence[int]) -> list[tuple[int, int]]:
        """Move the cursor to ``totals``; returns (event slot, count) of each event since the last tick."""
        tick = self._words[_TICK]
        before = self._bank(tick)
        entries = [(slot, totals[slot] - before[slot]) for slot in range(EVENTS) if totals[slot] > before[slot]]
        start = _CURSORS + ((tick + 1) & 1) * EVENTS
        self._words[start : start + EVENTS] = memoryview(array("Q", totals[:EVENTS]))
        self._words[_DONE] = 0
        self._words[_TICK] = tick + 1
        return entries

    def delivered(self, entries: int) -> None:
        """The first ``entries`` of this tick have left the process."""
        self._words[_DONE] = entries

    def settle(self) -> None:
        """All of this tick is delivered or counted as lost."""
        self._settle(self.lost, self._words[_TICK])

    def add_lost(self, count: int) -> None:
        """Count events that could not be delivered."""
        with self._lock:
            self._settle(self.lost + count, self._settled_tick)

    def ring_heads(self) -> list[int]:
        """Where this exporter is in the rings of raw measures."""
        return list(self._words[_RING : _RING + STRIPES])

    def set_ring_heads(self, heads: Sequence[int]) -> None:
        """Move on in the rings."""
        self._words[_RING : _RING + STRIPES] = memoryview(array("Q", heads))

    def declare(self, specs: Sequence[MetricSpec]) -> None:
        """Lay out the plugin's own metrics; values are kept when the layout is the predecessor's.

        Raises:
            ValueError: they do not fit.
        """
        schema: list[dict[str, Any]] = []
        slot = _OWN
        for spec in specs:
            series = _series(spec)
            for labels in series:
                self._slots[spec.name, tuple(value for _, value in labels)] = slot
                slot += 1
            dotted = spec.dotted_name({name: "{" + name + "}" for name in spec.labels})
            schema.append({"name": spec.name, "kind": spec.kind, "help": spec.help, "dotted": dotted, "series": series})
        text = json.dumps(schema).encode()
        if slot - _OWN > _OWN_SLOTS or len(text) > _SCHEMA_OCTETS:
            raise ValueError(f"exporter '{self.name}': its own metrics have {slot - _OWN} series; {_OWN_SLOTS} fit")
        length = self._words[_SCHEMA_LENGTH]
        if self._map[8 * _SCHEMA : 8 * _SCHEMA + length] == text:
            return
        self._words[_SCHEMA_LENGTH] = 0
        self._words[_OWN : _OWN + _OWN_SLOTS] = memoryview(array("Q", bytes(8 * _OWN_SLOTS)))
        self._map[8 * _SCHEMA : 8 * _SCHEMA + len(text)] = text
        self._words[_SCHEMA_LENGTH] = len(text)

    def _slot(self, metric: MetricSpec, labels: dict[str, Enum]) -> int:
        for name, kind in metric.labels.items():
            if not isinstance(kind, type) or not isinstance(labels.get(name), kind):
                raise ValueError(
                    f"exporter '{self.name}': metric '{metric.name}': label '{name}' must be a member of"
                    f" {getattr(kind, '__name__', kind)}, not {labels.get(name)!r}"
                )
        slot = self._slots.get((metric.name, tuple(str(labels[name].value) for name in metric.labels)))
        if slot is None or len(labels) != len(metric.labels):
            raise ValueError(f"exporter '{self.name}': metric '{metric.name}' with labels {labels} was not declared")
        return slot

    def add(self, metric: MetricSpec, labels: dict[str, Enum], amount: int) -> None:
        """Add to one of the plugin's own counters.

        Raises:
            ValueError: not declared, no counter, a label that is no member, or a negative amount.
        """
        slot = self._slot(metric, labels)
        if metric.kind is not Kind.COUNTER or amount < 0:
            raise ValueError(f"exporter '{self.name}': only a counter can be added to, and only upwards")
        with self._lock:
            self._words[slot] += amount

    def set(self, metric: MetricSpec, labels: dict[str, Enum], value: float) -> None:
        """Set one of the plugin's own gauges.

        Raises:
            ValueError: not declared, no gauge, or a label that is no member.
        """
        slot = self._slot(metric, labels)
        if metric.kind is not Kind.GAUGE:
            raise ValueError(f"exporter '{self.name}': only a gauge can be set")
        self._floats[slot] = value


def _series(spec: MetricSpec) -> list[list[tuple[str, str]]]:
    combinations: list[list[tuple[str, str]]] = [[]]
    for name, kind in spec.labels.items():
        assert isinstance(kind, type)
        combinations = [[*c, (name, str(member.value))] for c in combinations for member in kind]
    return combinations
