"""One change to the tags of a signature (V01 to V26)."""

from __future__ import annotations

from typing import Final

from phoenixdkim.dkim.results import Reason
from tables.by_hand import NAME, NOW, signed, tags
from tables.keys import ED, RSA, RsaKey
from tables.row import Row

_OK: Final = Reason.VERIFIED
_PROPERTIES: Final = {
    b"header.d": b"example.com",
    b"header.i": b"@example.com",
    b"header.s": b"sel",
    b"header.a": b"ed25519-sha256",
}

ROWS: Final = (
    Row("nothing changed", ("V26", "A03"), _OK, signed(), properties=(_PROPERTIES,)),
    Row("unknown tags", ("V01",), _OK, signed(tags(more=b"xyz=1; D=example.net; y_2="))),
    Row("an upper-case V", ("V01", "V05"), Reason.MISSING_TAG, signed(tags(v=None, more=b"V=1"))),
    Row("d= twice", ("V02",), Reason.DUPLICATE_TAG, signed(tags(more=b"d=example.com"))),
    Row("an unknown tag twice", ("V02",), Reason.DUPLICATE_TAG, signed(tags(more=b"zz=1; zz=1"))),
    Row("v= missing", ("V04", "V05"), Reason.MISSING_TAG, signed(tags(v=None))),
    Row("v=2", ("V04",), Reason.BAD_VERSION, signed(tags(v=b"2"))),
    Row("v=0.5", ("V04",), Reason.BAD_VERSION, signed(tags(v=b"0.5"))),
    Row("rsa-sha256", ("V06",), _OK, signed(tags(RSA), RSA), {NAME: (RSA.record,)}),
    Row(
        "rsa-sha1",
        ("V07",),
        Reason.WEAK_ALGORITHM,
        signed(tags(RSA, a=b"rsa-sha1"), RSA, sha1=True),
        {NAME: (RSA.record,)},
        properties=({b"header.a": b"rsa-sha1"},),
    ),
    Row(
        "an RSA key of 768 bits",
        ("V08",),
        Reason.KEY_TOO_SMALL,
        signed(tags(RSA), RsaKey(768)),
        {NAME: (RsaKey(768).record,)},
    ),
    Row(
        "an RSA key of 1024 bits",
        ("V08",),
        _OK,
        signed(tags(RSA), RsaKey(1024)),
        {NAME: (RsaKey(1024).record,)},
        text=(b"(1024-bit key)",),
    ),
    Row("c= missing means simple for both", ("V11",), _OK, signed(tags(c=None), how=("simple", "simple"))),
    Row("c=relaxed means a simple body", ("V11",), _OK, signed(tags(c=b"relaxed"), how=("relaxed", "simple"))),
    Row("h= without From", ("V13",), Reason.FROM_NOT_SIGNED, signed(tags(h=b"to:date"), names=(b"to", b"date"))),
    Row("i= below d=", ("V16",), _OK, signed(tags(i=b"joe@sub.example.com"))),
    Row("i= beside d=", ("V16",), Reason.IDENTITY_MISMATCH, signed(tags(i=b"joe@badexample.com"))),
    Row("t= a second too far ahead", ("V22",), Reason.FUTURE_TIMESTAMP, signed(tags(t=b"%d" % (NOW + 301)))),
    Row("x= past by more than the drift", ("V23",), Reason.EXPIRED, signed(tags(t=None, x=b"%d" % (NOW - 301)))),
    Row(
        "x= past, a wider drift",
        ("V23",),
        _OK,
        signed(tags(t=None, x=b"%d" % (NOW - 301))),
        options={"limits.clock_drift": 301},
    ),
    Row("key of another type", ("D07",), Reason.KEY_TYPE_MISMATCH, signed(), {NAME: (RSA.record,)}),
    Row("two records, one ours", ("D03",), _OK, signed(), {NAME: (RSA.record, ED.record)}),
)
