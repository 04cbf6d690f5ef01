"""Mail through a real Postfix and the real daemon, judged by other implementations."""

from __future__ import annotations

import random

import pytest

from integration.daemon import AUTHSERV_ID, Daemon
from integration.postfix import Postfix
from interop.peers import KeyPair, dkimpy_sign, dkimpy_verify, mail_dkim_verify

pytestmark = pytest.mark.postfix

HEADER = (
    b"From: Ann <ann@example.com>\r\nTo: b@example.net\r\nSubject: test\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n"
)
PEER_HEADER = HEADER.replace(b"ann@example.com", b"ann@example.org")


def _large() -> bytes:
    generator = random.Random(1)
    line = bytes(generator.choices(b"abcdefgh .=", k=70))
    return b"".join(b"%d %s\r\n" % (i, line) for i in range(135_000))


def _bodies() -> dict[str, tuple[bytes, bytes]]:
    """Header fields beside the usual ones, and body, by what is odd about them."""
    return {
        "plain": (b"", b"hello\r\nworld\r\n"),
        "8-bit": (b"X-Raw: caf\xe9 \xff\x80\r\n", b"\xff\xfe\x80 na\xefve\r\n"),
        "utf-8": (b"X-Name: J\xc3\xb6rg\r\n", "grüße\r\n".encode()),
        "folded": (b"X-Folded: one\r\n two\r\n\t three  \r\n\t  four\t\r\n", b"x\r\n"),
        "blanks": (b"X-Blank: \r\nX-None:\r\nX-Wide:   a  b \t c  \r\n", b"a  b \t c  \r\n\t\r\n \r\nend \r\n"),
        "empty body": (b"", b""),
        "empty lines": (b"", b"\r\n\r\n\r\n"),
        "trailing empty lines": (b"", b"x\r\n\r\n\r\n"),
        "dots": (b"", b".\x20\r\n..\r\n.x\r\n"),
        "998 octets": (b"", b"y" * 998 + b"\r\n"),
        "10 MB": (b"", _large()),
    }


BODIES = _bodies()


def send(mta: Postfix, raw: bytes, *, trusted: bool) -> bytes:
    """The message as the sink got it."""
    mta.sink.clear()
    answer = mta.submit(raw, trusted=trusted)
    assert answer.accepted, f"{answer}\n{mta.explain()}"
    return mta.delivered(1)[0].raw


def fields(raw: bytes, name: bytes) -> list[bytes]:
    """Values of the header fields of a name, unfolded."""
    header = raw.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")
    split = [line.partition(b":") for line in header.split(b"\r\n")]
    return [value.strip() for found, _, value in split if found.lower() == name.lower()]


def results(raw: bytes) -> bytes:
    """The one Authentication-Results field of the server under test."""
    ours = [value for value in fields(raw, b"Authentication-Results") if value.startswith(AUTHSERV_ID.encode())]
    assert len(ours) == 1, ours
    return ours[0]


@pytest.mark.parametrize("kind", BODIES)
def test_signed_mail_verifies_elsewhere(mta, rsa_key, ed25519_key, tmp_path, kind):
    extra, body = BODIES[kind]
    raw = send(mta, HEADER + extra + b"\r\n" + body, trusted=True)
    assert raw.endswith(extra + b"\r\n" + body), "the message itself is as it was"
    keys = [rsa_key, ed25519_key]
    judged = dict(answer.split(" ")[0].rsplit("=", 1) for answer in mail_dkim_verify([raw], keys, tmp_path)[0])
    assert judged["example.com/rsa/rsa-sha256"] == "pass"
    assert len(judged) == 2
    assert dkimpy_verify(raw, keys) == [True, True]


@pytest.mark.parametrize(
    "canonicalization", [b"relaxed/relaxed", b"simple/simple", b"relaxed/simple", b"simple/relaxed"]
)
@pytest.mark.parametrize("kind", [kind for kind in BODIES if kind != "10 MB"])
def test_mail_signed_elsewhere_passes(mta, peer_key, kind, canonicalization):
    extra, body = BODIES[kind]
    raw = send(mta, dkimpy_sign(PEER_HEADER + extra + b"\r\n" + body, peer_key, canonicalization), trusted=False)
    assert b"dkim=pass" in results(raw), results(raw)
    assert b"header.d=example.org" in results(raw)


def test_10_mb_signed_elsewhere_passes(mta, peer_key):
    raw = send(mta, dkimpy_sign(PEER_HEADER + b"\r\n" + BODIES["10 MB"][1], peer_key), trusted=False)
    assert b"dkim=pass" in results(raw)


