"""Other implementations of DKIM: dkimpy, and Mail::DKIM in a process of its own."""

from __future__ import annotations

import base64
import subprocess
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

with warnings.catch_warnings():
    # dkimpy's source has invalid escapes.
    warnings.simplefilter("ignore")
    import dkim

VERIFY_SCRIPT = Path(__file__).with_name("mail_dkim_verify.pl")


@dataclass(frozen=True)
class KeyPair:
    """A key made for one run, with its place in DNS."""

    domain: str
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey

    @classmethod
    def rsa(cls, domain: str, selector: str = "rsa") -> KeyPair:
        return cls(domain, selector, generate_private_key(65537, 2048))

    @classmethod
    def ed25519(cls, domain: str, selector: str = "ed") -> KeyPair:
        return cls(domain, selector, Ed25519PrivateKey.generate())

    @property
    def algorithm(self) -> str:
        return "rsa-sha256" if isinstance(self.private, RSAPrivateKey) else "ed25519-sha256"

    @property
    def pem(self) -> bytes:
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def name(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        public = self.private.public_key()
        if isinstance(self.private, RSAPrivateKey):
            der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            return f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"

    @property
    def zone_line(self) -> str:
        strings = " ".join(f'"{self.record[i : i + 250]}"' for i in range(0, len(self.record), 250))
        return f"{self.name}. 300 IN TXT {strings}\n"

    def dkimpy_key(self) -> bytes:
        if isinstance(self.private, RSAPrivateKey):
            return self.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        return base64.b64encode(self.private.private_bytes_raw())


def dnsfunc(keys: Sequence[KeyPair]) -> Callable[..., bytes | None]:
    """What dkimpy asks for records."""
    records = {key.name.encode(): key.record.encode() for key in keys}

    def answer(name: bytes, timeout: int = 5) -> bytes | None:
        return records.get(name.rstrip(b"."))

    return answer


def dkimpy_sign(raw: bytes, key: KeyPair, canonicalization: bytes = b"relaxed/simple") -> bytes:
    """The message with a signature of dkimpy's on top."""
    header, _, body = canonicalization.partition(b"/")
    signature = dkim.sign(
        raw,
        key.selector.encode(),
        key.domain.encode(),
        key.dkimpy_key(),
        canonicalize=(header, body),
        signature_algorithm=key.algorithm.encode(),
    )
    return signature + raw


def dkimpy_verify(raw: bytes, keys: Sequence[KeyPair]) -> list[bool]:
    """dkimpy's answer to each signature of the message, in its order."""
    count = sum(name.lower() == b"dkim-signature" for name, _ in dkim.rfc822_parse(raw)[0])
    return [_dkimpy_verify_one(raw, index, keys) for index in range(count)]


def _dkimpy_verify_one(raw: bytes, index: int, keys: Sequence[KeyPair]) -> bool:
    try:
        return bool(dkim.DKIM(raw).verify(idx=index, dnsfunc=dnsfunc(keys)))
    except dkim.DKIMException:
        # Some faults are told by a return value, some like this.
        return False


def mail_dkim_verify(messages: Sequence[bytes], keys: Sequence[KeyPair], directory: Path) -> list[list[str]]:
    """Mail::DKIM's answers: for each message ``domain/selector/algorithm=result`` of each signature."""
    zone = directory / "mail-dkim.zone"
    zone.write_text("".join(key.zone_line for key in keys))
    paths = []
    for number, raw in enumerate(messages):
        paths.append(directory / f"{number}.eml")
        paths[-1].write_bytes(raw)
    done = subprocess.run(
        ["perl", str(VERIFY_SCRIPT), str(zone), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line.split("\t")[1:] for line in done.stdout.splitlines()]
    assert len(lines) == len(messages), done.stderr
    return lines
