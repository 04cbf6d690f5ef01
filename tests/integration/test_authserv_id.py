"""A11: by default our name in Authentication-Results is the one that Postfix has for itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from integration.daemon import Daemon
from integration.postfix import Postfix
from requirement import requirement

pytestmark = pytest.mark.postfix

RAW = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\ntext\r\n"


@pytest.fixture(scope="module")
def mta() -> Iterator[Postfix]:
    with Daemon(authserv_id="", workers=1) as daemon, Postfix(daemon.milter, daemon.log) as running:
        yield running


def names(raw: bytes) -> list[bytes]:
    """Authserv-ids of a message, from the top."""
    head = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return [
        line.partition(b":")[2].partition(b";")[0].strip()
        for line in head
        if line.lower().startswith(b"authentication-results:")
    ]


@requirement("A11")
@requirement("A06")
def test_the_name_of_the_mta(mta: Postfix) -> None:
    forged = [b"mta.example", b"MTA.example", socket.gethostname().encode(), b"other.example"]
    head = b"".join(b"Authentication-Results: " + name + b"; dkim=pass header.d=bank.example\r\n" for name in forged)
    mta.sink.clear()
    assert mta.submit(head + RAW, trusted=False).accepted, mta.explain()
    assert names(mta.delivered(1)[0].raw) == [b"mta.example", b"other.example"], mta.explain()