def test_line_above_998_octets_is_verified_as_it_came(mta, peer_key):
    body = b"z" * 5000 + b"\r\n" + b"w" * 100_000 + b"\r\n"
    raw = send(mta, dkimpy_sign(PEER_HEADER + b"\r\n" + body, peer_key, b"simple/simple"), trusted=False)
    assert raw.endswith(b"\r\n\r\n" + body)
    assert b"dkim=pass" in results(raw)


def test_line_above_998_octets_is_not_signed_and_the_log_says_why(mta, daemon):
    raw = send(mta, HEADER + b"\r\n" + b"z" * 5000 + b"\r\n", trusted=True)
    assert not fields(raw, b"DKIM-Signature")
    assert "line_too_long" in daemon.log()


def test_tampered_mail_fails(mta, peer_key):
    signed = dkimpy_sign(PEER_HEADER + b"\r\nbody\r\n", peer_key)
    assert b"dkim=fail" in results(send(mta, signed.replace(b"\r\n\r\nbody", b"\r\n\r\nb0dy"), trusted=False))
    assert b"dkim=fail" in results(send(mta, signed.replace(b"Subject: test", b"Subject: Test"), trusted=False))


def test_unsigned_mail_is_none_and_unknown_selector_permerror(mta):
    assert b"dkim=none" in results(send(mta, PEER_HEADER + b"\r\nx\r\n", trusted=False))
    unknown = dkimpy_sign(PEER_HEADER + b"\r\nx\r\n", KeyPair.rsa("example.org", "unknown"))
    assert b"dkim=permerror" in results(send(mta, unknown, trusted=False))


def test_outside_client_gets_no_signature(mta):
    raw = send(mta, HEADER + b"\r\nx\r\n", trusted=False)
    assert not fields(raw, b"DKIM-Signature")


def test_own_signed_mail_passes_when_it_comes_back(mta):
    signed = send(mta, HEADER + b"\r\nx\r\n", trusted=True)
    back = send(mta, signed, trusted=False)
    assert results(back).count(b"dkim=pass") == 2


def test_forged_results_are_removed_and_others_stay(mta):
    forged = [
        b"Authentication-Results: mx.example; dkim=pass header.d=bank.example\r\n",
        b"authentication-results:\r\n\tMX.Example 1; dkim=pass\r\n",
        b"Authentication-Results: (comment) mx.example; spf=pass\r\n",
        b'Authentication-Results: "mx.example"; dkim=pass header.d=bank.example\r\n',
    ]
    other = b"Authentication-Results: mx.elsewhere.example; dkim=pass header.d=kept.example\r\n"
    raw = send(mta, forged[0] + forged[1] + other + PEER_HEADER + forged[2] + forged[3] + b"\r\nx\r\n", trusted=False)
    assert b"dkim=none" in results(raw)
    values = fields(raw, b"Authentication-Results")
    assert len(values) == 2
    assert values[1].startswith(b"mx.elsewhere.example")
    assert b"bank.example" not in raw


def test_result_stands_above_all_that_the_sender_wrote(mta, peer_key):
    raw = send(mta, dkimpy_sign(PEER_HEADER + b"\r\nx\r\n", peer_key), trusted=False)
    names = [line.partition(b":")[0] for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n")]
    assert names.index(b"Authentication-Results") < names.index(b"DKIM-Signature")


def test_many_messages_over_one_session(mta):
    mta.sink.clear()
    with mta.connection() as smtp:
        for number in range(20):
            smtp.sendmail("a@example.com", ["b@example.net"], HEADER + b"X-Number: %d\r\n\r\n%d\r\n" % (number, number))
    deliveries = mta.delivered(20)
    assert {fields(d.raw, b"X-Number")[0] for d in deliveries} == {b"%d" % n for n in range(20)}
    assert all(len(fields(d.raw, b"DKIM-Signature")) == 2 for d in deliveries)


@pytest.mark.parametrize("canonicalization", ["simple/simple", "relaxed/relaxed"])
def test_signing_with_other_canonicalizations(rsa_key, tmp_path, canonicalization):
    options = f'canonicalization = "{canonicalization}"'
    with Daemon([rsa_key], signing_options=options) as daemon, Postfix(daemon.milter, daemon.log) as mta:
        sent = []
        for kind in ("plain", "8-bit", "folded", "blanks", "empty body", "trailing empty lines"):
            extra, body = BODIES[kind]
            sent.append(send(mta, HEADER + extra + b"\r\n" + body, trusted=True))
    assert all(b"c=" + canonicalization.encode() in fields(raw, b"DKIM-Signature")[0] for raw in sent)
    assert mail_dkim_verify(sent, [rsa_key], tmp_path) == [["example.com/rsa/rsa-sha256=pass"]] * len(sent)
    assert [dkimpy_verify(raw, [rsa_key]) for raw in sent] == [[True]] * len(sent)
