"""Our two keys of the targets: the same in each run, so that an input that was found can be replayed.

They are made from a text, not from chance, and protect nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


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
