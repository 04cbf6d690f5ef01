"""One change to the key record (D06 to D16), or to what DNS answers (D01 to D05); the message is the same."""

from __future__ import annotations

import base64
from typing import Final

from phoenixdkim.dkim.results import Reason, Result
from tables.by_hand import HEAD, NAME, field, message, signed, tags
from tables.keys import ED, RSA, EdKey, RsaKey, der, der_integer
from tables.row import NoRecord, Record, Row, Zone

_OK: Final = Reason.VERIFIED
_ED_SIGNED: Final = signed()
_RSA_SIGNED: Final = signed(tags(RSA), RSA)
_SUB: Final = signed(tags(i=b"joe@sub.example.com"))
_P: Final = b"p=" + ED.public


def _ed(
    name: str,
    ids: tuple[str, ...],
    reason: Reason,
    *records: Record,
    signed_as: bytes = _ED_SIGNED,
    text: tuple[bytes, ...] = (),
) -> Row:
    return Row(name, ids, reason, signed_as, {NAME: records}, text=text)


def _rsa(name: str, ids: tuple[str, ...], reason: Reason, public: bytes, before: bytes = b"v=DKIM1; k=rsa; ") -> Row:
    return Row(name, ids, reason, _RSA_SIGNED, {NAME: (before + b"p=" + public,)})


def _b64(data: bytes) -> bytes:
    return base64.b64encode(data)


