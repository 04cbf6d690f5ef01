"""Private keys for tests: PEM texts, DER of numbers that no library would write, and files of them."""

from __future__ import annotations

import base64
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.keystore import make_private_key

SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=1024)
ED25519 = make_private_key(Algorithm.ED25519_SHA256)


@dataclass(frozen=True)
class Numbers:
    """An RSAPrivateKey (RFC 8017 appendix A.1.2), true or not."""

    n: int
    e: int
    d: int
    p: int
    q: int
    dp: int
    dq: int
    qinv: int

    @classmethod
    def of(cls, key: RSAPrivateKey) -> Numbers:
        """The numbers of a key."""
        found = key.private_numbers()
        public = found.public_numbers
        return cls(public.n, public.e, found.d, found.p, found.q, found.dmp1, found.dmq1, found.iqmp)

    def but(self, **changes: int) -> Numbers:
        """The same numbers but these."""
        return replace(self, **changes)

    def der(self, version: int = 0, more: bytes = b"") -> bytes:
        """PKCS#1."""
        return element(0x30, b"".join(integer(number) for number in (version, *astuple(self))) + more)


def element(tag: int, content: bytes) -> bytes:
    """A DER element."""
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(number: int) -> bytes:
    """A DER INTEGER."""
    return element(2, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def pkcs8(pkcs1: bytes) -> bytes:
    """PKCS#8 of an RSA key in PKCS#1."""
    return element(0x30, integer(0) + bytes.fromhex("300d06092a864886f70d0101010500") + element(4, pkcs1))


def armour(der: bytes, label: str = "PRIVATE KEY") -> bytes:
    """PEM of DER."""
    return f"-----BEGIN {label}-----\n".encode() + base64.encodebytes(der) + f"-----END {label}-----\n".encode()


def pem(key: object, how: PrivateFormat = PrivateFormat.PKCS8, password: bytes = b"") -> bytes:
    """PEM of a key."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, how, encryption)  # type: ignore[attr-defined,no-any-return]


def written(path: Path, data: bytes = ED25519, mode: int = 0o600) -> Path:
    """A key file."""
    path.write_bytes(data)
    path.chmod(mode)
    return path


def private_directory(tmp_path: Path) -> Path:
    """A directory in which the only errors are those that a test makes."""
    for directory in (tmp_path, tmp_path.parent):
        directory.chmod(0o700)
    made = tmp_path / "keys"
    made.mkdir(mode=0o700)
    return made
