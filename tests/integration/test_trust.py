"""S13: a content filter hands mail of outsiders back from 127.0.0.1; with trust by macro it is not signed.

Postfix has three services: the incoming one, whose mail goes to the filter, the one that takes it back, and submission.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from integration.daemon import Daemon
from integration.postfix import Postfix, free_port
from integration.sink import Sink
from interop.peers import KeyPair
from requirement import requirement

pytestmark = pytest.mark.postfix

RAW = b"From: Boss <boss@example.com>\r\nTo: b@example.net\r\nSubject: pay\r\n\r\nnow\r\n"
SERVICE = "127.0.0.1:{port} inet n - n - 50 smtpd\n  -o content_filter=\n  -o milter_macro_daemon_name={name}\n"


@dataclass
class Site:
    """A Postfix with a content filter, and the milter."""

    mta: Postfix
    filter: Sink
    submission: int
    reinjection: int

    def outsider(self) -> bytes:
        """Return what is delivered of a spoofed message from outside, after the filter."""
        self.mta.sink.clear()
        self.filter.clear()
        assert self.mta.submit(RAW, trusted=False).accepted, self.mta.explain()
        filtered = self.filter.delivered(1)[0]
        assert self.mta.submit(filtered.raw, port=self.reinjection).accepted, self.mta.explain()
        return self.mta.delivered(1)[0].raw

    def insider(self) -> bytes:
        """Return what is delivered of a message that came in through submission."""
        self.mta.sink.clear()
        assert self.mta.submit(RAW, port=self.submission).accepted, self.mta.explain()
        return self.mta.delivered(1)[0].raw


def site(rsa_key: KeyPair, trusted: Sequence[str], conditions: str) -> Iterator[Site]:
    submission, reinjection = free_port(), free_port()
    services = SERVICE.format(port=submission, name="ORIGINATING") + SERVICE.format(
        port=reinjection, name="reinjection"
    )
    conditions = conditions.format(submission=submission)
    with (
        Sink() as filter_,
        Daemon([rsa_key], signing_options=conditions, trusted=trusted, workers=1) as daemon,
        Postfix(
            daemon.milter,
            daemon.log,
            main=f"content_filter = smtp:[127.0.0.1]:{filter_.port}\n",
            services=services,
        ) as mta,
    ):
        yield Site(mta, filter_, submission, reinjection)


LOOPBACK = ("127.0.0.0/8", "::1")
SAFE = {
    "required": (LOOPBACK, 'required_macros = {{ "{{daemon_name}}" = ["ORIGINATING"] }}'),
    "trusted": ((), 'trusted_macros = {{ "{{daemon_name}}" = ["other", "ORIGINATING"] }}'),
    # Postfix does not send this macro unless it is asked to.
    "not sent by default": ((), 'trusted_macros = {{ "{{daemon_port}}" = ["{submission}"] }}'),
}


@pytest.fixture(scope="module", params=SAFE)
def safe(request: pytest.FixtureRequest, rsa_key: KeyPair) -> Iterator[Site]:
    yield from site(rsa_key, *SAFE[request.param])


@pytest.fixture(scope="module")
def unsafe(rsa_key: KeyPair) -> Iterator[Site]:
    yield from site(rsa_key, LOOPBACK, "")


def signed(raw: bytes) -> bool:
    return b"\r\nDKIM-Signature:" in b"\r\n" + raw


@requirement("S13")
def test_a_spoofed_message_is_not_signed_after_the_filter(safe: Site) -> None:
    assert not signed(safe.outsider()), safe.mta.explain()


@requirement("S13")
def test_submitted_mail_is_signed(safe: Site) -> None:
    assert signed(safe.insider()), safe.mta.explain()


def test_without_macros_the_filter_makes_outsiders_trusted(unsafe: Site) -> None:
    """What docs/postfix.md warns of: the danger is real, so that the tests above prove something."""
    assert signed(unsafe.outsider())


@requirement("S13")
@pytest.mark.parametrize(("name", "expected"), [("ORIGINATING", True), ("", False)])
def test_mail_of_the_sendmail_command_has_the_name_of_main_cf(rsa_key: KeyPair, name: str, expected: bool) -> None:
    conditions = 'trusted_macros = { "{daemon_name}" = ["ORIGINATING"] }'
    with Daemon([rsa_key], signing_options=conditions, trusted=(), workers=1) as daemon:
        main = f"non_smtpd_milters = {daemon.milter}\n" + (f"milter_macro_daemon_name = {name}\n" if name else "")
        with Postfix("", daemon.log, main=main, services="pickup unix n - n 1 1 pickup\n") as mta:
            subprocess.run(
                ["/usr/sbin/sendmail", "-C", mta.base / "etc", "-f", "boss@example.com", "b@example.net"],
                input=RAW.replace(b"\r\n", b"\n"),
                check=True,
                timeout=60,
            )
            assert signed(mta.delivered(1)[0].raw) is expected, mta.explain()
