"""Hashing and signing as RFC 6376 section 3.7 says it, in the plainest way and without the product's code.

It signs whatever tag list it is given, also one that no signer would make, so that a change of one tag is all that is
wrong with a signature.
"""

from __future__ import annotations

import base64
import hashlib
import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

Field = tuple[bytes, bytes]
"""Name, and value with all that follows the colon up to the final CRLF."""
_FWS = b" \t\r\n"


def canonical_field(name: bytes, value: bytes, how: str) -> bytes:
    """One field without final CRLF."""
    if how == "simple":
        return name + b":" + value
    value = re.sub(rb"\r\n(?=[ \t])", b"", value)
    return name.rstrip(b" \t").lower() + b":" + re.sub(rb"[ \t]+", b" ", value).strip(b" ")


def canonical_body(body: bytes, how: str) -> bytes:
    """The whole body."""
    if how == "relaxed":
        body = b"\r\n".join(re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n"))
    while body.endswith(b"\r\n"):
        body = body[:-2]
    return body + b"\r\n" if body or how == "simple" else b""


def tag(parts: list[bytes], name: bytes, default: bytes = b"") -> bytes:
    """Value of the first tag of this name."""
    for part in parts:
        found, equals, value = part.partition(b"=")
        if equals and found.strip(_FWS) == name:
            return value.strip(_FWS)
    return default


def with_value(parts: list[bytes], name: bytes, value: bytes) -> list[bytes]:
    """The tags, the first of this name with a value appended."""
    done = list(parts)
    for index, part in enumerate(parts):
        if part.partition(b"=")[0].strip(_FWS) == name:
            done[index] = part + value
            break
    return done


def signed_field(
    field_name: bytes,
    parts: list[bytes],
    fields: list[Field],
    body: bytes,
    private: RSAPrivateKey | Ed25519PrivateKey,
) -> Field:
    """A DKIM-Signature of these tags, its empty bh= and b= filled in, whatever the tags are worth."""
    head, _, tail = tag(parts, b"c", b"simple").lower().decode("latin-1").partition("/")
    header_how = "relaxed" if head == "relaxed" else "simple"
    body_how = "relaxed" if tail == "relaxed" else "simple"
    weak = b"sha1" in tag(parts, b"a").lower()
    text = canonical_body(body, body_how)
    length = tag(parts, b"l")
    if length.isdigit():
        text = text[: int(length)]
    digest = hashlib.sha1 if weak else hashlib.sha256
    parts = with_value(parts, b"bh", base64.b64encode(digest(text).digest()))
    left = list(fields)
    hashed = b""
    for name in tag(parts, b"h").lower().split(b":"):
        for index in range(len(left) - 1, -1, -1):
            if left[index][0].rstrip(b" \t").lower() == name.strip(_FWS):
                hashed += canonical_field(*left.pop(index), header_how) + b"\r\n"
                break
    hashed += canonical_field(field_name, b";".join(parts), header_how)
    total = digest(hashed).digest()
    if isinstance(private, Ed25519PrivateKey):
        signature = private.sign(total)
    else:
        signature = private.sign(total, PKCS1v15(), Prehashed(SHA1() if weak else SHA256()))
    return field_name, b";".join(with_value(parts, b"b", base64.b64encode(signature)))
