"""Generate private keys, and the key records that publish them."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.keystore.formats import PrivateKey


def make_private_key(algorithm: Algorithm, bits: int = 2048) -> bytes:
    """Generate a private key; returns it as PEM (PKCS#8).

    Args:
        algorithm: RSA or Ed25519 with SHA-256.
        bits: size of an RSA key, at least 1024.

    Raises:
        ValueError: the algorithm cannot sign, or ``bits`` is too small.
    """
    if algorithm is Algorithm.ED25519_SHA256:
        private: PrivateKey = Ed25519PrivateKey.generate()
    elif algorithm is Algorithm.RSA_SHA256 and bits >= 1024:
        private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    else:
        raise ValueError(f"no key of {algorithm} with {bits} bits can be made")
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_record(private: PrivateKey) -> bytes:
    """Return the key record of a private key (RFC 6376 section 3.6.1, RFC 8463 section 4)."""
    public = private.public_key()
    if isinstance(private, Ed25519PrivateKey):
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)
