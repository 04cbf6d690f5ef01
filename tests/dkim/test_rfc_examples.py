"""The signed examples of RFC 6376 appendix A and RFC 8463 appendix A (S11, V06, V26)."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key

from phoenixdkim.dkim.canonical import BodyDigests
from phoenixdkim.dkim.headers import crlf, parse_message
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm, Reason, Result
from phoenixdkim.dkim.selection import HeaderIndex, without_b
from phoenixdkim.dkim.sign import SigningKey
from phoenixdkim.dkim.signature import parse_signature
from signed_mail import signed, verify

RFC6376 = crlf(
    b"""\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
"""
)
RFC6376_KEYS = {
    b"brisbane._domainkey.example.com": [
        b"v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFC"
        b"jxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi"
        b"tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
    ]
}
RFC8463 = crlf(
    b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""
)
RFC8463_KEYS = {
    b"brisbane._domainkey.football.example.com": [
        b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    ],
    b"test._domainkey.football.example.com": [
        b"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi"
        b"Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9Pz"
        b"oxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
    ],
}


def test_rfc_6376_appendix_a_verifies() -> None:
    (verdict,) = verify(RFC6376, RFC6376_KEYS)
    assert (verdict.result, verdict.reason, verdict.key_bits) == (Result.PASS, Reason.VERIFIED, 1024)
    assert verdict.identity == b"joe@football.example.com"


def test_rfc_8463_appendix_a_verifies() -> None:
    verdicts = verify(RFC8463, RFC8463_KEYS)
    assert [(v.result, v.algorithm) for v in verdicts] == [
        (Result.PASS, Algorithm.ED25519_SHA256),
        (Result.PASS, Algorithm.RSA_SHA256),
    ]


@pytest.mark.parametrize("old, new", [(b"dinner", b"supper"), (b"hungry", b"thirsty")])
def test_changed_examples_fail(old: bytes, new: bytes) -> None:
    assert [v.result for v in verify(RFC8463.replace(old, new), RFC8463_KEYS)] == [Result.FAIL, Result.FAIL]
    assert [v.result for v in verify(RFC6376.replace(old, new), RFC6376_KEYS)] == [Result.FAIL]


RFC6376_PRIVATE = """\
MIICXwIBAAKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFC
jxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gb
to/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB
AoGBALmn+XwWk7akvkUlqb+dOxyLB9i5VBVfje89Teolwc9YJT36BGN/l4e0l6QX
/1//6DWUTB3KI6wFcm7TWJcxbS0tcKZX7FsJvUz1SbQnkS54DJck1EZO/BLa5ckJ
gAYIaqlA9C0ZwM6i58lLlPadX/rtHb7pWzeNcZHjKrjM461ZAkEA+itss2nRlmyO
n1/5yDyCluST4dQfO8kAB3toSEVc7DeFeDhnC1mZdjASZNvdHS4gbLIA1hUGEF9m
3hKsGUMMPwJBAPW5v/U+AWTADFCS22t72NUurgzeAbzb1HWMqO4y4+9Hpjk5wvL/
eVYizyuce3/fGke7aRYw/ADKygMJdW8H/OcCQQDz5OQb4j2QDpPZc0Nc4QlbvMsj
7p7otWRO5xRa6SzXqqV3+F0VpqvDmshEBkoCydaYwc2o6WQ5EBmExeV8124XAkEA
qZzGsIxVP+sEVRWZmW6KNFSdVUpk3qzK0Tz/WjQMe5z0UunY9Ax9/4PVhp/j61bf
eAYXunajbBSOLlx4D+TunwJBANkPI5S9iylsbLs6NkaMHV6k5ioHBBmgCak95JGX
GMot/L2x0IYyMLAz6oLWh2hm7zwtb0CgOrPo1ke44hFYnfc=
"""
"""Appendix C."""
RFC8463_RSA_PRIVATE = """\
MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi
Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM
KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB
AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm
6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe
zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy
6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc
uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy
WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd
WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a
licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst
o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe
uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL
"""
"""Appendix A.2, as is the next."""
RFC8463_ED25519_PRIVATE = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="


def rsa_private(text: str) -> RSAPrivateKey:
    key = load_der_private_key(base64.b64decode(text), None)
    assert isinstance(key, RSAPrivateKey)
    return key


@pytest.mark.parametrize(
    "message, number, private",
    [
        (RFC6376, 0, rsa_private(RFC6376_PRIVATE)),
        (RFC8463, 0, Ed25519PrivateKey.from_private_bytes(base64.b64decode(RFC8463_ED25519_PRIVATE))),
        (RFC8463, 1, rsa_private(RFC8463_RSA_PRIVATE)),
    ],
    ids=["RFC 6376 A.2", "RFC 8463 A.3, Ed25519", "RFC 8463 A.3, RSA"],
)
def test_s11_signatures_are_byte_equal(message: bytes, number: int, private: RSAPrivateKey | Ed25519PrivateKey) -> None:
    """S11, V26: the published private keys give the published bh= and b=; both algorithms are deterministic.

    The examples' tags stand in an order of their own, so that each field is hashed here as it is.
    """
    fields, body = parse_message(message)
    signature = parse_signature(fields[number], Limits(), 1528637909)
    unsigned = [field for field in fields if field.lname != b"dkim-signature"]
    digests = BodyDigests([(signature.body_canon, None)])
    digests.update(body)
    digests.finish()
    assert digests.digest(signature.body_canon, None) == signature.body_hash
    digest = HeaderIndex(unsigned).digest(signature.signed, signature.header_canon, without_b(signature.field), None)
    if isinstance(private, Ed25519PrivateKey):
        made = private.sign(digest)
    else:
        made = private.sign(digest, PKCS1v15(), Prehashed(SHA256()))
    assert base64.b64encode(made) == signature.b


@pytest.mark.parametrize(
    "private, algorithm, record",
    [
        (rsa_private(RFC6376_PRIVATE), Algorithm.RSA_SHA256, RFC6376_KEYS[b"brisbane._domainkey.example.com"]),
        (rsa_private(RFC8463_RSA_PRIVATE), Algorithm.RSA_SHA256, RFC8463_KEYS[b"test._domainkey.football.example.com"]),
        (
            Ed25519PrivateKey.from_private_bytes(base64.b64decode(RFC8463_ED25519_PRIVATE)),
            Algorithm.ED25519_SHA256,
            RFC8463_KEYS[b"brisbane._domainkey.football.example.com"],
        ),
    ],
    ids=["RFC 6376", "RFC 8463, RSA", "RFC 8463, Ed25519"],
)
def test_s11_the_signer_says_the_same_twice(
    private: RSAPrivateKey | Ed25519PrivateKey, algorithm: Algorithm, record: list[bytes]
) -> None:
    """S11: same message, key and time give the same octets, and they verify with the published record."""
    key = SigningKey("k", b"football.example.com", b"s", algorithm, private)
    fields, body = parse_message(RFC6376)
    message = b"".join(field.name + b":" + field.value + b"\r\n" for field in fields[1:]) + b"\r\n" + body
    first, second = (signed(message, [key]) for _ in range(2))
    assert first == second
    assert [row.result for row in verify(first, {b"s._domainkey.football.example.com": record})] == [Result.PASS]
