"""The number of series is computed from the enums, and whatever mail says does not change it (fault X7)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from phoenixdkim import __version__
from phoenixdkim.cli.message import process
from phoenixdkim.config.build import build
from phoenixdkim.config.load import Loaded
from phoenixdkim.config.model import Config
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome
from phoenixdkim.exporters.page import Page, make_page
from phoenixdkim.exporters.record import RecordWriter
from phoenixdkim.exporters.snapshots import snapshot
from phoenixdkim.exporters.state import StateReader
from phoenixdkim.ledger import Batch, Ledger
from phoenixdkim.metrics import CATALOGUE, Kind, Snapshot
from phoenixdkim.milter.accounting import count
from phoenixdkim.milter.session import Client
from phoenixdkim_prometheus.families import Exposition

ODD = [b"\xff", b"xn--", b'"', b"{}", b"\\", b":1|c", b"%s", b"\xc3\xa9", b".", b"_", b"-"]


def name(chance: random.Random) -> bytes:
    """A domain or selector, good or odd, that none before had."""
    labels = [b"%x" % chance.getrandbits(64) for _ in range(chance.randint(1, 3))]
    if chance.random() < 0.2:
        labels.insert(chance.randint(0, len(labels)), chance.choice(ODD))
    return b".".join(labels)


def message(chance: random.Random) -> bytes:
    """A message with a signature of a random domain, selector and algorithm."""
    algorithm = chance.choice([b"rsa-sha256", b"ed25519-sha256", b"rsa-sha1", name(chance), b"rsa-sha512"])
    domain = name(chance)
    return (
        b"DKIM-Signature: v=1; a=%s; d=%s; s=%s;\r\n h=from:subject; bh=%s; b=%s\r\n"
        b"From: <%s@%s>\r\nSubject: x\r\n\r\nx\r\n"
    ) % (algorithm, domain, name(chance), b"AAAA" * 11, b"AAAA" * 86, name(chance)[:60], domain)


def printed() -> dict[str, object]:
    """What ``phoenixdkim metrics --json`` prints."""
    done = subprocess.run(
        [Path(sys.executable).with_name("phoenixdkim"), "metrics", "--json"], capture_output=True, check=True
    )
    return json.loads(done.stdout)


def computed() -> tuple[int, int]:
    """Series and samples, from the enums alone."""
    series = samples = 0
    for spec in CATALOGUE:
        combinations = 1
        for kind in spec.labels.values():
            combinations *= len(kind.__members__) if spec.event is not None else 1
        series += combinations
        samples += combinations * (len(spec.buckets) + 3 if spec.kind is Kind.HISTOGRAM else 1)
    return series, samples


def exposed(found: Snapshot) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Name and labels of each line of the text format."""
    text = Exposition(lambda: found).text().decode()
    return {
        (sample.name, tuple(sample.labels.items()))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_hundred_thousand_domains_and_selectors_make_no_series():
    chance = random.Random(20261124)
    config = Config.model_validate({"verifying": {"authserv_id": "mx.example"}})
    policy = build(config, uid_is_root=False, loaded=Loaded(config, ()))[0]
    outcomes = [KeyOutcome.ABSENT, KeyOutcome.UNAVAILABLE]
    ledger = Ledger()
    writer = ledger.writer(1)
    page_fd = make_page("textfile")
    page = StateReader(RecordWriter("textfile"), Page(page_fd, "textfile"))
    before = exposed(snapshot(ledger, ledger.totals(), [page], __version__))
    asked: set[bytes] = set()
    told: set[bytes] = set()

    def answers(names):
        asked.update(names)
        return {one: KeyAnswer(chance.choice(outcomes)) for one in names}

    for _ in range(100_000):
        outcome = process(message(chance), policy, Client(), 0, answers)
        told.add(outcome.domain)
        batch = Batch()
        count(outcome, chance.random() * 20, batch)
        writer.record(batch)
    assert len(told) > 50_000, "so many different domains came through"
    assert len(asked) > 15_000, "and so many different names of keys"
    found = snapshot(ledger, ledger.totals(), [page], __version__)
    os.close(page_fd)
    assert found.value("phoenixdkim_messages_total") == 100_000
    assert exposed(found) == before
    catalogue = printed()
    assert (catalogue["series"], catalogue["samples"]) == computed()
    assert sum(len(family.samples) for family in found.families) == catalogue["series"]
    assert len(before) == catalogue["samples"]
