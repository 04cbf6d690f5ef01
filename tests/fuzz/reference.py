"""DKIM the slow way, written from RFC 6376 line by line and from nothing of ours: what the targets compare with."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

Field = tuple[bytes, bytes]
"""Name and all after the colon, without the final CRLF."""
PrivateKey = RSAPrivateKey | Ed25519PrivateKey


def simple_body(body: bytes) -> bytes:
    """Section 3.4.3."""
    while body.endswith(b"\r\n"):
        body = body[:-2]
    return body + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """Section 3.4.4."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def relaxed_value(value: bytes) -> bytes:
    """Section 3.4.2."""
    return re.sub(rb"[ \t]+", b" ", re.sub(rb"\r\n(?=[ \t])", b"", value)).strip(b" ")


def header_field(field: Field, relaxed: bool) -> bytes:
    """One field as it is hashed."""
    name, value = field
    if relaxed:
        return name.rstrip(b" \t").lower() + b":" + relaxed_value(value) + b"\r\n"
    return name + b":" + value + b"\r\n"


def is_signature(field: Field) -> bool:
    """Whether it is a DKIM-Signature."""
    return field[0].rstrip(b" \t").lower() == b"dkim-signature"


def tag(value: bytes, name: bytes) -> bytes | None:
    """A tag's value without any white space; None when it is not there."""
    for part in value.split(b";"):
        found, equals, text = part.partition(b"=")
        if equals and found.strip(b" \t\r\n") == name:
            return re.sub(rb"[ \t\r\n]", b"", text)
    return None


@dataclass(frozen=True)
class Signed:
    """What a signature stands for: the octets that its two hashes are made of."""

    header: bytes
    body: bytes
    whole_body: bool


def signed_text(fields: Sequence[Field], body: bytes, number: int) -> Signed:
    """What the signature at ``fields[number]`` covers (sections 3.7, 5.4.2)."""
    value = fields[number][1]
    how = (tag(value, b"c") or b"simple").lower().partition(b"/")
    relaxed = how[0] == b"relaxed"
    parts = []
    left = [field for at, field in enumerate(fields) if at != number]
    for name in (tag(value, b"h") or b"").lower().split(b":"):
        for at in reversed(range(len(left))):
            if left[at][0].rstrip(b" \t").lower() == name:
                parts.append(header_field(left.pop(at), relaxed))
                break
    emptied = re.sub(rb"((?:^|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*", rb"\1", value, count=1)
    parts.append(header_field((fields[number][0], emptied), relaxed)[:-2])
    text = relaxed_body(body) if how[2] == b"relaxed" else simple_body(body)
    length = tag(value, b"l")
    covered = text if length is None else text[: int(length)]
    return Signed(b"".join(parts), covered, covered == text)


def sign(fields: Sequence[Field], body: bytes, key: PrivateKey, tags: bytes) -> Field:
    """A DKIM-Signature with the given tags; a=, bh= and b= are added."""
    algorithm = b"rsa-sha256" if isinstance(key, RSAPrivateKey) else b"ed25519-sha256"
    value = b" v=1; a=" + algorithm + b"; " + tags + b"; bh="
    draft = signed_text([(b"DKIM-Signature", value), *fields], body, 0)
    value += base64.b64encode(hashlib.sha256(draft.body).digest()) + b";\r\n\tb="
    header = signed_text([(b"DKIM-Signature", value), *fields], body, 0).header
    signature = (
        key.sign(header, PKCS1v15(), SHA256())
        if isinstance(key, RSAPrivateKey)
        else key.sign(hashlib.sha256(header).digest())
    )
    return b"DKIM-Signature", value + base64.b64encode(signature)


def verifies(fields: Sequence[Field], body: bytes, number: int, key: PrivateKey) -> bool:
    """Whether the signature at ``fields[number]`` is one by this key; its tags are taken to be in order."""
    value = fields[number][1]
    signed = signed_text(fields, body, number)
    if base64.b64decode(tag(value, b"bh") or b"") != hashlib.sha256(signed.body).digest():
        return False
    signature = base64.b64decode(tag(value, b"b") or b"")
    try:
        if isinstance(key, RSAPrivateKey):
            key.public_key().verify(signature, signed.header, PKCS1v15(), SHA256())
        else:
            key.public_key().verify(signature, hashlib.sha256(signed.header).digest())
    except InvalidSignature:
        return False
    return True
