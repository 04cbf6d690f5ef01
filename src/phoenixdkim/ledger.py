"""The ledger: counters of all workers in shared memory.

Labels are enums, so every series has a fixed slot. A *stripe* belongs to one writer at a time; the next worker
inherits stripe and totals, so that totals never fall. A writer adds to a private array and copies it to the
inactive one of two banks, then stores the bank's number: a reader sees all of a batch or nothing of it, even when
the writer was killed inside it. All numbers are unsigned 64-bit integers; durations are in nanoseconds.

    header | stripe 0 (supervisor) | stripe 1 | ... | stripe N
    stripe: number of the bank, sessions, ring head | bank 0 | bank 1 | ring

The *ring* holds raw measures for exporters that send single values; it is written only while the header says that
one of them wants it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import threading
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from phoenixdkim import metrics
from phoenixdkim.events import Event, event_types
from phoenixdkim.metrics import Constant, Family, HistogramSample, Kind, MetricSpec, Sample

_MAGIC: Final = int.from_bytes(b"PhxDKIM2", "little")
_HEADER_WORDS: Final = 512
_STRIPE_HEADER_WORDS: Final = 8
MAX_WORKERS: Final = 64
STRIPES: Final = 1 + 4 * MAX_WORKERS
"""Stripe 0 is the supervisor's; the others are for workers of all generations alive."""
RING_ENTRIES: Final = 2048
MAX_TOTAL: Final = 2**64 - 1
"""The highest total; a higher sum is shown so, as it still fits into shared memory."""
_TRIES: Final = 1000

# Words of the header.
(
    _H_MAGIC,
    _H_DIGEST,
    _H_STRIPES,
    _H_SAMPLES_WANTED,
    _H_RELOAD_SUCCESS,
    _H_RELOAD_TIMESTAMP,
    _H_STARTED,
) = range(7)
# Words of a stripe's header.
_S_BANK, _S_SESSIONS, _S_RING_HEAD = range(3)

# Seals of memfd_create(2); the fcntl module of some interpreters lacks the names.
_F_ADD_SEALS: Final = getattr(fcntl, "F_ADD_SEALS", 1033)
_F_SEAL_SEAL: Final = 0x1
_F_SEAL_SHRINK: Final = 0x2
_F_SEAL_GROW: Final = 0x4
_F_SEAL_FUTURE_WRITE: Final = 0x10


class LedgerError(RuntimeError):
    """Shared memory that is not this version's ledger."""


@dataclass(frozen=True, slots=True)
class HistogramSlots:
    """Where a histogram series lives: ``len(bounds_ns) + 1`` bucket slots from ``base``, then the sum."""

    bounds_ns: tuple[int, ...]
    base: int

    @property
    def sum_slot(self) -> int:
        """Slot of the sum of observations, in nanoseconds."""
        return self.base + len(self.bounds_ns) + 1


@dataclass(frozen=True, slots=True)
class Layout:
    """Slots of all events and histograms, computed from the enums alone."""

    events: tuple[Event, ...]
    slot_of: dict[Event, int]
    histograms: dict[Event, tuple[HistogramSlots, ...]]
    series: dict[tuple[str, tuple[str, ...]], HistogramSlots]
    slots: int
    digest: int


def _make_layout() -> Layout:
    events = tuple(event for kind in event_types() for event in kind.combinations())
    slot_of = {event: slot for slot, event in enumerate(events)}
    histograms: dict[Event, list[HistogramSlots]] = {}
    series: dict[tuple[str, tuple[str, ...]], HistogramSlots] = {}
    next_slot = len(events)
    for spec in metrics.CATALOGUE:
        if spec.kind is not Kind.HISTOGRAM or spec.event is None:
            continue
        bounds = tuple(round(bound * 1e9) for bound in spec.buckets)
        for event in spec.event.combinations():
            labels = event.labels()
            key = (spec.name, tuple(labels[name] for name in spec.labels))
            if key not in series:
                series[key] = HistogramSlots(bounds, next_slot)
                next_slot += len(bounds) + 2
            histograms.setdefault(event, []).append(series[key])
    text = repr(
        [
            [(type(event).__name__, event.labels()) for event in events],
            [(key, slots.bounds_ns, slots.base) for key, slots in series.items()],
            (STRIPES, RING_ENTRIES),
        ]
    )
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    return Layout(events, slot_of, {e: tuple(h) for e, h in histograms.items()}, series, next_slot, digest)


