"""The Postfix fixture itself, without a milter: what goes in comes out, byte for byte below the Received field."""

import pytest

from integration.postfix import Postfix

pytestmark = pytest.mark.postfix


@pytest.fixture(scope="module")
def postfix():
    with Postfix() as running:
        yield running


@pytest.mark.parametrize(
    "body",
    [b"", b"hello\r\n", b".dot\r\n..two\r\n", b"\x80\xff\xe9 8-bit\r\n", b"x" * 5000 + b"\r\n", b"y\r\n" * 400_000],
    ids=["empty", "plain", "dots", "8-bit", "long line", "1 MB"],
)
def test_bytes_are_kept(postfix, body):
    raw = b"From: a@example.com\r\nSubject: folded\r\n\tand  spaced \r\nX-8: \xe9\r\n\r\n" + body
    postfix.sink.clear()
    assert postfix.submit(raw).accepted
    delivery = postfix.delivered(1)[0]
    assert delivery.raw.startswith(b"Received: ")
    assert delivery.raw.endswith(raw)
    assert (delivery.sender, delivery.recipients) == (b"sender@example.com", (b"recipient@example.net",))


def test_outside_client_is_seen_as_one(postfix):
    postfix.sink.clear()
    assert postfix.submit(b"From: a@example.com\r\n\r\nx\r\n", trusted=False).accepted
    assert b"[192.0.2.25]" in postfix.delivered(1)[0].raw
    assert not postfix.submit(
        b"From: a@example.com\r\n\r\nx\r\n", recipients=["b@elsewhere.example"], trusted=False
    ).accepted
