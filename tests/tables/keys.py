"""Fixed keys of the tables, and signing with them in the plainest way, without the product's code.

The primes are in ``keys.toml``. They are public: nothing may be protected with them.
"""

from __future__ import annotations

import base64
import hashlib
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

_PRIMES: Final = tomllib.loads((Path(__file__).parent / "keys.toml").read_text())
_SHA256_INFO: Final = bytes.fromhex("3031300d060960864801650304020105000420")
_SHA1_INFO: Final = bytes.fromhex("3021300906052b0e03021a05000414")


@dataclass(frozen=True)
class RsaKey:
    """An RSA key of ``bits`` bits; arithmetic by hand, so that sizes that libraries refuse work too."""

    bits: int
    exponent: int = 65537

    @property
    def algorithm(self) -> str:
        return "rsa-sha256"

    @cached_property
    def _primes(self) -> tuple[int, int]:
        entry = _PRIMES[str(self.bits)]
        return int(entry["p"], 16), int(entry["q"], 16)

    @cached_property
    def modulus(self) -> int:
        p, q = self._primes
        return p * q

    @cached_property
    def _private_exponents(self) -> tuple[int, int, int]:
        p, q = self._primes
        d = pow(self.exponent, -1, (p - 1) * (q - 1))
        return d % (p - 1), d % (q - 1), pow(q, -1, p)

    def sign(self, data: bytes, sha1: bool = False) -> bytes:
        """RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2.1)."""
        size = (self.bits + 7) // 8
        info = _SHA1_INFO + hashlib.sha1(data).digest() if sha1 else _SHA256_INFO + hashlib.sha256(data).digest()
        padded = b"\0\1" + b"\xff" * (size - len(info) - 3) + b"\0" + info
        message = int.from_bytes(padded, "big")
        p, q = self._primes
        dp, dq, qi = self._private_exponents
        a, b = pow(message % p, dp, p), pow(message % q, dq, q)
        return (b + (a - b) * qi % p * q).to_bytes(size, "big")

    @cached_property
    def bare(self) -> bytes:
        """RSAPublicKey in DER."""
        return der(0x30, der_integer(self.modulus) + der_integer(self.exponent))

    @cached_property
    def spki(self) -> bytes:
        """SubjectPublicKeyInfo in DER."""
        algorithm = der(0x30, bytes.fromhex("06092a864886f70d0101010500"))
        return der(0x30, algorithm + der(0x03, b"\0" + self.bare))

    @property
    def public(self) -> bytes:
        """Value of p=."""
        return base64.b64encode(self.spki)

    @property
    def record(self) -> bytes:
        return b"v=DKIM1; k=rsa; p=" + self.public

    @cached_property
    def private(self) -> RSAPrivateKey:
        """For the product's signer."""
        p, q = self._primes
        d = pow(self.exponent, -1, (p - 1) * (q - 1))
        dp, dq, qi = self._private_exponents
        return RSAPrivateNumbers(p, q, d, dp, dq, qi, RSAPublicNumbers(self.exponent, self.modulus)).private_key()

    @property
    def pem(self) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class EdKey:
    """The Ed25519 key whose seed is the octet ``seed``, 32 times."""

    seed: int = 1

    @property
    def algorithm(self) -> str:
        return "ed25519-sha256"

    @cached_property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(bytes((self.seed,)) * 32)

    def sign(self, data: bytes) -> bytes:
        """PureEdDSA over the SHA-256 of the data (RFC 8463 section 3)."""
        return self.private.sign(hashlib.sha256(data).digest())

    @cached_property
    def raw(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def public(self) -> bytes:
        """Value of p=."""
        return base64.b64encode(self.raw)

    @property
    def record(self) -> bytes:
        return b"v=DKIM1; k=ed25519; p=" + self.public

    @property
    def pem(self) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


AnyKey = RsaKey | EdKey

RSA: Final = RsaKey(2048)
ED: Final = EdKey()


def der(tag: int, content: bytes) -> bytes:
    """A DER element with the shortest length (X.690 section 10.1)."""
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def der_integer(value: int) -> bytes:
    """A non-negative INTEGER."""
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))
