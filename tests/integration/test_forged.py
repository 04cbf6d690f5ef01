"""Fields that claim our name, through a real Postfix: on each path, and behind a content filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from integration.daemon import AUTHSERV_ID, Daemon
from integration.postfix import Postfix, free_port
from integration.sink import Sink
from interop.peers import KeyPair, dkimpy_sign
from requirement import requirement

pytestmark = pytest.mark.postfix

INSIDE = b"From: Ann <ann@example.com>\r\nTo: b@example.net\r\nSubject: test\r\n"
OUTSIDE = INSIDE.replace(b"ann@example.com", b"ann@example.org")
BODY = b"\r\nbody\r\n"
FORGED = b"".join(
    b"Authentication-Results" + rest + b"\r\n"
    for rest in (
        b": mx.example; dkim=pass header.d=bank.example",
        b": mx.elsewhere.example; dkim=pass header.d=kept.example",
        b" : mx.example; dkim=pass header.d=bank.example",
        b": =?utf-8?q?mx=2Eexample?=; dkim=pass header.d=bank.example",
        b"-2: mx.example; dkim=pass header.d=not-ours.example",
        b": =?utf-8?b?bXguZXhhbXBsZTsgZGtpbT1wYXNzIGhlYWRlci5kPWJhbmsuZXhhbXBsZQ==?=",
        b": mx.example:25; dkim=pass header.d=bank.example",
        b": sub.mx.example; dkim=pass header.d=kept.example",
        b": <mx.exa\xc2\xadmple>; dkim=pass header.d=bank.example",
        b":\r\n\tmx.\r\n\texample;\r\n\tdkim=pass header.d=bank.example",
        b": mx.example; spf=pass smtp.mailfrom=bank.example",
        b": mx.example.example.net; dkim=pass header.d=kept.example",
    )
)
TIMEOUT = 60.0
"""Seconds until a message is delivered, on a busy machine."""
SERVICE = "127.0.0.1:{port} inet n - n - 50 smtpd\n  -o content_filter=\n  -o {option}\n"


def send(mta: Postfix, raw: bytes, *, trusted: bool) -> bytes:
    """Return the header of the message as it is delivered, unfolded."""
    mta.sink.clear()
    answer = mta.submit(raw, trusted=trusted)
    assert answer.accepted, f"{answer}\n{mta.explain()}"
    return header(mta.delivered(1, TIMEOUT)[0].raw)


def header(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")


def demand_removed(found: bytes) -> None:
    assert b"bank.example" not in found
    assert found.count(b"kept.example") == 3
    assert b"not-ours.example" in found


@requirement("A06", "A07", "A09", "A10")
def test_signed_mail(mta: Postfix) -> None:
    found = send(mta, FORGED + INSIDE + FORGED + BODY, trusted=True)
    assert b"bank.example" not in found
    assert found.count(b"kept.example") == 6
    assert b"DKIM-Signature: " in found
    assert b"dkim=none" not in found


@requirement("A06", "A07", "A09")
def test_verified_mail(mta: Postfix) -> None:
    found = send(mta, FORGED + OUTSIDE + BODY, trusted=False)
    demand_removed(found)
    assert found.startswith(b"Authentication-Results: mx.example; dkim=none")


@requirement("A06")
@pytest.mark.parametrize("trusted", [True, False])
def test_mail_that_is_neither_signed_nor_verified(peer_key: KeyPair, trusted: bool) -> None:
    with (
        Daemon((), [peer_key], verifying_options="enabled = false", workers=1) as daemon,
        Postfix(daemon.milter, daemon.log) as mta,
    ):
        found = send(mta, FORGED + OUTSIDE + BODY, trusted=trusted)
    demand_removed(found)
    assert b"dkim=none" not in found


@requirement("A06", "A09")
@pytest.mark.parametrize("network", ["192.0.2.0/24", "198.51.100.0/24"])
def test_networks_that_keep_their_fields(rsa_key: KeyPair, network: str) -> None:
    with (
        Daemon([rsa_key], verifying_options=f'keep_from = ["{network}"]', workers=1) as daemon,
        Postfix(daemon.milter, daemon.log) as mta,
    ):
        found = send(mta, FORGED + OUTSIDE + BODY, trusted=False)
        assert (b"bank.example" in found) is (network == "192.0.2.0/24")
        assert b"bank.example" not in send(mta, FORGED + INSIDE + BODY, trusted=True)


@requirement("A06", "A09")
def test_results_of_other_local_filters(rsa_key: KeyPair) -> None:
    """With "own" results of other methods stay, forged ones too, and nothing that may be a result of DKIM."""
    with (
        Daemon([rsa_key], verifying_options='remove_forged = "own"', workers=1) as daemon,
        Postfix(daemon.milter, daemon.log) as mta,
    ):
        for raw, trusted in ((OUTSIDE, False), (INSIDE, True)):
            found = send(mta, FORGED + raw + BODY, trusted=trusted)
            assert b"mx.example; spf=pass smtp.mailfrom=bank.example" in found
            assert b"header.d=bank.example" not in found
            assert found.count(b"kept.example") == 3


@dataclass
class Site:
    """A Postfix whose incoming mail goes to a content filter, which hands it back on one of three ports."""

    mta: Postfix
    filter: Sink
    no_milters: int
    empty_milters: int
    milters: int

    def through(self, raw: bytes, port: int) -> bytes:
        """Return the header of what is delivered; the filter changes the body."""
        self.mta.sink.clear()
        self.filter.clear()
        assert self.mta.submit(raw, trusted=False).accepted, self.mta.explain()
        try:
            filtered = self.filter.delivered(1, TIMEOUT)[0].raw.replace(b"\r\n\r\nbody", b"\r\n\r\nchanged")
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.mta.explain()}") from error
        assert self.mta.submit(filtered, port=port).accepted, self.mta.explain()
        return header(self.mta.delivered(1, TIMEOUT)[0].raw)


def site(peer_key: KeyPair, verifying_options: str) -> Iterator[Site]:
    ports = [free_port() for _ in range(3)]
    options = ("receive_override_options=no_milters", "smtpd_milters=", "milter_macro_daemon_name=again")
    with (
        Sink() as filter_,
        Daemon((), [peer_key], verifying_options=verifying_options, workers=1) as daemon,
        Postfix(
            daemon.milter,
            daemon.log,
            main=f"content_filter = smtp:[127.0.0.1]:{filter_.port}\n",
            services="".join(
                SERVICE.format(port=port, option=option) for port, option in zip(ports, options, strict=True)
            ),
        ) as mta,
    ):
        yield Site(mta, filter_, *ports)


@pytest.fixture(scope="module")
def filtering(peer_key: KeyPair) -> Iterator[Site]:
    yield from site(peer_key, "")


@pytest.fixture(scope="module")
def keeping(peer_key: KeyPair) -> Iterator[Site]:
    yield from site(peer_key, 'keep_from = ["127.0.0.1"]')


def ours(found: bytes) -> list[bytes]:
    lines = [line for line in found.split(b"\r\n") if line.startswith(b"Authentication-Results: mx.example;")]
    return [line.partition(b"dkim=")[2].split()[0] for line in lines]


@requirement("A06")
@pytest.mark.parametrize("service", ["no_milters", "empty_milters"])
def test_one_pass_of_milters_keeps_the_result(filtering: Site, peer_key: KeyPair, service: str) -> None:
    """As docs/postfix.md says: the result of the first pass is delivered, forged fields are not."""
    found = filtering.through(FORGED + dkimpy_sign(OUTSIDE + BODY, peer_key), getattr(filtering, service))
    assert ours(found) == [b"pass"], filtering.mta.explain()
    demand_removed(found)


@requirement("A06")
def test_a_second_pass_replaces_the_result(filtering: Site, peer_key: KeyPair) -> None:
    """What docs/postfix.md warns of: the second pass takes the first one's field for forged."""
    found = filtering.through(FORGED + dkimpy_sign(OUTSIDE + BODY, peer_key), filtering.milters)
    assert ours(found) == [b"fail"], filtering.mta.explain()


@requirement("A06")
def test_a_second_pass_from_a_network_that_keeps_its_fields(keeping: Site, peer_key: KeyPair) -> None:
    raw = FORGED + dkimpy_sign(OUTSIDE + BODY, peer_key)
    found = keeping.through(raw, keeping.milters)
    assert ours(found) == [b"fail", b"pass"], keeping.mta.explain()
    demand_removed(found)


def test_the_name_is_the_one_of_the_fields() -> None:
    assert AUTHSERV_ID == "mx.example"
