"""Key records: what DNS says of a selector (RFC 6376 section 3.6.1, RFC 8463 section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Reason
from phoenixdkim.dkim.tags import TagListError, base64_octets, parse_tag_list, without_white_space


class KeyType(Enum):
    """k= (RFC 6376 section 3.6.1, RFC 8463 section 4.2)."""

    RSA = b"rsa"
    ED25519 = b"ed25519"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A usable key record.

    Attributes:
        type: kind of key.
        key: the public key, ready to verify with.
        bits: size of an RSA modulus; 256 for Ed25519.
        hashes: h=; None when all are allowed.
        strict: t=s, the domain of i= must equal d=.
        testing: t=y, the domain tests DKIM.
    """

    type: KeyType
    key: RSAPublicKey | Ed25519PublicKey
    bits: int
    hashes: frozenset[bytes] | None
    strict: bool
    testing: bool


class KeyRecordError(ValueError):
    """A key record that can't be used; ``reason`` says why."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail or reason.value)
        self.reason = reason


class KeyOutcome(Enum):
    """What a look-up brought (RFC 6376 section 6.1.2)."""

    FOUND = "found"
    ABSENT = "absent"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """The answer for one key name; the cache keeps it with its keys already parsed.

    Attributes:
        outcome: found, absent or unavailable.
        keys: usable records, or the reason why none is; in an order that does not depend on the answer's.
        dnssec: how far DNSSEC vouches for it.
        reason: for ``UNAVAILABLE``, why.
    """

    outcome: KeyOutcome
    keys: tuple[KeyRecord | Reason, ...] = ()
    dnssec: DnssecStatus = DnssecStatus.UNKNOWN
    reason: Reason | None = None


def key_answer(records: Sequence[bytes], dnssec: DnssecStatus, limits: Limits) -> KeyAnswer:
    """Make the answer for the TXT records found at a name, each with its strings joined.

    With several records RFC 6376 section 3.6.2.2 leaves the result undefined. Here each is read, in sorted order so
    that the answer's order does not matter, and a signature passes if one of the usable keys verifies it; records
    that are none of ours, such as a stray SPF record, then do no harm. Over ``limits.max_key_records`` none is used.
    """
    if not records:
        return KeyAnswer(KeyOutcome.ABSENT, dnssec=dnssec)
    if len(records) > limits.max_key_records:
        return KeyAnswer(KeyOutcome.FOUND, (Reason.MULTIPLE_KEY_RECORDS,), dnssec)
    usable: list[KeyRecord] = []
    reasons: list[Reason] = []
    for record in sorted(set(records)):
        try:
            usable.append(parse_key_record(record, limits))
        except KeyRecordError as error:
            reasons.append(error.reason)
    return KeyAnswer(KeyOutcome.FOUND, (*usable,) or (min(reasons),), dnssec)


def parse_key_record(record: bytes, limits: Limits) -> KeyRecord:
    """Read one key record.

    Raises:
        KeyRecordError: it is no key record, or not one for signing mail that can be used.
    """
    if len(record) > limits.max_key_record_octets:
        raise KeyRecordError(Reason.KEY_RECORD_TOO_LARGE)
    try:
        tags = parse_tag_list(record, limits.max_tags)
    except TagListError as error:
        reason = Reason.TOO_MANY_TAGS if error.reason is Reason.TOO_MANY_TAGS else Reason.KEY_RECORD_SYNTAX
        raise KeyRecordError(reason, str(error)) from error
    if b"v" in tags and (next(iter(tags)) != b"v" or tags[b"v"] != b"DKIM1"):
        raise KeyRecordError(Reason.KEY_VERSION)
    if b"p" not in tags:
        raise KeyRecordError(Reason.KEY_RECORD_SYNTAX, "no p=")
    services = _names(tags.get(b"s", b"*"))
    if b"*" not in services and b"email" not in services:
        raise KeyRecordError(Reason.KEY_SERVICE_MISMATCH)
    encoded = without_white_space(tags[b"p"])
    if not encoded:
        raise KeyRecordError(Reason.KEY_REVOKED)
    try:
        kind = KeyType(tags.get(b"k", b"rsa"))
    except ValueError as error:
        raise KeyRecordError(Reason.KEY_TYPE_UNKNOWN) from error
    try:
        data = base64_octets(encoded)
    except ValueError as error:
        raise KeyRecordError(Reason.KEY_MALFORMED, "p= is no base64") from error
    key, bits = _ed25519(data) if kind is KeyType.ED25519 else _rsa(data, limits)
    flags = _names(tags.get(b"t", b""))
    hashes = _names(tags[b"h"]) if b"h" in tags else None
    return KeyRecord(kind, key, bits, hashes, b"s" in flags, b"y" in flags)


def _names(value: bytes) -> frozenset[bytes]:
    # Told apart by case, as all values are (RFC 6376 section 3.2); white space may stand around names, not in them.
    return frozenset(name.strip(b" \t\r\n") for name in value.split(b":")) - {b""}


# The points of small order of edwards25519 in all their encodings: with such a key one signature verifies many
# messages (RFC 8032 section 5.1.7 leaves the check to the application).
_P: Final = 2**255 - 19


def _small_order(data: bytes) -> bool:
    y = int.from_bytes(data, "little") & (2**255 - 1)
    if y >= _P:
        # Not canonical: no honest key is written so.
        return True
    return y in (0, 1, _P - 1) or _eight_torsion(y)


def _eight_torsion(y: int) -> bool:
    """Whether y belongs to a point of order 8: doubling such a point gives one of order 4, whose y is 0."""
    d = (-121665 * pow(121666, _P - 2, _P)) % _P
    yy = y * y % _P
    # x^2 from the curve -x^2 + y^2 = 1 + d x^2 y^2; doubling has y' = (y^2 + x^2) / (1 - d x^2 y^2).
    xx = (yy - 1) * pow(d * yy + 1, _P - 2, _P) % _P
    return (yy + xx) % _P == 0


def _ed25519(data: bytes) -> tuple[Ed25519PublicKey, int]:
    if len(data) != 32 or _small_order(data):
        raise KeyRecordError(Reason.KEY_MALFORMED, "no Ed25519 public key")
    try:
        return Ed25519PublicKey.from_public_bytes(data), 256
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyRecordError(Reason.KEY_MALFORMED, str(error)) from error


def _rsa(data: bytes, limits: Limits) -> tuple[RSAPublicKey, int]:
    modulus, exponent = _rsa_numbers(data)
    bits = modulus.bit_length()
    if bits < limits.min_rsa_bits:
        raise KeyRecordError(Reason.KEY_TOO_SMALL, f"{bits} bits")
    if bits > limits.max_rsa_bits:
        raise KeyRecordError(Reason.KEY_TOO_LARGE, f"{bits} bits")
    if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > limits.max_exponent_bits:
        raise KeyRecordError(Reason.KEY_EXPONENT)
    if modulus % 2 == 0:
        raise KeyRecordError(Reason.KEY_MALFORMED, "an even modulus")
    try:
        return RSAPublicNumbers(exponent, modulus).public_key(), bits
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyRecordError(Reason.KEY_MALFORMED, str(error)) from error


_RSA_OID: Final = bytes.fromhex("06092a864886f70d010101")


def _rsa_numbers(data: bytes) -> tuple[int, int]:
    """Modulus and exponent of a SubjectPublicKeyInfo, or of a bare RSAPublicKey (RFC 6376 erratum 3017).

    The DER is read here, a few lines of it, so that sizes are known before a library computes with them.
    """
    try:
        outer, rest = _der(data, 0x30)
        if rest:
            raise ValueError("octets after the key")
        if outer[:1] == b"\x02":
            sequence = outer
        else:
            algorithm, rest = _der(outer, 0x30)
            if not algorithm.startswith(_RSA_OID):
                raise ValueError("no RSA key")
            bits, rest = _der(rest, 0x03)
            if rest or bits[:1] != b"\0":
                raise ValueError("a malformed bit string")
            sequence, rest = _der(bits[1:], 0x30)
            if rest:
                raise ValueError("octets after the key")
        modulus, rest = _der(sequence, 0x02)
        exponent, rest = _der(rest, 0x02)
        if rest or not modulus or not exponent or modulus[0] & 0x80 or exponent[0] & 0x80:
            raise ValueError("malformed numbers")
    except (ValueError, IndexError) as error:
        raise KeyRecordError(Reason.KEY_MALFORMED, str(error)) from error
    return int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big")


def _der(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Content of the element that ``data`` starts with, and what follows it (X.690, definite lengths)."""
    if not data or data[0] != tag:
        raise ValueError("unexpected DER element")
    length = data[1]
    start = 2
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 3:
            raise ValueError("unusable DER length")
        length = int.from_bytes(data[2 : 2 + size], "big")
        start += size
    if start + length > len(data):
        raise ValueError("truncated DER")
    return data[start : start + length], data[start + length :]
