"""What is shown of an exporter, whatever its page says."""

from __future__ import annotations

import os
import random
import struct

import pytest

from exporters.test_page import DEPTH, PAINTED, Colour, frozen, punch_hole
from phoenixdkim.daemon.hosts import PageStore
from phoenixdkim.exporters.page import _OWN, MOST, SIZE, HostPage, Page
from phoenixdkim.exporters.record import Record
from phoenixdkim.exporters.snapshots import snapshot
from phoenixdkim.exporters.state import StateReader
from phoenixdkim.ledger import Ledger
from phoenixdkim.metrics import HistogramSample, Kind


class House:
    """Two exporters of a daemon: one that is honest, one whose page is overwritten, and who reads them."""

    def __init__(self):
        self.stores = {"honest": PageStore("honest"), "hostile": PageStore("hostile")}
        self.ledger = Ledger()
        self.metrics = frozen(PAINTED, DEPTH)
        for store in self.stores.values():
            store.record.accept([metric.shown for metric in self.metrics])
            store.record.set_up(True)
            page = HostPage(store.fd, "own")
            page.declare(self.metrics)
            page.add(PAINTED, {"colour": Colour.RED}, 3)
            page.set(DEPTH, {}, 1.5)
            store.keep(lambda: 10**18)
        self.sibling = self.reader()

    def close(self):
        for store in self.stores.values():
            store.close()
        self.ledger.close()
        os.close(self.ledger.fd)

    def reader(self):
        return [
            StateReader(Record(store.readable[0], name), Page(store.readable[1], name))
            for name, store in self.stores.items()
        ]

    def shown(self, readers=None):
        """All series of a snapshot by name and labels."""
        found = snapshot(self.ledger, self.ledger.totals(), readers or self.sibling, "1")
        series = {}
        for family in found.families:
            for sample in family.samples:
                value = sample.count if isinstance(sample, HistogramSample) else sample.value
                assert (family.spec.name, sample.labels) not in series, "no series twice"
                assert 0 <= value <= 2 * MOST
                series[family.spec.name, sample.labels] = value
        return series

    def up(self, readers=None):
        shown = self.shown(readers)
        return {name: shown["phoenixdkim_exporter_up", (("exporter", name),)] for name in self.stores}


RED = ("phoenixdkim_exporter_painted_total", (("colour", "red"),))
FAILURES = ("phoenixdkim_exporter_failures_total", (("exporter", "hostile"),))


@pytest.fixture
def house():
    found = House()
    yield found
    found.close()


def totals_of(series):
    return {key: value for key, value in series.items() if key[0].endswith("_total")}


def test_a_sound_page_is_shown(house):
    assert house.up() == {"honest": 1, "hostile": 1}
    assert house.shown()[RED] == 6, "values of two instances are added"
    assert house.shown()["phoenixdkim_exporter_depth", ()] == 1.5, "of a gauge the highest"


def test_failures_and_deaths_are_one_number(house):
    HostPage(house.stores["hostile"].fd, "x").add_failure()
    house.stores["hostile"].record.add_death()
    assert house.shown()[FAILURES] == 2


@pytest.mark.parametrize("seed", range(40))
def test_no_reader_raises_and_no_total_falls_whatever_the_page_says(house, seed):
    chance = random.Random(seed)
    fd = house.stores["hostile"].fd
    before = house.shown()
    for _ in range(30):
        size = chance.choice([8, 8, 8, 64, 4096, SIZE])
        start = chance.randrange(0, SIZE - size + 1, 8)
        word = chance.choice([0, 1, 2**53, 2**63, 2**64 - 1, chance.getrandbits(64)])
        os.pwrite(fd, struct.pack("Q", word) if size == 8 else chance.randbytes(size), start)
        now = house.shown()
        assert now.keys() == before.keys(), "the series stay the same"
        assert all(now[key] >= value for key, value in totals_of(before).items()), "no total falls"
        beat = house.stores["hostile"].keep(lambda: 10**18)
        assert (beat is None) >= (house.up()["hostile"] == 0), "the supervisor sees what a sibling sees"
        assert house.up()["honest"] == 1
        # A sibling that starts now shows no less than those before.
        late = house.shown(house.reader())
        assert all(late[key] >= value for key, value in totals_of(before).items())
        before = now


@pytest.mark.parametrize(
    ("offset", "word"), [(0, 0), (0, 2**64 - 1), (8, 7), (24, 2**64 - 1), (8 * _OWN, 2**64 - 1), (8 * _OWN, MOST + 1)]
)
def test_an_exporter_with_a_bad_page_is_down_and_keeps_its_last_values(house, offset, word):
    before = house.shown()
    os.pwrite(house.stores["hostile"].fd, struct.pack("Q", word), offset)
    assert house.up() == {"honest": 1, "hostile": 0}
    assert totals_of(house.shown()) == totals_of(before)
    assert house.stores["hostile"].keep(lambda: 10**18) is None
    os.pwrite(house.stores["hostile"].fd, b"\0" * 8, 0)
    assert house.shown()[RED] == 6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_gauge_is_finite(house, value):
    os.pwrite(house.stores["hostile"].fd, struct.pack("d", value), 8 * (_OWN + 2))
    assert house.up()["hostile"] == 0
    assert house.shown()["phoenixdkim_exporter_depth", ()] == 1.5


def test_a_hole_is_seen(house):
    punch_hole(house.stores["hostile"].fd, 0, SIZE)
    assert house.up() == {"honest": 1, "hostile": 0}
    assert house.shown()[RED] == 6


def test_a_heartbeat_in_the_future_is_none(house):
    HostPage(house.stores["hostile"].fd, "x").beat(2**64 - 1)
    assert house.stores["hostile"].keep(lambda: 10**18) is None


def test_a_heartbeat_while_the_page_is_read_is_not_in_the_future(house):
    store = house.stores["honest"]
    page = HostPage(store.fd, "own")

    def clock():
        page.beat(20)
        return 10

    page.beat(5)
    assert store.keep(clock) == 5


def test_values_of_another_layout_are_not_shown_under_this_one(house):
    store = house.stores["hostile"]
    store.record.accept([frozen(DEPTH)[0].shown])
    assert house.shown()["phoenixdkim_exporter_depth", ()] == 1.5, "the other instance's"
    kinds = {family.spec.name: family.spec.kind for family in house.sibling[1].read().families}
    assert kinds == {"phoenixdkim_exporter_depth": Kind.GAUGE}
    assert house.sibling[1].read().families[0].samples[0].value == 0
