"""S10: an independent implementation reads what is signed here, and what it signs is read here."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import dkim
from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.results import Result
from phoenixdkim.dkim.sign import SignOptions
from signed_mail import MESSAGE, ed25519_private, ed_key, rsa_key, rsa_private, signed, verify, zone

RSA, ED = rsa_key(), ed_key()
ZONE = zone(RSA, ED)
HOW = list(Canonicalization)
BODIES = [
    b"",
    b"\r\n",
    b"\r\n\r\n",
    b"text",
    b" a  b\t \r\n\r\n \r\n\r\n",
    b"\xff\x00\r\n",
    b"a\r\n\r\n\r\nb\r\n \t\r\n",
]


def txt(name: bytes, timeout: int = 5) -> bytes:
    return ZONE[name.rstrip(b".")][0]


@pytest.mark.parametrize("header_canon", HOW)
@pytest.mark.parametrize("body_canon", HOW)
@pytest.mark.parametrize("key", [RSA, ED], ids=["rsa", "ed25519"])
def test_s10_dkimpy_verifies_ours(key: object, header_canon: Canonicalization, body_canon: Canonicalization) -> None:
    options = SignOptions(header_canon=header_canon, body_canon=body_canon)
    head = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    for body in BODIES:
        message = signed(head + body, [key], options)  # type: ignore[list-item]
        assert dkim.DKIM(message).verify(dnsfunc=txt), body
        changed = message.replace(b"Joe SixPack", b"Jon SixPack")
        try:
            assert not dkim.DKIM(changed).verify(dnsfunc=txt)
        except dkim.DKIMException:
            pass


@pytest.mark.parametrize("header_canon", HOW)
@pytest.mark.parametrize("body_canon", HOW)
@pytest.mark.parametrize("algorithm", ["rsa-sha256", "ed25519-sha256"])
def test_s10_dkimpy_signs_for_us(algorithm: str, header_canon: Canonicalization, body_canon: Canonicalization) -> None:
    if algorithm == "rsa-sha256":
        selector = b"r"
        private = rsa_private().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    else:
        selector = b"e"
        private = base64.b64encode(ed25519_private().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    head = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    for body in BODIES:
        field = dkim.sign(
            head + body,
            selector,
            b"example.com",
            private,
            canonicalize=(header_canon.encode(), body_canon.encode()),
            signature_algorithm=algorithm.encode(),
        )
        (verdict,) = verify(field + head + body, ZONE, now=4_000_000_000)
        assert verdict.result is Result.PASS, (body, verdict)
