"""Keys, messages and short ways to sign and verify them, for the tests of the DKIM core."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from phoenixdkim.dkim.headers import HeaderField, parse_message
from phoenixdkim.dkim.keys import KeyAnswer, key_answer
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm, DnssecStatus
from phoenixdkim.dkim.sign import Signer, SigningKey, SignOptions
from phoenixdkim.dkim.verify import FromPolicy, LengthPolicy, SignatureVerdict, Verifier
from phoenixdkim.keystore import public_record

NOW = 1_700_000_000
LIMITS = Limits()

MESSAGE = (
    b"Received: from client.example.com  [192.0.2.1]\r\n\tby mx.example.com; Fri, 11 Jul 2003 21:01:54 -0700\r\n"
    b"From: Joe SixPack <joe@example.com>\r\n"
    b"To: Suzie Q <suzie@example.net>\r\n"
    b"SUBJECT:  Is   dinner\r\n\t ready? \r\n"
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    b"Message-ID: <20030712040037.46341.5F8J@example.com>\r\n"
    b"\r\n"
    b"Hi.\r\n\r\nWe lost the game.  Are you\thungry yet? \r\n\r\nJoe.\r\n\r\n\r\n"
)


@cache
def rsa_private(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ed25519_private() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def rsa_key(domain: bytes = b"example.com", selector: bytes = b"r") -> SigningKey:
    return SigningKey("rsa", domain, selector, Algorithm.RSA_SHA256, rsa_private())


def ed_key(domain: bytes = b"example.com", selector: bytes = b"e") -> SigningKey:
    return SigningKey("ed", domain, selector, Algorithm.ED25519_SHA256, ed25519_private())


def zone(*keys: SigningKey) -> dict[bytes, list[bytes]]:
    return {key.selector + b"._domainkey." + key.domain: [public_record(key.private)] for key in keys}


def answers(
    records: Mapping[bytes, Sequence[bytes] | KeyAnswer], names: Iterable[bytes], limits: Limits = LIMITS
) -> dict[bytes, KeyAnswer]:
    found: dict[bytes, KeyAnswer] = {}
    for name in names:
        value = records.get(name, ())
        if isinstance(value, KeyAnswer):
            found[name] = value
        else:
            found[name] = key_answer(value, DnssecStatus.UNKNOWN, limits)
    return found


def signatures(
    message: bytes,
    keys: Sequence[SigningKey],
    options: SignOptions | None = None,
    now: int = NOW,
    identity: bytes = b"",
) -> list[bytes | None]:
    fields, body = parse_message(message)
    if identity:
        keys = [dataclasses.replace(key, identity=identity) for key in keys]
    signer = Signer(fields, keys, options or SignOptions(), now)
    signer.body(body)
    return [value for _, value in signer.finish()]


def signed(
    message: bytes,
    keys: Sequence[SigningKey],
    options: SignOptions | None = None,
    now: int = NOW,
    identity: bytes = b"",
) -> bytes:
    values = signatures(message, keys, options, now, identity)
    assert None not in values
    return b"".join(b"DKIM-Signature:" + value + b"\r\n" for value in values if value is not None) + message


def verify(
    message: bytes,
    records: Mapping[bytes, Sequence[bytes] | KeyAnswer],
    *,
    now: int = NOW,
    limits: Limits = LIMITS,
    length_policy: LengthPolicy = LengthPolicy.POLICY,
    from_policy: FromPolicy = FromPolicy.POLICY,
    hidden_name: bool = False,
    chunk: int = 0,
) -> tuple[SignatureVerdict, ...]:
    fields, body = parse_message(message)
    return verify_fields(
        fields,
        body,
        records,
        now=now,
        limits=limits,
        length_policy=length_policy,
        from_policy=from_policy,
        hidden_name=hidden_name,
        chunk=chunk,
    )


def verify_fields(
    fields: Sequence[HeaderField],
    body: bytes,
    records: Mapping[bytes, Sequence[bytes] | KeyAnswer],
    *,
    now: int = NOW,
    limits: Limits = LIMITS,
    length_policy: LengthPolicy = LengthPolicy.POLICY,
    from_policy: FromPolicy = FromPolicy.POLICY,
    hidden_name: bool = False,
    chunk: int = 0,
) -> tuple[SignatureVerdict, ...]:
    verifier = Verifier(
        fields, limits, now, length_policy=length_policy, from_policy=from_policy, hidden_name=hidden_name
    )
    for at in range(0, len(body), chunk or len(body) or 1):
        verifier.body(body[at : at + (chunk or len(body))])
    return verifier.finish(answers(records, verifier.key_names, limits))
