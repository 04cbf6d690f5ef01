"""What the ledger of a running daemon says as readers of metrics name it, and mail that fills it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable

from prometheus_client.metrics_core import Metric

from daemon.house import BODY, FIELDS, House, signed
from daemon.truth import truth_of_ledger
from phoenixdkim.metrics import HistogramSample, Snapshot
from phoenixdkim.testing.milter_protocol import apply
from receivers.programs import eventually

Series = tuple[str, tuple[tuple[str, str], ...]]
Values = dict[Series, float]


def snapshot_of(house: House) -> Snapshot:
    """The ledger's metrics as they are now."""
    return truth_of_ledger(house.pid)


def series(name: str, **labels: str) -> Series:
    """A series by its name and labels."""
    return name, tuple(sorted(labels.items()))


def exposed(snapshot: Snapshot) -> Values:
    """A snapshot's series as Prometheus names them."""
    found: Values = {}
    for family in snapshot.families:
        name = family.spec.name
        for sample in family.samples:
            labels = dict(sample.labels)
            if not isinstance(sample, HistogramSample):
                found[series(name, **labels)] = sample.value
                continue
            total = 0
            for bound, count in zip((*map(str, family.spec.buckets), "+Inf"), sample.counts, strict=True):
                total += count
                found[series(f"{name}_bucket", **labels, le=bound)] = total
            found[series(f"{name}_count", **labels)] = total
            found[series(f"{name}_sum", **labels)] = sample.sum_ns / 1e9
    return found


def ledger(house: House) -> Values:
    """All series of the ledger as Prometheus names them."""
    return exposed(snapshot_of(house))


def parsed(metrics: Iterable[Metric]) -> Values:
    """What a parser of an exposition found."""
    return {
        series(sample.name, **_bound(sample.labels)): sample.value for metric in metrics for sample in metric.samples
    }


def answered(result: Iterable[dict[str, object]], *without: str) -> Values:
    """The instant vector of a Prometheus API, without labels that the scraper adds."""
    found: Values = {}
    for entry in result:
        labels = dict(entry["metric"])  # type: ignore[call-overload]
        name = labels.pop("__name__")
        for label in without:
            labels.pop(label, None)
        found[series(name, **_bound(labels))] = float(entry["value"][1])  # type: ignore[index]
    return found


def _bound(labels: dict[str, str]) -> dict[str, str]:
    # A reader may write the bound 1.0 as 1.
    return labels | {"le": str(float(labels["le"]))} if labels.get("le", "+Inf") != "+Inf" else labels


def mixed_mail(house: House, rounds: int = 3) -> int:
    """Send mail of many kinds and wait until it is counted; returns how many messages.

    Signed, verified with pass, fail, none, permerror and a weak algorithm, and refused by policy.
    """
    before = snapshot_of(house).value("phoenixdkim_messages_total")
    reply = house.send()
    assert signed(reply)
    ours = apply(reply, FIELDS)
    changed = [(name, value.replace(b"s=rsa", b"s=gone")) for name, value in ours]
    weak = [(name, re.sub(rb"a=rsa-sha256", b"a=rsa-sha1", value)) for name, value in ours]
    sent = 1
    for _ in range(rounds):
        for fields, body in (
            (ours, BODY),
            (ours, b"changed\r\n"),
            (changed, BODY),
            (weak, BODY),
            ([(b"From", b" x@example.org")], BODY),
        ):
            with house.client() as client:
                client.send_message(fields, body, client_address="192.0.2.1")
            sent += 1
        with house.client() as client:
            for _ in range(3):
                assert signed(client.send_message(FIELDS, BODY))
            sent += 3
    assert snapshot_of(house).value("phoenixdkim_messages_total") == before + sent
    eventually("all sessions ended", lambda: snapshot_of(house).value("phoenixdkim_sessions") == 0)
    return sent


def scrape(port: int, path: str = "/metrics", headers: str = "", host: str = "127.0.0.1") -> bytes:
    """One plain scrape: the body."""
    with socket.create_connection((host, port), timeout=10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        answer = b""
        while data := client.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return body