TAGS: Final = (
    _ed("no v= in the record", ("D06",), _OK, b"k=ed25519; " + _P),
    _ed("white space around v= and its value", ("D06", "V03"), _OK, b" v = DKIM1 ; k = ed25519 ;\t" + _P + b" ; "),
    _ed("v= after k=", ("D06",), Reason.KEY_VERSION, b"k=ed25519; v=DKIM1; " + _P),
    *(
        _ed(f"v={value.decode()} in the record", ("D06",), Reason.KEY_VERSION, b"v=%s; k=ed25519; %s" % (value, _P))
        for value in (b"DKIM2", b"dkim1", b"DKIM", b"1", b"", b"DKIM1 DKIM1")
    ),
    Row("no k= in a record with an RSA key", ("D07",), _OK, _RSA_SIGNED, {NAME: (b"v=DKIM1; p=" + RSA.public,)}),
    _ed("no k= in a record with an Ed25519 key", ("D07",), Reason.KEY_MALFORMED, b"v=DKIM1; " + _P),
    *(
        _ed(f"k={value.decode()} in the record", ("D07",), Reason.KEY_TYPE_UNKNOWN, b"k=%s; %s" % (value, _P))
        for value in (b"dsa", b"", b"ed448", b"ed25519-sha256", b"ed25519:rsa")
    ),
    _ed("k= in capitals", ("D07", "V01"), Reason.KEY_TYPE_UNKNOWN, b"k=Ed25519; " + _P),
    _ed("an RSA key for an Ed25519 signature", ("D07",), Reason.KEY_TYPE_MISMATCH, RSA.record),
    Row("an Ed25519 key for an RSA signature", ("D07",), Reason.KEY_TYPE_MISMATCH, _RSA_SIGNED, {NAME: (ED.record,)}),
    *(
        _ed(f"h={value.decode()} in the record", ids, reason, b"k=ed25519; h=%s; %s" % (value, _P))
        for value, reason, ids in (
            (b"sha256", _OK, ("D08",)),
            (b"sha1:sha256", _OK, ("D08",)),
            (b"sha256 : x-other", _OK, ("D08",)),
            (b"sha1", Reason.KEY_HASH_NOT_ALLOWED, ("D08",)),
            (b"sha1:sha512", Reason.KEY_HASH_NOT_ALLOWED, ("D08",)),
            (b"", Reason.KEY_HASH_NOT_ALLOWED, ("D08", "V03")),
            (b"SHA256", Reason.KEY_HASH_NOT_ALLOWED, ("D08", "V01")),
            (b"sha 256", Reason.KEY_HASH_NOT_ALLOWED, ("D08",)),
            (b"sha2560", Reason.KEY_HASH_NOT_ALLOWED, ("D08",)),
        )
    ),
    _ed("p= without a value", ("D09",), Reason.KEY_REVOKED, b"v=DKIM1; k=ed25519; p="),
    _ed("p= of white space", ("D09",), Reason.KEY_REVOKED, b"v=DKIM1; k=ed25519; p= \t ; n=x"),
    _ed("p= missing", ("D09",), Reason.KEY_RECORD_SYNTAX, b"v=DKIM1; k=ed25519"),
    _ed("P= is not p=", ("D09", "V01"), Reason.KEY_RECORD_SYNTAX, b"v=DKIM1; k=ed25519; P=" + ED.public),
    _ed("p= with white space inside", ("D09",), _OK, b"k=ed25519; p=" + ED.public[:9] + b" \t" + ED.public[9:]),
    *(
        _ed(f"s={value.decode()} in the record", ids, reason, b"k=ed25519; s=%s; %s" % (value, _P))
        for value, reason, ids in (
            (b"*", _OK, ("D10",)),
            (b"email", _OK, ("D10",)),
            (b"tlsrpt : email", _OK, ("D10",)),
            (b"x:*", _OK, ("D10",)),
            (b"tlsrpt", Reason.KEY_SERVICE_MISMATCH, ("D10",)),
            (b"", Reason.KEY_SERVICE_MISMATCH, ("D10", "V03")),
            (b"EMAIL", Reason.KEY_SERVICE_MISMATCH, ("D10", "V01")),
            (b"emails", Reason.KEY_SERVICE_MISMATCH, ("D10",)),
        )
    ),
    _ed("t=s, i= of the domain itself", ("D11",), _OK, ED.record + b"; t=s"),
    _ed(
        "t=s, i= of the domain in capitals",
        ("D11",),
        _OK,
        ED.record + b"; t=s",
        signed_as=signed(tags(i=b"@EXAMPLE.COM")),
    ),
    _ed("t=s, i= of a sub-domain", ("D11",), Reason.KEY_SUBDOMAIN_FORBIDDEN, ED.record + b"; t=s", signed_as=_SUB),
    _ed(
        "t=y:s, i= of a sub-domain", ("D11",), Reason.KEY_SUBDOMAIN_FORBIDDEN, ED.record + b"; t=y : s", signed_as=_SUB
    ),
    _ed("t=y", ("D12",), _OK, ED.record + b"; t=y", text=(b"(256-bit key, testing)",)),
    _ed(
        "t=y and another Subject",
        ("D12",),
        Reason.SIGNATURE_MISMATCH,
        ED.record + b"; t=y",
        signed_as=_ED_SIGNED.replace(b"dinner", b"supper"),
    ),
    _ed(
        "t= with flags that nobody knows, i= of a sub-domain",
        ("D11", "D13"),
        _OK,
        ED.record + b"; t=x:S:ss",
        signed_as=_SUB,
    ),
    _ed("t= without a value", ("D11", "V03"), _OK, ED.record + b"; t=", signed_as=_SUB),
    _ed("n= and unknown tags", ("D13", "V01"), _OK, b"v=DKIM1; n=a note, =20 and more; zz=1; k=ed25519; " + _P),
    _ed("g= of RFC 4871 that does not match", ("D13",), _OK, b"v=DKIM1; g=nobody; k=ed25519; " + _P),
    _ed("g= of RFC 4871 without a value", ("D13",), _OK, b"v=DKIM1; g=; k=ed25519; " + _P),
    _ed("n= with octets above 127", ("D13", "E04"), _OK, b"v=DKIM1; n=\xff\xfe\xc3\xa4; k=ed25519; " + _P),
    _ed("a tag twice in the record", ("V02",), Reason.KEY_RECORD_SYNTAX, ED.record + b"; k=ed25519"),
    _ed("an unknown tag twice in the record", ("V02",), Reason.KEY_RECORD_SYNTAX, ED.record + b"; z=1; z=2"),
    _ed("a record that ends with a semicolon", ("V03",), _OK, ED.record + b";"),
    _ed("a record with two semicolons together", ("V03",), Reason.KEY_RECORD_SYNTAX, b"v=DKIM1;; k=ed25519; " + _P),
)

