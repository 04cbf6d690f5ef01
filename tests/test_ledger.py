"""The ledger: exact under threads, readers and kills; sealed against everybody else."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import threading
import time

import pytest

from phoenixdkim.dkim.results import Algorithm, Result, SignResult
from phoenixdkim.events import (
    Action,
    DnsQuery,
    DnsResponse,
    DnsResult,
    MessageProcessed,
    MessageSigned,
    MessageVerified,
    event_types,
)
from phoenixdkim.ledger import (
    LAYOUT,
    RING_ENTRIES,
    SIZE,
    Batch,
    Ledger,
    LedgerError,
    LedgerReader,
    families,
    read_only_descriptor,
    shared_memory,
)
from phoenixdkim.metrics import CATALOGUE, HistogramSample, Snapshot


@pytest.fixture
def ledger():
    made = Ledger()
    yield made
    os.close(made.fd)


def batch(*events, seconds=0.002):
    made = Batch()
    for event in events:
        made.add(event, seconds if event.measure else None)
    return made


def snapshot(ledger):
    return Snapshot(tuple(families(ledger, ledger.totals(), "1.2.3")))


def test_the_layout_is_computed_from_the_enums():
    assert len(LAYOUT.events) == sum(len(kind.combinations()) for kind in event_types())
    buckets = sum(spec.series() * (len(spec.buckets) + 2) for spec in CATALOGUE if spec.buckets)
    assert LAYOUT.slots == len(LAYOUT.events) + buckets


def test_a_batch_is_counted_in_all_its_series(ledger):
    ledger.writer(1).record(batch(MessageProcessed(Action.SIGN), MessageSigned(SignResult.OK, Algorithm.RSA_SHA256)))
    ledger.writer(2).record(batch(MessageProcessed(Action.SIGN), seconds=0.0005))
    ledger.writer(2).record(batch(MessageProcessed(Action.ERROR), seconds=1e6))
    found = snapshot(ledger)
    assert found.value("phoenixdkim_messages_total") == 3
    assert found.value("phoenixdkim_signatures_total", result="ok", algorithm="rsa-sha256") == 1
    assert found.value("phoenixdkim_signatures_total") == 1
    assert found.value("phoenixdkim_build_info", version="1.2.3") == 1
    durations = next(f for f in found.families if f.spec.name == "phoenixdkim_message_duration_seconds")
    by_action = {dict(sample.labels)["action"]: sample for sample in durations.samples}
    sign = by_action["sign"]
    assert isinstance(sign, HistogramSample)
    assert (sign.counts[0], sign.counts[2], sign.count, sign.sum_ns) == (1, 1, 2, 2_500_000)
    assert by_action["error"].counts[-1] == 1
    assert by_action["verify"].count == 0


@pytest.mark.parametrize(
    ("event", "seconds"),
    [
        (MessageVerified("example.com"), None),
        (MessageVerified(SignResult.OK), None),
        ("MessageVerified", None),
        (MessageVerified(Result.PASS), 1.0),
        (MessageProcessed(Action.SIGN), None),
    ],
)
def test_only_registered_events_with_members_of_their_enums_are_taken(event, seconds):
    with pytest.raises(TypeError):
        Batch().add(event, seconds)


def test_a_successor_goes_on_from_the_totals(ledger):
    first = ledger.writer(1)
    first.record(batch(DnsQuery(), DnsQuery()))
    first.set_sessions(5)
    assert ledger.sessions() == 5
    ledger.release(1)
    assert ledger.sessions() == 0
    ledger.writer(1).record(batch(DnsQuery()))
    assert snapshot(ledger).value("phoenixdkim_dns_queries_total") == 3


def test_threads_lose_nothing(ledger):
    writer = ledger.writer(1)
    one = batch(DnsQuery(), DnsResponse(DnsResult.SUCCESS), seconds=0.25)
    threads = [threading.Thread(target=lambda: [writer.record(one) for _ in range(2000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = snapshot(ledger)
    assert found.value("phoenixdkim_dns_queries_total") == 16000
    assert found.value("phoenixdkim_dns_duration_seconds") == 16000


def consistent(totals):
    """Whether what is always recorded together stands together."""
    queries = totals[LAYOUT.slot_of[DnsQuery()]]
    responses = totals[LAYOUT.slot_of[DnsResponse(DnsResult.SUCCESS)]]
    slots = LAYOUT.series["phoenixdkim_dns_duration_seconds", ()]
    return queries == responses == sum(totals[slots.base : slots.sum_slot])


def test_a_reader_never_sees_a_torn_batch_and_no_kill_leaves_one(ledger):
    """As in the prototype: writers are killed at full speed while a reader looks."""
    reader = LedgerReader(read_only_descriptor(ledger.fd))
    reads = 0
    last = 0
    for _ in range(12):
        pid = os.fork()
        if pid == 0:
            writer = ledger.writer(1)
            one = batch(DnsQuery(), DnsResponse(DnsResult.SUCCESS), seconds=0.25)
            while True:
                writer.record(one)
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            totals = reader.totals()
            assert consistent(totals)
            assert totals[LAYOUT.slot_of[DnsQuery()]] >= last, "totals never fall"
            last = totals[LAYOUT.slot_of[DnsQuery()]]
            reads += 1
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert consistent(reader.totals())
    assert reads > 100
    assert last > 1000
    reader.close()


def test_raw_measures_only_when_wanted_and_at_most_what_the_ring_holds(ledger):
    writer = ledger.writer(1)
    heads = ledger.ring_heads()
    writer.record(batch(DnsResponse(DnsResult.SUCCESS), seconds=0.5))
    assert ledger.samples_since(heads)[0] == {}
    ledger.want_samples(True)
    writer.record(batch(DnsResponse(DnsResult.SUCCESS), seconds=0.125))
    slot = LAYOUT.slot_of[DnsResponse(DnsResult.SUCCESS)]
    found, heads = ledger.samples_since(heads)
    assert found == {slot: [0.125]}
    assert ledger.samples_since(heads)[0] == {}
    for _ in range(RING_ENTRIES + 500):
        writer.record(batch(DnsResponse(DnsResult.SUCCESS), seconds=0.25))
    found, _ = ledger.samples_since(heads)
    assert RING_ENTRIES - 20 <= len(found[slot]) <= RING_ENTRIES


def test_nobody_can_change_its_size_or_write_through_the_descriptor_of_exporters(ledger):
    reading = read_only_descriptor(ledger.fd)
    for attempt in (
        lambda: os.ftruncate(ledger.fd, 0),
        lambda: os.ftruncate(ledger.fd, 2 * SIZE),
        lambda: os.truncate(f"/proc/self/fd/{ledger.fd}", 0),
        lambda: os.ftruncate(reading, 0),
        lambda: os.pwrite(reading, b"x", 0),
        lambda: mmap.mmap(reading, SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
    ):
        with pytest.raises(OSError):
            attempt()
    assert os.fstat(ledger.fd).st_mode & 0o777 == 0o600
    os.close(reading)


def test_not_even_its_own_user_gets_another_way_to_write(ledger):
    again = os.open(f"/proc/self/fd/{ledger.fd}", os.O_RDWR)
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    for fd in (ledger.fd, again):
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(PermissionError):
            mmap.mmap(fd, SIZE)
        assert fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(4096)) == -1, "a hole is a write too"
    os.close(again)
    writer = ledger.writer(1)
    pid = os.fork()
    if pid == 0:
        writer.record(batch(DnsResponse(DnsResult.SUCCESS), seconds=0.25))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert ledger.totals()[LAYOUT.slot_of[DnsResponse(DnsResult.SUCCESS)]] == 1, "forked workers write"


def test_another_user_can_not_reopen_it_for_writing(ledger):
    if os.geteuid() != 0:
        pytest.fail("this test changes its user: run it as root")
    reading = read_only_descriptor(ledger.fd)
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        # Dumpable again, as after exec: otherwise /proc itself is closed and nothing is shown.
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
        try:
            os.open(f"/proc/self/fd/{reading}", os.O_RDWR)
        except PermissionError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(reading)


def test_memory_of_another_version_is_refused():
    fd = shared_memory("test", SIZE)
    with pytest.raises(LedgerError, match="another version"):
        LedgerReader(fd)
    os.close(fd)
    fd = shared_memory("test", 4096)
    with pytest.raises(LedgerError, match="4096 octets"):
        LedgerReader(fd)
    os.close(fd)
