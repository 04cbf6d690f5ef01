"""A tick of an exporter's process: what it hands to the plugin."""

import logging

from phoenixdkim.events import DnsResponse, DnsResult
from phoenixdkim.exporters.inspection import Inspected
from phoenixdkim.exporters.page import HostPage, make_page
from phoenixdkim.exporters.process import ExporterHost, HostContext
from phoenixdkim.ledger import LAYOUT
from phoenixdkim.options import Options

EVENT = DnsResponse(DnsResult.SUCCESS)
SLOT = LAYOUT.slot_of[EVENT]


class Wanting(Options):
    wants_samples = True


class Reader:
    """A ledger whose worker is always one step ahead: its raw values are there before their totals."""

    def __init__(self):
        self.counted = 0
        self.values = []

    def totals(self):
        totals = [0] * LAYOUT.slots
        totals[SLOT] = self.counted
        return totals

    def samples_since(self, heads):
        values, self.values = self.values, []
        return ({SLOT: values} if values else {}), heads


class Manager:
    """Records the calls of hooks."""

    def __init__(self):
        self.events = []
        self.hook = self

    def phoenixdkim_start(self, context):
        pass

    def phoenixdkim_event(self, event, count, samples):
        self.events.append((event, count, list(samples)))

    def phoenixdkim_tick(self, now):
        pass


def test_a_value_that_comes_before_its_count_is_kept_for_it():
    manager, reader = Manager(), Reader()
    page = HostPage(make_page("x"), "x")
    inspected = Inspected(manager, Wanting(), ())
    context = HostContext("x", inspected, reader, page, logging.getLogger("x"))
    host = ExporterHost(inspected, context, reader, page)
    reader.counted, reader.values = 2, [0.1, 0.2, 0.3]
    host.tick(0.0)
    reader.counted, reader.values = 4, [0.4]
    host.tick(1.0)
    reader.counted = 6
    host.tick(2.0)
    assert manager.events == [(EVENT, 2, [0.1, 0.2]), (EVENT, 2, [0.3, 0.4]), (EVENT, 2, [])]