KEYS: Final = (
    *(
        _ed(f"an Ed25519 key of {len(key)} octets", ("D14",), Reason.KEY_MALFORMED, b"k=ed25519; p=" + _b64(key))
        for key in (
            ED.raw[:31],
            ED.raw + b"\0",
            ED.raw * 2,
            b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00" + ED.raw,
        )
    ),
    _ed("an Ed25519 key of 32 octets, another one", ("D14",), Reason.SIGNATURE_MISMATCH, EdKey(2).record),
    _ed("an Ed25519 key of order 1", ("M5",), Reason.KEY_MALFORMED, b"k=ed25519; p=" + _b64(b"\1" + bytes(31))),
    _ed("an Ed25519 key of order 4", ("M5",), Reason.KEY_MALFORMED, b"k=ed25519; p=" + _b64(bytes(32))),
    _rsa("a bare RSAPublicKey", ("D15",), _OK, _b64(RSA.bare)),
    _rsa("a SubjectPublicKeyInfo without k=", ("D15", "D07"), _OK, RSA.public, b""),
    _rsa("another RSA key of the same size", ("D15",), Reason.SIGNATURE_MISMATCH, _b64(RsaKey(2048, 3).bare)),
    _rsa("an RSA key in DER with an octet behind", ("D16", "M4"), Reason.KEY_MALFORMED, _b64(RSA.spki + b"\0")),
    _rsa("an RSA key in DER, cut short", ("D16", "M4"), Reason.KEY_MALFORMED, _b64(RSA.spki[:-1])),
    _rsa("an RSA key of DER with indefinite length", ("D16", "M4"), Reason.KEY_MALFORMED, _b64(b"\x30\x80" + RSA.bare)),
    _rsa(
        "a key of another algorithm in DER",
        ("D16", "M4"),
        Reason.KEY_MALFORMED,
        _b64(der(0x30, der(0x30, bytes.fromhex("06072a8648ce380401")) + der(0x03, b"\0" + RSA.bare))),
    ),
    *(
        _rsa(
            f"an RSA key with {shown}",
            ("D16", "M4", "M3"),
            reason,
            _b64(der(0x30, der_integer(modulus) + der_integer(exponent))),
        )
        for shown, modulus, exponent, reason in (
            ("exponent 1", RSA.modulus, 1, Reason.KEY_EXPONENT),
            ("an even exponent", RSA.modulus, 65536, Reason.KEY_EXPONENT),
            ("an exponent of 33 bits", RSA.modulus, 2**32 + 1, Reason.KEY_EXPONENT),
            ("an even modulus", RSA.modulus - 1, 65537, Reason.KEY_MALFORMED),
            ("modulus 0", 0, 65537, Reason.KEY_TOO_SMALL),
            ("a modulus of 8193 bits", 2**8192 + 1, 65537, Reason.KEY_TOO_LARGE),
        )
    ),
    _ed("p= that is no base64", ("D16",), Reason.KEY_MALFORMED, b"v=DKIM1; k=ed25519; p=!!!!"),
    _ed("p= cut inside a group of four", ("D16",), Reason.KEY_MALFORMED, b"v=DKIM1; k=ed25519; p=" + ED.public[:-1]),
    _ed("p= with octets above 127", ("D16", "E04"), Reason.KEY_MALFORMED, b"v=DKIM1; k=ed25519; p=\xff\xfe"),
    _ed("an empty record", ("D16",), Reason.KEY_RECORD_SYNTAX, b""),
    _ed("a record of spaces", ("D16", "V03"), Reason.KEY_RECORD_SYNTAX, b"   "),
    _ed("words", ("D16",), Reason.KEY_RECORD_SYNTAX, b"this domain sends no mail"),
    _ed("an SPF record", ("D16",), Reason.KEY_VERSION, b"v=spf1 include:example.net -all"),
    _ed("a record with an escaped semicolon", ("D16",), Reason.KEY_VERSION, b"v=DKIM1\\; k=ed25519\\; " + _P),
    _ed("a record in quotation marks", ("D16",), Reason.KEY_RECORD_SYNTAX, b'"' + ED.record + b'"'),
    _ed("octets that are no text", ("D16", "E04"), Reason.KEY_RECORD_SYNTAX, bytes(range(128, 256))),
    _ed("a record of more than 4096 octets", ("M3",), Reason.KEY_RECORD_TOO_LARGE, ED.record + b"; n=" + b"x" * 4096),
)

_EIGHT: Final = tuple(b"v=DKIM1; n=%d; k=ed25519; p=%s" % (seed, EdKey(seed).public) for seed in range(2, 9))
_LOWER: Final[Zone] = {b"sel._domainkey.example.com": (ED.record,)}

_SECOND: Final = field(tags(s=b"other"))
_BOTH: Final = message(field(tags()), _SECOND, *HEAD)
_OTHER: Final = b"other._domainkey.example.com"

