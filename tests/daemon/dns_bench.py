"""The real daemon with scripted name servers, and all that it says of a message: field, line and counters."""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from prometheus_client.parser import text_string_to_metric_families

from daemon.house import House
from interop.peers import KeyPair
from phoenixdkim.authres import parse
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.events import DnsResult
from phoenixdkim.testing.milter_protocol import Reply, apply

QUICK = "query_timeout = 0.3\nmessage_timeout = 1.2\n"
"""For what never answers: two attempts take 0.9 seconds."""

PATIENT = "query_timeout = 30.0\nmessage_timeout = 60.0\n"
"""For what does answer, on however busy a machine."""

OURS = KeyPair.rsa("example.net")
_numbers = count()

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True)
class Told:
    """What was said of one message.

    Attributes:
        methods: of each clause of Authentication-Results.
        results: of each clause, result and words.
        line: the summary line's words.
        gained: what each series grew by.
    """

    reply: Reply
    methods: tuple[bytes, ...]
    results: tuple[tuple[bytes, bytes | None], ...]
    line: dict[str, str]
    gained: Series

    def counted(self, name: str, **labels: str) -> float:
        """How much the series ``phoenixdkim_NAME`` grew, all its labels together unless some are given."""
        wanted = labels.items()
        return sum(
            value
            for (found, has), value in self.gained.items()
            if found == f"phoenixdkim_{name}" and wanted <= dict(has).items()
        )

    @property
    def questions(self) -> int:
        """Questions put; as many have ended, and have their time."""
        asked = self.counted("dns_queries_total")
        assert asked == sum(self.counted("dns_responses_total", result=result) for result in DnsResult)
        assert asked == self.counted("dns_duration_seconds_count")
        return int(asked)


class DnsBench:
    """One daemon."""

    def __init__(self, house: House, port: int) -> None:
        self.house = house
        self._url = f"http://127.0.0.1:{port}/metrics"

    def counters(self) -> Series:
        """All series that only grow, and sums."""
        with urllib.request.urlopen(self._url, timeout=30) as answer:
            text = answer.read().decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.endswith(("_total", "_sum", "_count")) and "exporter" not in sample.name
        }

    def wait_until_scraped(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.counters()
                return
            except OSError:
                assert time.monotonic() < deadline, self.house.log()
                time.sleep(0.05)

    def send(self, message: bytes) -> Told:
        """Send a message from a stranger, alone, and read what was said of it."""
        queue_id = f"DNS{next(_numbers)}"
        before = self.counters()
        fields, body = parse_message(message)
        sent = [(field.name, field.value) for field in fields]
        with self.house.client() as client:
            reply = client.send_message(sent, body, client_address="203.0.113.9", macros={"i": queue_id})
        added = [value for field, value in apply(reply, sent) if field == b"Authentication-Results"]
        assert len(added) <= 1
        clauses = parse(added[0]).results if added else ()
        methods = tuple(clause.method for clause in clauses)
        results = tuple((clause.result, clause.reason) for clause in clauses)
        self.house.wait_for(f"{queue_id}: summary ")
        line = re.search(f"{queue_id}: summary (.*)", self.house.log())
        assert line is not None
        words = dict(part.split("=", 1) for part in line[1].split())
        gained = {name: value - before[name] for name, value in self.counters().items()}
        return Told(reply, methods, results, words, gained)


@contextmanager
def dns_bench(dns: str, *, extra: str = "", workers: int = 1) -> Iterator[DnsBench]:
    """Start a daemon.

    Args:
        dns: lines of the table ``[dns]``.
        extra: more TOML.
        workers: how many share the messages; with one, a test knows what is kept.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    exporters = f'[exporters.http]\nlisten = "127.0.0.1:{port}"\n'
    with House(OURS, dns=dns, extra=extra, exporters=exporters, workers=workers) as house:
        bench = DnsBench(house, port)
        bench.wait_until_scraped()
        yield bench
