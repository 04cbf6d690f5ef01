"""Key records. Oracle: KeyRecordError with a reason about keys, or a key within the limits.

The answer for several records does not depend on their order.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from fuzz.honest import ED25519, RSA
from fuzz.target import Target, check
from phoenixdkim.dkim.keys import KeyOutcome, KeyRecord, KeyRecordError, KeyType, key_answer, parse_key_record
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import REASONS, DnssecStatus, Reason, Result
from phoenixdkim.keystore import public_record

LIMITS = Limits(max_rsa_bits=2048)


def execute(data: bytes) -> None:
    """The octet 0xFF stands between records."""
    records = data.split(b"\xff")
    for record in records:
        try:
            _check_key(parse_key_record(record, LIMITS))
        except KeyRecordError as error:
            check(
                error.reason.startswith("key-") or error.reason is Reason.TOO_MANY_TAGS,
                "no reason of keys",
                error.reason,
            )
            check(REASONS[error.reason].result is Result.PERMERROR, "for ever", error.reason)
    answer = key_answer(records, DnssecStatus.UNKNOWN, LIMITS)
    check(answer.outcome is KeyOutcome.FOUND and answer.keys, "an answer without keys or a reason", answer)
    kinds = {type(key) for key in answer.keys}
    check(kinds in ({KeyRecord}, {Reason}), "keys and reasons together", kinds)
    if len(records) == 1:
        return
    check(answer == key_answer(records[::-1], DnssecStatus.UNKNOWN, LIMITS), "depends on the order", records)


def _check_key(found: KeyRecord) -> None:
    if found.type is KeyType.RSA:
        check(isinstance(found.key, RSAPublicKey), "another type", found)
        numbers = found.key.public_numbers()
        check(LIMITS.min_rsa_bits <= numbers.n.bit_length() <= LIMITS.max_rsa_bits, "modulus", numbers.n)
        check(found.bits == numbers.n.bit_length(), "its size", found.bits)
        check(numbers.n % 2 and numbers.e % 2 and 3 <= numbers.e < 2**LIMITS.max_exponent_bits, "numbers", numbers.e)
    else:
        check(isinstance(found.key, Ed25519PublicKey) and found.bits == 256, "another type", found)
        y = int.from_bytes(found.key.public_bytes_raw(), "little") & (2**255 - 1)
        check(1 < y < 2**255 - 20, "a point of small order, or one not in canonical form", y)
    check(found.hashes is None or all(b":" not in name for name in found.hashes), "hashes", found.hashes)


def seeds() -> Iterator[bytes]:
    rsa, ed25519 = public_record(RSA), public_record(ED25519)
    yield rsa
    yield ed25519 + b"; t=s:y; n=note; s=email; h=sha1:sha256"
    yield ed25519 + b"\xff" + rsa + b"\xffv=spf1 -all"
    yield b"v=DKIM1; k=rsa; p=" + base64.b64encode(base64.b64decode(rsa.partition(b"p=")[2])[22:])
    yield b"v=DKIM1; k=ed25519; p=" + base64.b64encode(bytes(32))


TARGET = Target(
    execute,
    seeds,
    (
        *(b"v=DKIM1", b"k=rsa", b"k=ed25519", b"p=", b"h=sha256", b"s=*", b"s=email", b"t=y:s", b";", b":", b"="),
        *(b"\xff", b"\0", b"AAAA", b"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQ", b"AgMBAAE", b"//8=", b"\r\n "),
    ),
    768,
)
