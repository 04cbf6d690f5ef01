"""One change to a signature's algorithm, key size, hashes or canonicalizations (V06 to V11, V26)."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from phoenixdkim.dkim.results import Reason
from tables.by_hand import BODY, NAME, relaxed_body, signed, tags
from tables.keys import RSA, EdKey, RsaKey
from tables.row import Row, Zone
from tables.value_rows import tag_row

_OK: Final = Reason.VERIFIED
_BH: Final = base64.b64encode(hashlib.sha256(relaxed_body(BODY)).digest())
_RSA_ZONE: Final[Zone] = {NAME: (RSA.record,)}
_PROPERTIES: Final = {
    b"header.d": b"example.com",
    b"header.i": b"@example.com",
    b"header.s": b"sel",
    b"header.a": b"ed25519-sha256",
}


def _key_of(bits: int, reason: Reason, ids: tuple[str, ...] = ("V08",), **options: object) -> Row:
    key = RsaKey(bits)
    shown = "".join(f", {name}={value}" for name, value in options.items())
    return Row(
        f"an RSA key of {bits} bits{shown}",
        ids,
        reason,
        signed(tags(key), key),
        {NAME: (key.record,)},
        options={f"limits.{name}": value for name, value in options.items()},
        text=(b"(%d-bit key)" % bits,) if reason is _OK else (),
    )


ALGORITHMS: Final = (
    Row("rsa-sha256", ("V06",), _OK, signed(tags(RSA), RSA), _RSA_ZONE, properties=({b"header.a": b"rsa-sha256"},)),
    *(
        tag_row(f"a={value.decode()}", ("V06",), Reason.UNKNOWN_ALGORITHM, a=value)
        for value in (b"rsa-sha512", b"rsa-md5", b"dsa-sha256", b"ed25519-sha1", b"rsa", b"-", b"ed25519_sha256")
    ),
    Row(
        "rsa-sha1",
        ("V07",),
        Reason.WEAK_ALGORITHM,
        signed(tags(RSA, a=b"rsa-sha1"), RSA, sha1=True),
        _RSA_ZONE,
        properties=({b"header.a": b"rsa-sha1"},),
    ),
    Row(
        "rsa-sha1 with a key record for it",
        ("V07",),
        Reason.WEAK_ALGORITHM,
        signed(tags(RSA, a=b"rsa-sha1"), RSA, sha1=True),
        {NAME: (b"v=DKIM1; h=sha1; p=" + RSA.public,)},
    ),
    Row(
        "SHA-1 called rsa-sha256",
        ("V07", "V10"),
        Reason.BODY_HASH_MISMATCH,
        signed(tags(RSA), RSA, sha1=True),
        _RSA_ZONE,
    ),
    _key_of(512, Reason.KEY_TOO_SMALL),
    _key_of(768, Reason.KEY_TOO_SMALL),
    _key_of(768, _OK, min_rsa_bits=768),
    _key_of(1024, _OK),
    _key_of(1024, Reason.KEY_TOO_SMALL, min_rsa_bits=2048),
    _key_of(4096, _OK),
    _key_of(4096, Reason.KEY_TOO_LARGE, ("V08", "M3"), max_rsa_bits=2048),
)


class _OverTheHeader(EdKey):
    """Signs the header itself, not its hash: what RFC 8463 section 3 is not."""

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data)


class _WithLineEnd(EdKey):
    """Hashes the DKIM-Signature with its final CRLF: what RFC 6376 section 3.7 forbids."""

    def sign(self, data: bytes) -> bytes:
        return super().sign(data + b"\r\n")


_SIGNED: Final = signed()
_SHORT: Final = signed(tags(b=base64.b64encode(b"x" * 63)))

HASHES: Final = (
    Row("Ed25519 over the header itself", ("V26",), Reason.SIGNATURE_MISMATCH, signed(None, _OverTheHeader())),
    Row("the signature hashed with its line end", ("C07",), Reason.SIGNATURE_MISMATCH, signed(None, _WithLineEnd())),
    Row("another key's signature", ("V26",), Reason.SIGNATURE_MISMATCH, signed(None, EdKey(2))),
    Row("b= in lines of 20", ("V09",), _OK, signed(fold=20)),
    Row(
        "b= with spaces inside",
        ("V09", "A04"),
        _OK,
        signed(fold=3).replace(b"\r\n\t", b" "),
        properties=({b"header.b": _SIGNED.partition(b" b=")[2][:8]},),
    ),
    tag_row("b= that is no base64", ("V09",), Reason.BAD_BASE64, b=b"!!!!"),
    tag_row("b= cut inside a group of four", ("V09",), Reason.BAD_BASE64, b=b"QUJDR"),
    tag_row("b= with an octet above 127", ("V09",), Reason.BAD_BASE64, b=b"QUJ\xc4"),
    tag_row("b= with its padding inside", ("V09",), Reason.BAD_BASE64, b=b"QQ==QUJD"),
    Row("b= of 63 octets", ("V09", "M5"), Reason.SIGNATURE_MISMATCH, _SHORT),
    tag_row("b= of 65 octets", ("V09", "M5"), Reason.SIGNATURE_MISMATCH, b=base64.b64encode(b"x" * 65)),
    tag_row("b= of zeros", ("M5",), Reason.SIGNATURE_MISMATCH, b=base64.b64encode(bytes(64))),
    Row(
        "an RSA signature with a zero in front",
        ("V09",),
        Reason.SIGNATURE_MISMATCH,
        signed(tags(RSA, b=base64.b64encode(bytes(257))), RSA),
        _RSA_ZONE,
    ),
    Row("bh= of another body", ("V10",), Reason.BODY_HASH_MISMATCH, signed(tags(bh=b"A" * 43 + b"="))),
    Row("bh= of 20 octets", ("V10",), Reason.BODY_HASH_MISMATCH, signed(tags(bh=base64.b64encode(b"x" * 20)))),
    Row("bh= folded", ("V10",), _OK, signed(tags(bh=_BH[:10] + b"\r\n\t " + _BH[10:]))),
    tag_row("bh= that is no base64", ("V10", "V09"), Reason.BAD_BASE64, bh=b"(hash)"),
    Row(
        "another body",
        ("V10",),
        Reason.BODY_HASH_MISMATCH,
        _SIGNED.replace(b"hungry", b"thirsty"),
        properties=(_PROPERTIES,),
    ),
    Row("another Subject", ("C13",), Reason.SIGNATURE_MISMATCH, _SIGNED.replace(b"dinner", b"supper")),
    Row("another body and a revoked key", ("V10", "D09"), Reason.KEY_REVOKED, _SIGNED + b"x\r\n", {NAME: (b"p=",)}),
    tag_row("c= missing, hashed relaxed", ("V11",), Reason.BODY_HASH_MISMATCH, c=None),
    *(
        Row(f"c={value}: {how[0]} header, {how[1]} body", ("V11",), _OK, signed(tags(c=value.encode()), how=how))
        for value, how in (
            ("simple", ("simple", "simple")),
            ("relaxed", ("relaxed", "simple")),
            ("simple/simple", ("simple", "simple")),
            ("simple/relaxed", ("simple", "relaxed")),
            ("relaxed/simple", ("relaxed", "simple")),
        )
    ),
    Row("c= missing, hashed simple", ("V11",), _OK, signed(tags(c=None), how=("simple", "simple"))),
    *(
        tag_row(f"c={value.decode()}", ("V11",), Reason.UNKNOWN_CANONICALIZATION, c=value)
        for value in (
            b"nowsp",
            b"relaxed/nowsp",
            b"relaxed/",
            b"/relaxed",
            b"relaxed/relaxed/relaxed",
            b"relaxed / simple",
        )
    ),
)


ROWS: Final = (*ALGORITHMS, *HASHES)
