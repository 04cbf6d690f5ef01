"""Two keys of our own, their records, and messages: the same in each run, so that an input can be replayed.

The keys are made from a text, not from chance, and protect nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fuzz.reference import Field
from phoenixdkim.dkim.keys import key_answer
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus
from phoenixdkim.keystore import public_record


def _octets(label: bytes, size: int) -> bytes:
    return hashlib.shake_256(b"keys of the fuzz targets: " + label).digest(size)


def _primes(label: bytes, bits: int) -> Iterator[int]:
    candidate = int.from_bytes(_octets(label, bits // 8), "big") | 1 | 3 << bits - 2
    while True:
        # Fermat's test to four bases is enough for numbers that nobody chose.
        if all(pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5, 7)) and candidate % 65537 != 1:
            yield candidate
        candidate += 2


def _rsa(label: bytes, bits: int) -> rsa.RSAPrivateKey:
    primes = _primes(label, bits // 2)
    p, q = next(primes), next(primes)
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


RSA = _rsa(b"rsa", 1024)
ED25519 = Ed25519PrivateKey.from_private_bytes(_octets(b"ed25519", 32))

NOW = 1_700_000_000
DOMAIN = b"honest.example"
RECORDS = {
    selector + b"._domainkey." + DOMAIN: key_answer([public_record(key)], DnssecStatus.UNKNOWN, Limits())
    for selector, key in ((b"r", RSA), (b"e", ED25519))
}

Message = tuple[list[Field], bytes]

MESSAGES: tuple[Message, ...] = (
    (
        [
            (b"From", b" Joe <joe@honest.example>"),
            (b"To", b" suzie@example.net"),
            (b"Subject", b"  Is   dinner\r\n\t ready? "),
            (b"Date", b" Fri, 11 Jul 2003 21:00:37 -0700"),
        ],
        b"Hi.  We lost\tthe game. \r\n\r\nJoe.\r\n\r\n",
    ),
    (
        [
            (b"Received", b" from a\r\n\tby b; now"),
            (b"Received", b" from c by a; then"),
            (b"FROM \t", b"joe@honest.example"),
            (b"To", b""),
        ],
        b"",
    ),
    (
        [
            (b"Subject", "Grüße".encode()),
            (b"from", b" =?utf-8?q?J=C3=B6?= <j@honest.example>"),
            (b"To", b" a@example.net,\r\n b@example.net"),
        ],
        b"no end of line",
    ),
)
