"""Limits that hold before any arithmetic is done on what a message or a key record brings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on work. Each has a reason, and a verdict reason of its own.

    Attributes:
        max_signatures: signatures evaluated in a message, from the top; real mail has one to five, and each
            costs a look-up and a verification (RFC 6376 section 6.1 lets a verifier limit them).
        max_header_fields: fields of a header; long routes and lists stay under 200.
        max_header_octets: octets of a header; Postfix cuts one at 102,400 by default.
        max_signature_octets: octets of one DKIM-Signature value; a 4,096-bit signature with a long h= has 2,000.
        max_tags: tags of a tag list; fifteen are defined.
        max_signed_fields: names in h=; each is looked up in the header.
        max_key_records: TXT records at the name of one key; each is read, and each key of the right type tried.
        max_key_record_octets: octets of a key record; a 8,192-bit RSA key has 1,400 in base64.
        min_rsa_bits: least modulus that verifies (RFC 8301 section 3.2); 2,048 is advised.
        max_rsa_bits: largest modulus that is computed with; the cost grows with its third power.
        max_exponent_bits: largest public exponent; 65537 has 17, and the cost grows with the length.
        clock_drift: seconds by which t= may lie in the future and x= in the past.
    """

    max_signatures: int = 10
    max_header_fields: int = 1000
    max_header_octets: int = 262144
    max_signature_octets: int = 16384
    max_tags: int = 64
    max_signed_fields: int = 256
    max_key_records: int = 8
    max_key_record_octets: int = 4096
    min_rsa_bits: int = 1024
    max_rsa_bits: int = 8192
    max_exponent_bits: int = 32
    clock_drift: int = 300
