"""S03: four other implementations pass our signatures after a hop has added the fields that were missing."""

from __future__ import annotations

import time

import pytest

from interop.messages import Case
from interop.panel import Panel
from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.results import Result
from requirement import requirement

FROM = HeaderField(b"From", b" Ann <a@example.com>")
ADDED = {
    b"Date": b"Thu, 28 May 2026 20:00:00 +0000",
    b"To": b"undisclosed-recipients:;",
    b"Cc": b"c@example.org",
    b"Message-ID": b"<1@hop.example>",
    b"MIME-Version": b"1.0",
    b"Content-Type": b"text/plain; charset=us-ascii",
    b"List-Unsubscribe": b"<mailto:u@hop.example>",
}
ALGORITHMS = ("rsa-sha256", "ed25519-sha256")


def judged(panel: Panel, message: bytes, now: int) -> dict[str, bool]:
    """Who passes the RSA signature, us included; Mail::DKIM has no Ed25519."""
    found = {"phoenixdkim": panel.verified_here(message, now)[0].result is Result.PASS}
    for judge in panel.judges:
        verdict = panel.verdict(judge, message, "rsa-sha256", now)
        assert verdict is not None, judge.name
        found[judge.name] = verdict.passed
    return found


def case(*fields: HeaderField) -> Case:
    return Case((FROM, *fields), b"text\r\n", body_canon=Canonicalization.RELAXED, algorithms=ALGORITHMS)


@requirement("S03")
@pytest.mark.parametrize(
    "names", [[name] for name in ADDED] + [list(ADDED)], ids=lambda names: b" ".join(names).decode()
)
@pytest.mark.parametrize("on_top", [True, False])
def test_a_hop_adds_what_is_missing(panel: Panel, names: list[bytes], on_top: bool) -> None:
    now = int(time.time())
    message = panel.signed_here(case(), now)
    added = b"".join(name + b": " + ADDED[name] + b"\r\n" for name in names)
    head, _, body = message.partition(b"\r\n\r\n")
    changed = added + message if on_top else head + b"\r\n" + added + b"\r\n" + body
    result = judged(panel, changed, now)
    assert set(result.values()) == {True}, result


@requirement("S03")
@pytest.mark.parametrize("name", [b"Subject", b"Reply-To", b"Date", b"To", b"Cc", b"MIME-Version"])
def test_a_hop_adds_a_second_one(panel: Panel, name: bytes) -> None:
    now = int(time.time())
    message = panel.signed_here(case(HeaderField(name, b" one")), now)
    assert set(judged(panel, message, now).values()) == {True}
    result = judged(panel, name + b": two\r\n" + message, now)
    assert set(result.values()) == {False}, result


@requirement("S03")
@pytest.mark.parametrize("name", [b"Subject", b"Reply-To"])
def test_a_hop_adds_a_first_one_that_readers_act_on(panel: Panel, name: bytes) -> None:
    now = int(time.time())
    result = judged(panel, name + b": x@example.org\r\n" + panel.signed_here(case(), now), now)
    assert set(result.values()) == {False}, result
