"""Decode private keys: PEM, and the base64 of dkimpy and rspamd.

========================  =================================================================================
PEM                       PKCS#1 and PKCS#8: RSA, Ed25519 (RFC 5958, RFC 7468, RFC 8017, RFC 8410)
base64 of 32 octets       Ed25519 seed: dkimpy's ``dknewkey --ktype ed25519``
base64 of 64 octets       Ed25519 seed and public key: rspamd's ``rspamadm dkim_keygen -t ed25519``
base64 of DER             RSA or Ed25519, as rspamd accepts them too
========================  =================================================================================

Every other format is refused with the command that converts it.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
import sys
from typing import Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.keystore.faults import KeyStoreError

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

_BEGIN: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/=\s]+")
_HEXADECIMAL: Final = re.compile(rb"[0-9a-f]{64}|[0-9a-f]{128}|[0-9A-F]{64}|[0-9A-F]{128}")
"""An Ed25519 seed, alone or with its public key; base64 of random octets has other letters, too."""
_RSA_OID: Final = bytes.fromhex("06092a864886f70d010101")
_SEED: Final = 32
_SECRET: Final = 64
_OPENSSH_PLAIN: Final = b"openssh-key-v1\0\0\0\0\x04none"
_CONVERT_OPENSSH: Final = (
    "import sys; from cryptography.hazmat.primitives.serialization import *;"
    " sys.stdout.buffer.write(load_ssh_private_key(sys.stdin.buffer.read(), None)"
    ".private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))"
)


def algorithm_of(key: PrivateKey) -> Algorithm:
    """Return the algorithm that a key signs with."""
    return Algorithm.ED25519_SHA256 if isinstance(key, Ed25519PrivateKey) else Algorithm.RSA_SHA256


def decode(path: str, data: bytes) -> PrivateKey:
    """Decode a private key; the numbers of an RSA key are not checked (see ``rsa_numbers``).

    Args:
        path: its file, for messages.
        data: content of the file.

    Raises:
        KeyStoreError: not a private key of RSA or Ed25519, or in a format that has to be converted first.
    """
    if b"-----BEGIN " in data:
        return _from_der(path, _pem_content(path, data))
    text = data.removeprefix(b"\xef\xbb\xbf").strip()
    if b"v=DKIM1" in data or re.match(rb"[a-z]=", text):
        raise KeyStoreError(path, "this is a key record for DNS, the public half; name the file of the private key")
    if _HEXADECIMAL.fullmatch(text) is not None:
        quoted = shlex.quote(path)
        raise KeyStoreError(
            path,
            "a key in hexadecimal digits; convert it:"
            f" (umask 077; tr a-f A-F < {quoted} | basenc -di --base16 | base64 -w 0 > NEW)",
        )
    if _BASE64.fullmatch(text) is None:
        raise KeyStoreError(path, _what_binary(path, data))
    try:
        octets = base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise KeyStoreError(
            path, "no private key in this file: neither PEM nor valid base64; is the file complete?"
        ) from error
    if b"-----BEGIN " in octets:
        # As a value stands in the YAML of a Kubernetes secret.
        quoted = shlex.quote(path)
        raise KeyStoreError(path, f"base64 of a PEM file; convert it: (umask 077; base64 -d {quoted} > NEW)")
    if len(octets) in (_SEED, _SECRET):
        return _ed25519(path, octets)
    if octets[:1] == b"\x30" and (inner := _element(octets, 0)) is not None and inner[1] == len(octets):
        return _from_der(path, octets)
    raise KeyStoreError(
        path,
        f"base64 of {len(octets)} octets; an Ed25519 key has {_SEED} (seed) or {_SECRET} (seed and public key);"
        " is the file complete?",
    )


def _pem_content(path: str, data: bytes) -> bytes:
    """The DER in the one private key's PEM block; text around blocks is ignored (RFC 7468 section 2)."""
    found = [(match[1], match.end()) for match in _BEGIN.finditer(data)]
    private = [(label, end) for label, end in found if label.endswith(b"PRIVATE KEY")]
    if not private:
        labels = [label for label, _ in found]
        if any(label.endswith(b"PUBLIC KEY") for label in labels):
            message = "this is the public half of a key; name the file of the private key"
        elif any(b"CERTIFICATE" in label for label in labels):
            message = "this is a certificate; name the file of a private key (DKIM needs no certificate)"
        else:
            message = "no private key in this PEM file (-----BEGIN PRIVATE KEY-----)"
        raise KeyStoreError(path, message)
    if len(private) > 1:
        raise KeyStoreError(path, f"{len(private)} private keys in one file; keep one, and give each key its own file")
    label, start = private[0]
    end = data.find(b"-----END " + label + b"-----", start)
    if end < 0:
        raise KeyStoreError(path, f"damaged: the line '-----END {label.decode()}-----' is missing")
    content = data[start:end]
    quoted = shlex.quote(path)
    if label == b"OPENSSH PRIVATE KEY":
        raise KeyStoreError(path, _openssh(quoted, content))
    if label == b"ENCRYPTED PRIVATE KEY" or b"ENCRYPTED" in content:
        raise KeyStoreError(
            path,
            f"the key is encrypted, and a daemon cannot ask for a passphrase; run: openssl pkey -in {quoted} -out NEW",
        )
    if label not in (b"PRIVATE KEY", b"RSA PRIVATE KEY"):
        raise KeyStoreError(path, f"a key of type {label.decode().split()[0]}; an RSA or Ed25519 key is required")
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error as error:
        raise KeyStoreError(path, "damaged: invalid base64 between the BEGIN and END lines") from error