ANSWERS: Final = (
    Row("names of DNS in capitals", ("D01",), _OK, signed(tags(s=b"SeL", d=b"Example.COM")), _LOWER),
    Row(
        "a selector with dots",
        ("D01", "V21"),
        _OK,
        signed(tags(s=b"a.b")),
        {b"a.b._domainkey.example.com": (ED.record,)},
    ),
    Row("a key at another selector", ("D01", "D04"), Reason.NO_KEY, _ED_SIGNED, {_OTHER: (ED.record,)}),
    Row("a key at the domain itself", ("D01", "D04"), Reason.NO_KEY, _ED_SIGNED, {b"example.com": (ED.record,)}),
    _ed("a record in two strings, cut inside p=", ("D02",), _OK, (ED.record[:40], ED.record[40:])),
    _ed(
        "a record in two strings, cut inside a tag's name",
        ("D02",),
        _OK,
        (b"v=DKIM1; k=ed25519; ", b"p", b"=" + ED.public),
    ),
    _ed("a record in strings of one octet", ("D02",), _OK, tuple(bytes((octet,)) for octet in ED.record)),
    _ed("a record with empty strings", ("D02",), _OK, (b"", ED.record[:30], b"", ED.record[30:], b"")),
    Row("an RSA record in three strings", ("D02",), _OK, _RSA_SIGNED, {NAME: (RSA.record,)}),
    _ed("an SPF record beside the key", ("D03",), _OK, b"v=spf1 -all", ED.record),
    _ed("the key before an SPF record", ("D03",), _OK, ED.record, b"v=spf1 -all"),
    _ed("a key of another type beside ours", ("D03",), _OK, RSA.record, ED.record),
    _ed("another key of our type before ours", ("D03",), _OK, EdKey(2).record, ED.record),
    _ed("another key of our type behind ours", ("D03",), _OK, ED.record, EdKey(2).record),
    _ed("a revoked key beside ours", ("D03",), _OK, b"v=DKIM1; p=", ED.record),
    _ed("a strict key before one that is not", ("D03", "D11"), _OK, ED.record + b"; t=s", ED.record, signed_as=_SUB),
    _ed("two keys, neither ours", ("D03",), Reason.SIGNATURE_MISMATCH, EdKey(2).record, EdKey(3).record),
    _ed("two records, neither usable", ("D03",), Reason.KEY_RECORD_SYNTAX, b"v=DKIM1; p=", b"words"),
    _ed(
        "two records, neither usable, the other way round", ("D03",), Reason.KEY_RECORD_SYNTAX, b"words", b"v=DKIM1; p="
    ),
    _ed("eight keys, the last ours", ("D03",), _OK, *_EIGHT, ED.record),
    _ed("nine keys, the last ours", ("D03",), Reason.MULTIPLE_KEY_RECORDS, *_EIGHT, EdKey(9).record, ED.record),
    Row(
        "no such name",
        ("D04",),
        Reason.NO_KEY,
        _ED_SIGNED,
        {NAME: NoRecord.ABSENT},
        properties=({b"header.s": b"sel"},),
    ),
    Row(
        "no such name, and another body", ("D04", "V10"), Reason.NO_KEY, _ED_SIGNED + b"x\r\n", {NAME: NoRecord.ABSENT}
    ),
    Row("a name without TXT records", ("D04",), Reason.NO_KEY, _ED_SIGNED, {NAME: ()}),
    Row(
        "a server that can't be had",
        ("D05",),
        Reason.DNS_UNAVAILABLE,
        _ED_SIGNED,
        {NAME: NoRecord.UNAVAILABLE},
        properties=({b"header.s": b"sel", b"header.d": b"example.com"},),
    ),
    Row(
        "a server that can't be had, and another body",
        ("D05",),
        Reason.DNS_UNAVAILABLE,
        _ED_SIGNED + b"x\r\n",
        {NAME: NoRecord.UNAVAILABLE},
    ),
    Row(
        "of two keys one can't be had",
        ("D05", "A03"),
        _OK,
        _BOTH,
        {NAME: NoRecord.UNAVAILABLE, _OTHER: (ED.record,)},
        verdicts=((Result.TEMPERROR, Reason.DNS_UNAVAILABLE), (Result.PASS, _OK)),
    ),
    Row(
        "of two keys one can't be had, the other is not there",
        ("D04", "D05", "A03"),
        Reason.DNS_UNAVAILABLE,
        _BOTH,
        {_OTHER: NoRecord.UNAVAILABLE},
        verdicts=((Result.PERMERROR, Reason.NO_KEY), (Result.TEMPERROR, Reason.DNS_UNAVAILABLE)),
    ),
)

ROWS: Final = (*TAGS, *KEYS, *ANSWERS)
