"""One change to the tags of a signature (V01 to V26), signed anew, so that nothing else is wrong with it."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from phoenixdkim.dkim.results import Reason
from tables.by_hand import BODY, NAME, NOW, relaxed_body, signed, tags
from tables.keys import ED, RSA, EdKey, RsaKey
from tables.row import ZONE, Row, Zone

_OK: Final = Reason.VERIFIED
_BH: Final = base64.b64encode(hashlib.sha256(relaxed_body(BODY)).digest())
_RSA_ZONE: Final[Zone] = {NAME: (RSA.record,)}
_PROPERTIES: Final = {
    b"header.d": b"example.com",
    b"header.i": b"@example.com",
    b"header.s": b"sel",
    b"header.a": b"ed25519-sha256",
}


def _tag(name: str, ids: tuple[str, ...], reason: Reason, **changes: bytes | None) -> Row:
    """The usual signature with other tags."""
    more = changes.pop("more", b"") or b""
    return Row(name, ids, reason, signed(tags(more=more, **changes)))


def _raw(name: str, ids: tuple[str, ...], reason: Reason, value: bytes, dialogue: bool = True) -> Row:
    """A signature whose value is just this."""
    return Row(name, ids, reason, signed(value), dialogue=dialogue)


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


SYNTAX: Final = (
    Row("nothing changed", ("V26", "A03"), _OK, signed(), properties=(_PROPERTIES,)),
    _tag("unknown tags", ("V01",), _OK, more=b"xyz=1; D=example.net; y_2=; Z9=a=b"),
    _tag("V= is not v=", ("V01", "V05"), Reason.MISSING_TAG, v=None, more=b"V=1"),
    _tag("a value in capitals, a=", ("V01", "V06"), Reason.UNKNOWN_ALGORITHM, a=b"ED25519-SHA256"),
    _tag("a value in capitals, c=", ("V01", "V11"), Reason.UNKNOWN_CANONICALIZATION, c=b"Relaxed/Relaxed"),
    _tag("a value in capitals, q=", ("V01", "V20"), Reason.UNKNOWN_QUERY_METHOD, q=b"DNS/TXT"),
    _tag("a value in capitals, d=, which is a name of DNS", ("V01", "D01"), _OK, d=b"EXAMPLE.Com"),
    _tag("a value in capitals, s=, which is a name of DNS", ("V01", "D01", "V21"), _OK, s=b"SEL"),
    _tag("d= twice", ("V02",), Reason.DUPLICATE_TAG, more=b"d=example.com"),
    _tag("an unknown tag twice", ("V02",), Reason.DUPLICATE_TAG, more=b"zz=1; zz=1"),
    _tag("t= twice, once with white space", ("V02", "V03"), Reason.DUPLICATE_TAG, more=b"t =1700000000"),
    _tag("two tags that differ in case", ("V01", "V02"), _OK, more=b"zz=1; zZ=1"),
    _raw("b= twice", ("V02",), Reason.DUPLICATE_TAG, tags() + b"; b=QUJD"),
    _raw(
        "white space around names, equal signs and semicolons",
        ("V03",),
        _OK,
        b"\r\n\tv\r\n = \t1 \r\n\t; a=\r\n ed25519-sha256\t;c = relaxed/relaxed;d\t=\texample.com ;s= sel;\r\n"
        b" h \r\n\t=\r\n\tfrom:to:subject:date\r\n ;bh={bh} ; b\r\n\t= {b}\r\n ",
    ),
    _raw("no white space at all", ("V03",), _OK, tags().replace(b" ", b"")),
    _raw("a semicolon at the end", ("V03",), _OK, tags() + b";"),
    _raw("a semicolon and a fold at the end", ("V03",), _OK, tags() + b" ;\r\n\t"),
    _tag("an unknown tag without value", ("V03",), _OK, more=b"zz="),
    _raw("two semicolons together", ("V03",), Reason.TAG_LIST_SYNTAX, tags(more=b"; ")),
    _tag("a word without an equal sign", ("V03",), Reason.TAG_LIST_SYNTAX, more=b"word"),
    _tag("a tag without a name", ("V03",), Reason.TAG_LIST_SYNTAX, more=b"=1"),
    _tag("a tag whose name begins with a digit", ("V03",), Reason.TAG_LIST_SYNTAX, more=b"9a=1"),
    _tag("a tag whose name has a hyphen", ("V03",), Reason.TAG_LIST_SYNTAX, more=b"x-y=1"),
    _tag("a tag whose name has a space inside", ("V03",), Reason.TAG_LIST_SYNTAX, more=b"x y=1"),
    _raw("nothing but spaces", ("V03", "V05"), Reason.MISSING_TAG, b"  \t "),
    _raw("nothing", ("V03", "V05"), Reason.MISSING_TAG, b""),
    _raw("nothing but semicolons", ("V03",), Reason.TAG_LIST_SYNTAX, b" ;;"),
    *(
        _tag(f"no value, {name}=", ("V03", *ids), reason, **{name: b""})
        for name, reason, ids in (
            ("v", Reason.BAD_VERSION, ("V04",)),
            ("a", Reason.UNKNOWN_ALGORITHM, ("V06",)),
            ("c", Reason.UNKNOWN_CANONICALIZATION, ("V11",)),
            ("d", Reason.BAD_DOMAIN, ("V12",)),
            ("s", Reason.BAD_SELECTOR, ("V21",)),
            ("t", Reason.BAD_TIMESTAMP, ("V22",)),
            ("h", Reason.BAD_HEADER_LIST, ("V15",)),
            ("bh", Reason.BAD_BASE64, ("V10",)),
            ("b", Reason.BAD_BASE64, ("V09",)),
            ("i", Reason.BAD_IDENTITY, ("V16",)),
            ("l", Reason.BAD_LENGTH, ("V18",)),
            ("q", Reason.UNKNOWN_QUERY_METHOD, ("V20",)),
            ("x", Reason.BAD_EXPIRATION, ("V23",)),
        )
    ),
    *(
        _tag(f"{name}= missing", ("V05", *(("V04",) if name == "v" else ())), Reason.MISSING_TAG, **{name: None})
        for name in ("v", "a", "b", "bh", "d", "h", "s")
    ),
    *(
        _tag(f"v={value.decode()}", ("V04",), Reason.BAD_VERSION, v=value)
        for value in (b"2", b"0.5", b"01", b"1.0", b"1 1", b"DKIM1")
    ),
    Row(
        "65 tags",
        ("M6",),
        Reason.TOO_MANY_TAGS,
        signed(tags(more=b"; ".join(b"x%d=" % number for number in range(56)))),
    ),
    Row("64 tags", ("M6",), _OK, signed(tags(more=b"; ".join(b"x%d=" % number for number in range(55))))),
    Row(
        "65 tags, 65 allowed",
        ("M6",),
        _OK,
        signed(tags(more=b"; ".join(b"x%d=" % number for number in range(56)))),
        options={"limits.max_tags": 65},
    ),
    _tag("a signature of more than 16384 octets", ("M13",), Reason.SIGNATURE_TOO_LARGE, z=b"a" * 16384),
)

ALGORITHMS: Final = (
    Row("rsa-sha256", ("V06",), _OK, signed(tags(RSA), RSA), _RSA_ZONE, properties=({b"header.a": b"rsa-sha256"},)),
    *(
        _tag(f"a={value.decode()}", ("V06",), Reason.UNKNOWN_ALGORITHM, a=value)
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
    _tag("b= that is no base64", ("V09",), Reason.BAD_BASE64, b=b"!!!!"),
    _tag("b= cut inside a group of four", ("V09",), Reason.BAD_BASE64, b=b"QUJDR"),
    _tag("b= with an octet above 127", ("V09",), Reason.BAD_BASE64, b=b"QUJ\xc4"),
    _tag("b= with its padding inside", ("V09",), Reason.BAD_BASE64, b=b"QQ==QUJD"),
    Row("b= of 63 octets", ("V09", "M5"), Reason.SIGNATURE_MISMATCH, _SHORT),
    _tag("b= of 65 octets", ("V09", "M5"), Reason.SIGNATURE_MISMATCH, b=base64.b64encode(b"x" * 65)),
    _tag("b= of zeros", ("M5",), Reason.SIGNATURE_MISMATCH, b=base64.b64encode(bytes(64))),
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
    _tag("bh= that is no base64", ("V10", "V09"), Reason.BAD_BASE64, bh=b"(hash)"),
    Row(
        "another body",
        ("V10",),
        Reason.BODY_HASH_MISMATCH,
        _SIGNED.replace(b"hungry", b"thirsty"),
        properties=(_PROPERTIES,),
    ),
    Row("another Subject", ("C13",), Reason.SIGNATURE_MISMATCH, _SIGNED.replace(b"dinner", b"supper")),
    Row("another body and a revoked key", ("V10", "D09"), Reason.KEY_REVOKED, _SIGNED + b"x\r\n", {NAME: (b"p=",)}),
    _tag("c= missing, hashed relaxed", ("V11",), Reason.BODY_HASH_MISMATCH, c=None),
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
        _tag(f"c={value.decode()}", ("V11",), Reason.UNKNOWN_CANONICALIZATION, c=value)
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


def _named(
    ids: tuple[str, ...], reason: Reason, selector: bytes, domain: bytes, dialogue: bool = True, name: str = ""
) -> Row:
    """A key at another name. One that is refused is never asked for, and the resolver could not carry most of them."""
    shown = name or (b"s=%s d=%s" % (selector, domain)).decode("ascii", "backslashreplace")
    zone = {selector.lower() + b"._domainkey." + domain.lower(): (ED.record,)} if reason is _OK else ZONE
    return Row(f"name of the key: {shown!r}", ids, reason, signed(tags(s=selector, d=domain)), zone, dialogue=dialogue)


_LONG: Final = b".".join([b"a" * 61] * 3)  # 185 octets

NAMES: Final = (
    _named(("V12",), _OK, b"sel", b"a-b.c1.example.com"),
    _named(("V12",), _OK, b"sel", b"1.2.example"),
    _named(("V12",), _OK, b"sel", b"a_b.example.com"),
    _named(("V12",), _OK, b"sel", b"co.uk", name="a public suffix of two labels"),
    *(
        _named(("V12", "K1"), Reason.BAD_DOMAIN, b"sel", domain, b"\0" not in domain)
        for domain in (
            b"legit.com(.attacker.com",
            b"legit.com)attacker.com",
            b'a"b.com',
            b"legit.com\0.attacker.com",
            b"exam ple.com",
            b"a/b.com",
            b"a\\b.com",
            b"a,b.com",
            b"a:b.com",
            b"a@b.com",
            b"*.example.com",
            b"a\x7fb.com",
            b"a\x01b.com",
            b"<b.com>",
            b"[192.0.2.1]",
        )
    ),
    *(
        _named(("V12", "M7"), Reason.BAD_DOMAIN, b"sel", domain)
        for domain in (b"com", b".", b".example.com", b"example.com.", b"a..com", b"-a.com", b"a-.com")
    ),
    _named(("V12", "M7"), _OK, b"s", b"a" * 63 + b".com", name="a label of 63 octets"),
    _named(("V12", "M7"), Reason.BAD_DOMAIN, b"s", b"a" * 64 + b".com", name="a label of 64 octets"),
    _named(("V12", "M7"), Reason.BAD_DOMAIN, b"s", b"a." * 126 + b"com", name="a domain of 255 octets"),
    _named(("V21", "V12"), _OK, b"s" * 5, _LONG + b"." + b"b" * 50, name="253 octets in all"),
    _named(("V21", "M7"), Reason.BAD_SELECTOR, b"s" * 6, _LONG + b"." + b"b" * 50, name="254 octets in all"),
    _raw("d= with a fold inside", ("V12",), Reason.BAD_DOMAIN, tags(d=b"exam\r\n\tple.com")),
    _named(("V21",), _OK, b"a.b.c", b"example.com"),
    _named(("V21",), _OK, b"_a.b-c_d", b"example.com"),
    _named(("V21",), _OK, b"2026", b"example.com"),
    *(
        _named(("V21", "K5"), Reason.BAD_SELECTOR, selector, b"example.com", b"\0" not in selector)
        for selector in (
            b"a..b",
            b".a",
            b"a.",
            b"a b",
            b"a(b",
            b"a)b",
            b"a*",
            b"a/b",
            b"-a",
            b"a-",
            b"a\0b",
            b'a"b',
            b"a@b",
        )
    ),
    _named(("V21", "M7"), Reason.BAD_SELECTOR, b"a" * 64, b"example.com", name="a selector of 64 octets"),
)

IDENTITIES: Final = (
    *(
        Row(
            f"i={value.decode()}",
            ids,
            _OK,
            signed(tags(i=value)),
            properties=({b"header.d": b"example.com", b"header.i": value},),
        )
        for value, ids in (
            (b"@example.com", ("V16", "A03")),
            (b"joe@example.com", ("V16", "A03")),
            (b"@EXAMPLE.com", ("V16",)),
            (b"joe@sub.example.com", ("V16",)),
            (b"@a.b.Example.Com", ("V16",)),
            (b"joe=2Bx=20y@example.com", ("V17",)),
        )
    ),
    *(
        Row(
            f"i={value.decode()}",
            ("V17", "A05", "K5"),
            _OK,
            signed(tags(i=value)),
            # No quotation mark goes out: a reader that does not know escapes would see two strings.
            properties=({b"header.d": b"example.com", b"header.i": value.replace(b'"', b"?")},),
        )
        for value in (b'"a@b"@example.com', b'"a@evil.example"@example.com')
    ),
    *(
        Row(
            f"i={value.decode()} under d=example.com",
            ("V16", *more),
            Reason.IDENTITY_MISMATCH,
            signed(tags(i=value)),
            properties=({b"header.d": b"example.com"},),
        )
        for value, *more in (
            (b"joe@badexample.com",),
            (b"@example.org",),
            (b"@com", "M7"),
            (b"@example.com.evil.org", "M7"),
            (b"@example-com", "M7"),
            (b"@ample.com", "M7"),
        )
    ),
    Row(
        "agmail.com is not under gmail.com",
        ("V16",),
        Reason.IDENTITY_MISMATCH,
        signed(tags(d=b"gmail.com", i=b"joe@agmail.com")),
        {b"sel._domainkey.gmail.com": (ED.record,)},
    ),
    *(
        _tag(f"i={value.decode('latin-1')!r} is no address", ids, Reason.BAD_IDENTITY, i=value)
        for value, ids in (
            (b"example.com", ("V16",)),
            (b"joe", ("V16",)),
            (b"joe@", ("V16",)),
            (b"@", ("V16",)),
            (b"@example.com.", ("V16", "M7")),
            (b"@.example.com", ("V16", "M7")),
            (b"@sub..example.com", ("V16", "M7")),
            (b"joe@exam ple.com", ("V16",)),
            (b"joe@(x)example.com", ("V16", "K1")),
            (b"joe=40example.com", ("V17",)),
            (b"joe@example=2Ecom", ("V17",)),
            (b"joe@evil.example@example.com", ("V17", "K5")),
            (b'"a"@evil.example"@example.com', ("V17", "K5")),
            (b"j\x01oe@example.com", ("V17",)),
            (b"j\xc3\xb6e@example.com", ("V17", "E01")),
        )
    ),
    _raw("i= with a fold in its local part", ("V17",), _OK, tags(i=b"joe\r\n\t.smith@example.com")),
    _raw("i= with NUL", ("V17", "K5"), Reason.BAD_IDENTITY, tags(i=b"joe\0@example.com"), dialogue=False),
    _tag("i= of 1025 octets", ("V17",), Reason.BAD_IDENTITY, i=b"a" * 1013 + b"@example.com"),
)


def _time(name: str, ids: tuple[str, ...], reason: Reason, drift: int = 300, **changes: bytes | None) -> Row:
    options = {} if drift == 300 else {"limits.clock_drift": drift}
    return Row(name, ids, reason, signed(tags(**changes)), options=options)


_BAD_NUMBERS: Final = (b"-1", b"+1", b"0x1", b"1 2", b"1.5", b"1e9", b"\xb2", b"now", b"9" * 77)

TIMES: Final = (
    _time("t= missing", ("V22",), _OK, t=None),
    _time("t=0", ("V22",), _OK, t=b"0"),
    _time("t= the drift ahead", ("V22",), _OK, t=b"%d" % (NOW + 300)),
    _time("t= a second more than the drift ahead", ("V22",), Reason.FUTURE_TIMESTAMP, t=b"%d" % (NOW + 301)),
    _time("t= as far ahead as a wider drift", ("V22",), _OK, 301, t=b"%d" % (NOW + 301)),
    _time("t= ahead, no drift", ("V22",), Reason.FUTURE_TIMESTAMP, 0, t=b"%d" % (NOW + 1)),
    _time("t= now, no drift", ("V22",), _OK, 0, t=b"%d" % NOW),
    _time("t= of 2^63", ("V22", "M8"), Reason.FUTURE_TIMESTAMP, t=b"%d" % 2**63),
    _time("t= of 76 digits", ("V22", "M8"), Reason.FUTURE_TIMESTAMP, t=b"9" * 76),
    *(
        _time(f"t={value.decode('latin-1')[:20]}", ("V22", "M8"), Reason.BAD_TIMESTAMP, t=value)
        for value in _BAD_NUMBERS
    ),
    _time("x= equal to t=", ("V22", "V23"), Reason.BAD_EXPIRATION, x=b"%d" % NOW),
    _time("x= before t=", ("V22", "V23", "M8"), Reason.BAD_EXPIRATION, x=b"%d" % (NOW - 1)),
    _time("x= a second after t=", ("V22", "V23"), _OK, x=b"%d" % (NOW + 1)),
    _time("x= without t=", ("V23",), _OK, t=None, x=b"%d" % (NOW + 1)),
    _time("x= past by the drift", ("V23",), _OK, t=None, x=b"%d" % (NOW - 300)),
    _time("x= past by a second more than the drift", ("V23",), Reason.EXPIRED, t=None, x=b"%d" % (NOW - 301)),
    _time("x= past by a wider drift", ("V23",), _OK, 301, t=None, x=b"%d" % (NOW - 301)),
    _time("x= now, no drift", ("V23",), _OK, 0, t=None, x=b"%d" % NOW),
    _time("x= a second ago, no drift", ("V23",), Reason.EXPIRED, 0, t=None, x=b"%d" % (NOW - 1)),
    _time("x=0", ("V23",), Reason.EXPIRED, t=None, x=b"0"),
    _time("x= of 12 digits", ("V23",), _OK, x=b"9" * 12),
    _time("x= of 13 digits", ("V23",), _OK, x=b"1" + b"0" * 12),
    _time("x= of 76 digits", ("V23", "M8"), _OK, x=b"9" * 76),
    *(
        _time(f"x={value.decode('latin-1')[:20]}", ("V23", "M8"), Reason.BAD_EXPIRATION, x=value)
        for value in _BAD_NUMBERS
    ),
)

OTHERS: Final = (
    _tag("q=dns/txt", ("V20",), _OK, q=b"dns/txt"),
    _tag("q= with a method that is not known before ours", ("V20",), _OK, q=b"x-other/a : dns/txt"),
    _tag("q= with a method that is not known after ours", ("V20",), _OK, q=b"dns/txt\r\n\t:x-other"),
    *(
        _tag(f"q={value.decode()}", ("V20",), Reason.UNKNOWN_QUERY_METHOD, q=value)
        for value in (b"http", b"dns", b"dns/txt/x", b"dns/ptr:http", b":")
    ),
    _tag("z= that tells another header", ("V24",), _OK, z=b"From:eve=40evil.example|To:x|Subject:y"),
    _tag("z= that can't be read", ("V24",), _OK, z=b"|=ZZ|||"),
    Row(
        "z= that tells the header as it was before a change",
        ("V24",),
        Reason.SIGNATURE_MISMATCH,
        signed(tags(z=b"Subject:Is=20dinner=20ready?")).replace(b"Subject: Is dinner", b"Subject: Is supper"),
    ),
    _tag("r=y of RFC 6651", ("V25",), _OK, r=b"y"),
    _tag("atps and atpsh of RFC 6541", ("V25",), _OK, more=b"atps=example.net; atpsh=none"),
    _tag("atps that can't be read", ("V25",), _OK, more=b"atps=(; atpsh="),
)

ROWS: Final = (*SYNTAX, *ALGORITHMS, *HASHES, *NAMES, *IDENTITIES, *TIMES, *OTHERS)