def _openssh(quoted: str, content: bytes) -> str:
    command = f"(umask 077; {shlex.quote(sys.executable)} -c {shlex.quote(_CONVERT_OPENSSH)} < {quoted} > NEW)"
    try:
        encrypted = not base64.b64decode(b"".join(content.split())).startswith(_OPENSSH_PLAIN)
    except binascii.Error:
        return "damaged: invalid base64 between the BEGIN and END lines"
    if encrypted:
        return (
            f"an encrypted key in OpenSSH's format; copy it (cp {quoted} COPY), remove the passphrase of the copy"
            f" (ssh-keygen -p -N '' -f COPY), then convert the copy: {command.replace(quoted, 'COPY')}"
        )
    return f"a key in OpenSSH's format; convert it: {command}"


def _what_binary(path: str, data: bytes) -> str:
    """What to do about content that is not text."""
    quoted = shlex.quote(path)
    if len(data) in (_SEED, _SECRET) and not data.isascii():
        return f"a raw Ed25519 key; convert it: (umask 077; base64 -w 0 {quoted} > NEW)"
    inner = _element(data, 0)
    if data[:1] == b"\x30" and inner is not None:
        start = inner[0]
        if data[start : start + 3] == b"\x02\x01\x03":
            return f"a PKCS#12 file; convert it: openssl pkcs12 -in {quoted} -nocerts -nodes -out NEW"
        if data[start : start + 1] == b"\x02":
            return f"a key in DER; convert it: openssl pkey -inform DER -in {quoted} -out NEW"
        return (
            "DER that is not a plain private key: a certificate, a public key, or an encrypted key"
            f" (which this decrypts: openssl pkey -inform DER -in {quoted} -out NEW)"
        )
    return "no private key in this file (-----BEGIN PRIVATE KEY-----)"


def _ed25519(path: str, octets: bytes) -> Ed25519PrivateKey:
    """A key of its seed (RFC 8032 section 5.1.5), or of seed and public key as libsodium has them."""
    key = Ed25519PrivateKey.from_private_bytes(octets[:_SEED])
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    if octets[_SEED:] not in (b"", public):
        raise KeyStoreError(path, "an Ed25519 key whose public half does not match its seed; the file is damaged")
    return key


def _from_der(path: str, der: bytes) -> PrivateKey:
    if _multi_prime(der):
        raise KeyStoreError(path, "an RSA key of more than two primes; generate a key of two primes")
    inner = _element(der, 0)
    if inner is not None and der[inner[0] : inner[0] + 1] == b"\x30":
        raise KeyStoreError(path, "a public key, a certificate or an encrypted key; a plain private key is required")
    try:
        # The check of the library takes 37 ms a key of 2048 bits, two tests of primality; rsa_numbers takes 16 us.
        key = load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError as error:
        raise KeyStoreError(path, "the key is encrypted, and a daemon cannot ask for a passphrase") from error
    except (ValueError, UnsupportedAlgorithm, InternalError) as error:
        raise KeyStoreError(path, "the key is damaged, or of an unknown type") from error
    if not isinstance(key, (RSAPrivateKey, Ed25519PrivateKey)):
        kind = type(key).__name__.strip("_").removesuffix("PrivateKey")
        raise KeyStoreError(path, f"a key of type {kind}; an RSA or Ed25519 key is required")
    return key


def _multi_prime(der: bytes) -> bool:
    """Whether this is an RSAPrivateKey of version 1 (RFC 8017 appendix A.1.2), alone or in PKCS#8."""
    outer = _element(der, 0)
    if outer is None:
        return False
    start = outer[0]
    oid = der.find(_RSA_OID, start, start + 64)
    if oid >= 0:
        octets = der.find(b"\x04", oid + len(_RSA_OID), oid + len(_RSA_OID) + 8)
        wrapped = _element(der, octets) if octets >= 0 else None
        sequence = _element(der, wrapped[0]) if wrapped is not None else None
        if sequence is None:
            return False
        start = sequence[0]
    elif der[start + 3 : start + 4] != b"\x02":
        # PKCS#8 of another algorithm: behind its version is no modulus.
        return False
    return der[start : start + 3] == b"\x02\x01\x01"


def _element(data: bytes, at: int) -> tuple[int, int] | None:
    """Start and end of the content of the DER element at ``at`` (X.690); None when there is none."""
    if at + 2 > len(data):
        return None
    length, start = data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    return (start, start + length) if 0 < length <= len(data) - start else None
