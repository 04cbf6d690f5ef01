"""An exporter's record: the supervisor's facts, which nobody else can write."""

from __future__ import annotations

import mmap
import os

import pytest

from phoenixdkim.exporters.declared import Shown
from phoenixdkim.exporters.record import SIZE, Record, RecordWriter
from phoenixdkim.ledger import LedgerError, read_only_descriptor, shared_memory
from phoenixdkim.metrics import Kind

PAINTED = Shown(
    "phoenixdkim_exporter_painted_total",
    Kind.COUNTER,
    "Painted.",
    "exporter_painted.{colour}",
    ((("colour", "red"),), (("colour", "blue"),)),
)


@pytest.fixture
def record():
    made = RecordWriter("test")
    yield made
    made.close()


def test_readers_see_facts_as_they_change(record):
    reader = Record(read_only_descriptor(record.fd), "test")
    assert (reader.read().up, reader.read().deaths, reader.read().description) == (False, 0, ())
    record.set_up(True)
    record.add_death()
    record.accept([PAINTED])
    record.keep(1, 2, [3, 4])
    found = reader.read()
    assert (found.up, found.deaths, found.failures, found.lost) == (True, 1, 1, 2)
    assert (found.description, found.values[:3]) == ((PAINTED,), (3, 4, 0))


def test_values_belong_to_a_description(record):
    record.accept([PAINTED])
    record.keep(0, 0, [3, 4])
    edition = record.read().edition
    record.accept([PAINTED])
    assert (record.read().edition, record.read().values[:2]) == (edition, (3, 4))
    record.accept([])
    assert record.read().values[:2] == (0, 0)
    assert record.read().edition != edition
    assert record.read().description == ()


def test_a_description_that_is_being_replaced_is_not_read(record):
    record.accept([PAINTED])
    reader = Record(read_only_descriptor(record.fd), "test")
    before = reader.read()
    record._words[1] += 1
    record._map[-100:] = b"x" * 100
    assert reader.read() == before


def test_no_other_process_can_get_write_access(record):
    for fd in (record.fd, os.open(f"/proc/self/fd/{record.fd}", os.O_RDWR)):
        with pytest.raises(PermissionError):
            mmap.mmap(fd, SIZE)
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
    record.set_up(True)
    assert record.read().up


def test_memory_that_is_not_a_record_is_refused():
    for size in (4096, SIZE):
        fd = shared_memory("test", size)
        with pytest.raises(LedgerError, match="exporter 'x'"):
            Record(fd, "x")
        os.close(fd)
