"""Limits that hold before any arithmetic is done on what a message or a key record brings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on work; why each is there, and its reason, are told by ``phoenixdkim.config.bounds``.

    Attributes:
        max_signatures: signatures evaluated in a message, from the top.
        max_header_fields: fields of a header.
        max_header_octets: octets of a header.
        max_signature_octets: octets of one DKIM-Signature value.
        max_tags: tags of a tag list.
        max_signed_fields: names in h=.
        max_key_records: TXT records at the name of one key.
        max_key_record_octets: octets of a key record.
        min_rsa_bits: least modulus that verifies (RFC 8301 section 3.2).
        max_rsa_bits: largest modulus that is computed with.
        max_exponent_bits: largest public exponent.
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