LAYOUT: Final = _make_layout()
_STRIPE_WORDS: Final = _STRIPE_HEADER_WORDS + 2 * LAYOUT.slots + 2 * RING_ENTRIES
SIZE: Final = -(-8 * (_HEADER_WORDS + STRIPES * _STRIPE_WORDS) // mmap.PAGESIZE) * mmap.PAGESIZE
"""Octets of the ledger's memory."""


class Batch:
    """What one message adds to the ledger: events, and the measures that go with some of them."""

    __slots__ = ("measures", "slots")

    def __init__(self) -> None:
        self.slots: list[int] = []
        self.measures: list[tuple[Event, int]] = []

    def add(self, event: Event, seconds: float | None = None) -> None:
        """Add one event; ``seconds`` is its measure, and needed just when its class declares one.

        Raises:
            TypeError: no registered event, a label that is no member of its enum, or a measure too many or missing.
        """
        slot = LAYOUT.slot_of.get(event)
        if slot is None:
            raise TypeError(f"{event!r} is no registered event with members of its enums")
        if (seconds is None) is not (event.measure is None):
            raise TypeError(f"{event!r}: a measure is {'missing' if seconds is None else 'not declared'}")
        self.slots.append(slot)
        if seconds is not None:
            self.measures.append((event, max(0, round(seconds * 1e9))))


def shared_memory(name: str, size: int) -> int:
    """Make a memfd of ``size`` octets that nobody can grow, shrink or reopen as another user; returns its fd.

    Unsealed, whoever can open it could kill every process that maps it by truncating it.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.fchmod(fd, 0o600)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_GROW)
    return fd


def seal_writers(fd: int) -> None:
    """Let nobody write to this memory but through the mappings that exist, which forked processes inherit."""
    try:
        fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_FUTURE_WRITE)
    except OSError as error:
        # Linux before 5.1 does not know this seal; the file's owner and mode are what is left.
        if error.errno != errno.EINVAL:
            raise
    seal_seals(fd)


def seal_seals(fd: int) -> None:
    """Let nobody add a seal: one against writing would end the counting."""
    fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_SEAL)


def read_only_descriptor(fd: int) -> int:
    """Open the same memory read-only: what is handed to processes that plugins run in."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


class LedgerReader:
    """Reads totals; needs a read-only descriptor at most."""

    def __init__(self, fd: int) -> None:
        """Map the ledger behind ``fd``.

        Raises:
            LedgerError: it is no ledger, or one of another version.
        """
        if os.fstat(fd).st_size != SIZE:
            raise LedgerError(f"the shared memory has {os.fstat(fd).st_size} octets; this version's ledger has {SIZE}")
        self._map = mmap.mmap(fd, SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        self._words = memoryview(self._map).cast("Q")
        self._check()

    def _check(self) -> None:
        if self._words[_H_MAGIC] != _MAGIC or self._words[_H_DIGEST] != LAYOUT.digest:
            raise LedgerError("the ledger in shared memory is of another version; restart the daemon")

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._map.close()

    def _base(self, stripe: int) -> int:
        return _HEADER_WORDS + stripe * _STRIPE_WORDS

    def stripe_totals(self, stripe: int) -> array[int]:
        """One stripe's totals, not torn unless its writer changes banks all the time, which none of ours does."""
        words = self._words
        base = self._base(stripe)
        for _ in range(_TRIES):
            number = words[base + _S_BANK]
            start = base + _STRIPE_HEADER_WORDS + (number & 1) * LAYOUT.slots
            totals = array("Q", words[start : start + LAYOUT.slots].tobytes())
            if words[base + _S_BANK] == number:
                break
        return totals

    def totals(self) -> list[int]:
        """Totals of all stripes, by slot."""
        used = [s for s in range(STRIPES) if self._words[self._base(s) + _S_BANK]]
        if not used:
            return [0] * LAYOUT.slots
        columns = zip(*(self.stripe_totals(s) for s in used), strict=True)
        return [min(sum(column), MAX_TOTAL) for column in columns]

    def sessions(self) -> int:
        """Sessions that are open now."""
        return sum(self._words[self._base(s) + _S_SESSIONS] for s in range(STRIPES))

    @property
    def reload_success(self) -> int:
        """1 when the last start or reload took its configuration."""
        return self._words[_H_RELOAD_SUCCESS]

    @property
    def reload_timestamp(self) -> int:
        """Unix time in seconds of the configuration in force."""
        return self._words[_H_RELOAD_TIMESTAMP]

    @property
    def started(self) -> float:
        """Unix time in seconds at which the ledger was made."""
        return self._words[_H_STARTED] / 1e9

    def ring_heads(self) -> list[int]:
        """Number of raw measures ever written, by stripe."""
        return [self._words[self._base(s) + _S_RING_HEAD] for s in range(STRIPES)]

    def samples_since(self, heads: Sequence[int]) -> tuple[dict[int, list[float]], list[int]]:
        """Raw measures written since ``heads``, in seconds, by event slot, and the heads that they end at.

        What the ring no longer holds is simply not there: the caller knows the counts from the totals.
        """
        words = self._words
        found: dict[int, list[float]] = {}
        ends = self.ring_heads()
        for stripe, (start, end) in enumerate(zip(heads, ends, strict=True)):
            ring = self._base(stripe) + _STRIPE_HEADER_WORDS + 2 * LAYOUT.slots
            entries = [
                (number, words[ring + 2 * (number % RING_ENTRIES)], words[ring + 2 * (number % RING_ENTRIES) + 1])
                for number in range(max(start, end - RING_ENTRIES), end)
            ]
            # The writer may have come round while we read: what it may have overwritten is left out.
            oldest = words[self._base(stripe) + _S_RING_HEAD] - RING_ENTRIES + 16
            for number, slot, nanoseconds in entries:
                if number >= oldest or end <= RING_ENTRIES - 16:
                    found.setdefault(slot, []).append(nanoseconds / 1e9)
        return found, ends


class StripeWriter:
    """Adds to one stripe. Safe for the threads of one process; one process at a time may have a stripe."""

    def __init__(self, words: memoryview[int], base: int, samples_flag: int) -> None:
        self._words = words
        self._base = base
        self._samples_flag = samples_flag
        self._lock = threading.Lock()
        # Taken between the copy and the store of its number: an uncontended lock is the barrier that
        # processors with weakly ordered stores need.
        self._barrier = threading.Lock()
        first = base + _STRIPE_HEADER_WORDS
        self._banks = [words[first + n * LAYOUT.slots : first + (n + 1) * LAYOUT.slots] for n in (0, 1)]
        self._ring = first + 2 * LAYOUT.slots
        self._totals = array("Q", self._banks[words[base + _S_BANK] & 1].tobytes())
        self._view = memoryview(self._totals)

    def record(self, batch: Batch) -> None:
        """Add a batch: readers see all of it or nothing."""
        totals = self._totals
        words = self._words
        base = self._base
        with self._lock:
            try:
                for slot in batch.slots:
                    totals[slot] += 1
                for event, nanoseconds in batch.measures:
                    for histogram in LAYOUT.histograms.get(event, ()):
                        totals[histogram.base + bisect_left(histogram.bounds_ns, nanoseconds)] += 1
                        totals[histogram.sum_slot] += nanoseconds
            except OverflowError:
                # A total at the end of its range stays there; what counts mail must not stop it.
                pass
            if batch.measures and words[self._samples_flag]:
                head = words[base + _S_RING_HEAD]
                for event, nanoseconds in batch.measures:
                    entry = self._ring + 2 * (head % RING_ENTRIES)
                    words[entry] = LAYOUT.slot_of[event]
                    words[entry + 1] = nanoseconds
                    head += 1
                words[base + _S_RING_HEAD] = head & MAX_TOTAL
            number = (words[base + _S_BANK] + 1) & MAX_TOTAL
            self._banks[number & 1][:] = self._view
            with self._barrier:
                words[base + _S_BANK] = number

    def set_sessions(self, count: int) -> None:
        """Set the gauge of open sessions."""
        self._words[self._base + _S_SESSIONS] = count


class Ledger(LedgerReader):
    """The ledger with write access: the supervisor makes it before the first fork."""

    def __init__(self, started: float = 0.0) -> None:
        """Make an empty ledger; ``started`` is Unix time in seconds."""
        self.fd = shared_memory("phoenixdkim-ledger", SIZE)
        self._map = mmap.mmap(self.fd, SIZE)
        seal_writers(self.fd)
        self._words = memoryview(self._map).cast("Q")
        self._words[_H_MAGIC] = _MAGIC
        self._words[_H_DIGEST] = LAYOUT.digest
        self._words[_H_STRIPES] = STRIPES
        self._words[_H_STARTED] = round(started * 1e9)

    def writer(self, stripe: int) -> StripeWriter:
        """A writer for ``stripe`` that goes on from its totals."""
        return StripeWriter(self._words, self._base(stripe), _H_SAMPLES_WANTED)

    def release(self, stripe: int) -> None:
        """Free a stripe after its writer has ended: totals stay, gauges go."""
        self._words[self._base(stripe) + _S_SESSIONS] = 0

    def want_samples(self, wanted: bool) -> None:
        """Whether workers keep raw measures."""
        self._words[_H_SAMPLES_WANTED] = int(wanted)

    def set_reload(self, success: bool, timestamp: int) -> None:
        """Note a start or reload; ``timestamp`` is Unix time in seconds and kept only on success."""
        self._words[_H_RELOAD_SUCCESS] = int(success)
        if success:
            self._words[_H_RELOAD_TIMESTAMP] = timestamp


def families(reader: LedgerReader, totals: Sequence[int], version: str) -> list[Family]:
    """The core's families from ``totals``, without those that have an exporter's name as label.

    Args:
        reader: for the gauges.
        totals: as ``LedgerReader.totals`` gives them.
        version: the value of ``build_info``'s label.
    """
    gauges = {
        metrics.SESSIONS.name: reader.sessions(),
        metrics.RELOAD_SUCCESS.name: reader.reload_success,
        metrics.RELOAD_TIMESTAMP.name: reader.reload_timestamp,
    }
    found: list[Family] = []
    for spec in metrics.CATALOGUE:
        if Constant.EXPORTER in spec.labels.values():
            continue
        if spec.event is not None:
            found.append(Family(spec, _event_samples(spec, spec.event, totals)))
        elif Constant.VERSION in spec.labels.values():
            found.append(Family(spec, (Sample((("version", version),), 1),)))
        else:
            found.append(Family(spec, (Sample((), gauges[spec.name]),)))
    return found


def _event_samples(spec: MetricSpec, kind: type[Event], totals: Sequence[int]) -> tuple[Sample | HistogramSample, ...]:
    if spec.kind is Kind.HISTOGRAM:
        return tuple(
            HistogramSample(
                tuple(zip(spec.labels, values, strict=True)),
                tuple(totals[slots.base : slots.sum_slot]),
                totals[slots.sum_slot],
            )
            for (name, values), slots in LAYOUT.series.items()
            if name == spec.name
        )
    sums: dict[tuple[tuple[str, str], ...], int] = {}
    for event in kind.combinations():
        labels = event.labels()
        key = tuple((name, labels[name]) for name in spec.labels)
        sums[key] = sums.get(key, 0) + totals[LAYOUT.slot_of[event]]
    return tuple(Sample(key, value) for key, value in sums.items())
