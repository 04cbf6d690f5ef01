"""Our three exporters keep the contract that third parties' exporters are tested with."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections import Counter

import pytest

from exposition import read_text
from phoenixdkim.metrics import CATALOGUE, Kind
from phoenixdkim.testing.contract import Delivery, ExporterContract

pytestmark = pytest.mark.timeout(300)


def in_catalogue_order(found):
    """Series with labels in the catalogue's order."""
    order = {spec.name: list(spec.labels) for spec in CATALOGUE}
    return {
        (name, tuple(sorted(labels, key=lambda pair: order[name].index(pair[0])))): value
        for (name, labels), value in found.items()
        if name in order
    }


class TestTextfile(ExporterContract):
    exporter = "textfile"
    delivers = Delivery.STATES

    def open_receiver(self, place):
        self.path = place / "out" / "x.prom"
        self.path.parent.mkdir()
        return {"path": str(self.path)}

    def received(self):
        return in_catalogue_order(read_text(self.path.read_text()))

    def break_receiver(self):
        self.path.unlink()
        self.path.parent.rmdir()


class TestHttp(ExporterContract):
    exporter = "http"
    delivers = Delivery.STATES
    seen_after_stop = False

    def open_receiver(self, place):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        return {"listen": self.address}

    def received(self):
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=30) as answer:
            return in_catalogue_order(read_text(answer.read().decode()))


class TestStatsd(ExporterContract):
    exporter = "statsd"
    may_lose = True

    def open_receiver(self, place):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(place / "s"))
        self.socket.settimeout(0.1)
        self.found = Counter()
        self.ended = False
        self.names = {
            "phoenixdkim." + spec.dotted_name(labels): (spec.name, tuple(labels.items()))
            for spec in CATALOGUE
            if spec.kind is Kind.COUNTER and spec.event is not None
            for event in spec.event.combinations()
            for labels in [{name: event.labels()[name] for name in spec.labels}]
        }
        self.thread = threading.Thread(target=self.receive)
        self.thread.start()
        return {"address": f"unix:{place}/s"}

    def receive(self):
        while not self.ended:
            try:
                packet = self.socket.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            for line in packet.decode().split("\n"):
                name, _, rest = line.partition(":")
                value, kind = rest.split("|")[:2]
                if kind == "c" and name in self.names:
                    self.found[self.names[name]] += float(value)

    def received(self):
        return dict(self.found)

    def break_receiver(self):
        self.close_receiver()

    def close_receiver(self):
        self.ended = True
        self.thread.join()
        self.socket.close()
