"""One change to the tags of a signature: their syntax, times and the rest (V01 to V05, V20, V22 to V25)."""

from __future__ import annotations

from typing import Final

from phoenixdkim.dkim.results import Reason
from tables.by_hand import NOW, signed, tags
from tables.row import Row
from tables.value_rows import raw_row, tag_row

_OK: Final = Reason.VERIFIED
_PROPERTIES: Final = {
    b"header.d": b"example.com",
    b"header.i": b"@example.com",
    b"header.s": b"sel",
    b"header.a": b"ed25519-sha256",
}

SYNTAX: Final = (
    Row("nothing changed", ("V26", "A03"), _OK, signed(), properties=(_PROPERTIES,)),
    tag_row("unknown tags", ("V01",), _OK, more=b"xyz=1; D=example.net; y_2=; Z9=a=b"),
    tag_row("V= is not v=", ("V01", "V05"), Reason.MISSING_TAG, v=None, more=b"V=1"),
    tag_row("a value in capitals, a=", ("V01", "V06"), Reason.UNKNOWN_ALGORITHM, a=b"ED25519-SHA256"),
    tag_row("a value in capitals, c=", ("V01", "V11"), Reason.UNKNOWN_CANONICALIZATION, c=b"Relaxed/Relaxed"),
    tag_row("a value in capitals, q=", ("V01", "V20"), Reason.UNKNOWN_QUERY_METHOD, q=b"DNS/TXT"),
    tag_row("a value in capitals, d=, which is a name of DNS", ("V01", "D01"), _OK, d=b"EXAMPLE.Com"),
    tag_row("a value in capitals, s=, which is a name of DNS", ("V01", "D01", "V21"), _OK, s=b"SEL"),
    tag_row("d= twice", ("V02",), Reason.DUPLICATE_TAG, more=b"d=example.com"),
    tag_row("an unknown tag twice", ("V02",), Reason.DUPLICATE_TAG, more=b"zz=1; zz=1"),
    tag_row("t= twice, once with white space", ("V02", "V03"), Reason.DUPLICATE_TAG, more=b"t =1700000000"),
    tag_row("two tags that differ in case", ("V01", "V02"), _OK, more=b"zz=1; zZ=1"),
    raw_row("b= twice", ("V02",), Reason.DUPLICATE_TAG, tags() + b"; b=QUJD"),
    raw_row(
        "white space around names, equal signs and semicolons",
        ("V03",),
        _OK,
        b"\r\n\tv\r\n = \t1 \r\n\t; a=\r\n ed25519-sha256\t;c = relaxed/relaxed;d\t=\texample.com ;s= sel;\r\n"
        b" h \r\n\t=\r\n\tfrom:to:subject:date\r\n ;bh={bh} ; b\r\n\t= {b}\r\n ",
    ),
    raw_row("no white space at all", ("V03",), _OK, tags().replace(b" ", b"")),
    raw_row("a semicolon at the end", ("V03",), _OK, tags() + b";"),
    raw_row("a semicolon and a fold at the end", ("V03",), _OK, tags() + b" ;\r\n\t"),
    tag_row("an unknown tag without value", ("V03",), _OK, more=b"zz="),
    raw_row("two semicolons together", ("V03",), Reason.TAG_LIST_SYNTAX, tags(more=b"; ")),
    tag_row("a word without an equal sign", ("V03",), Reason.TAG_LIST_SYNTAX, more=b"word"),
    tag_row("a tag without a name", ("V03",), Reason.TAG_LIST_SYNTAX, more=b"=1"),
    tag_row("a tag whose name begins with a digit", ("V03",), Reason.TAG_LIST_SYNTAX, more=b"9a=1"),
    tag_row("a tag whose name has a hyphen", ("V03",), Reason.TAG_LIST_SYNTAX, more=b"x-y=1"),
    tag_row("a tag whose name has a space inside", ("V03",), Reason.TAG_LIST_SYNTAX, more=b"x y=1"),
    raw_row("nothing but spaces", ("V03", "V05"), Reason.MISSING_TAG, b"  \t "),
    raw_row("nothing", ("V03", "V05"), Reason.MISSING_TAG, b""),
    raw_row("nothing but semicolons", ("V03",), Reason.TAG_LIST_SYNTAX, b" ;;"),
    *(
        tag_row(f"no value, {name}=", ("V03", *ids), reason, **{name: b""})
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
        tag_row(f"{name}= missing", ("V05", *(("V04",) if name == "v" else ())), Reason.MISSING_TAG, **{name: None})
        for name in ("v", "a", "b", "bh", "d", "h", "s")
    ),
    *(
        tag_row(f"v={value.decode()}", ("V04",), Reason.BAD_VERSION, v=value)
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
    tag_row("a signature of more than 16384 octets", ("M13",), Reason.SIGNATURE_TOO_LARGE, z=b"a" * 16384),
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
    tag_row("q=dns/txt", ("V20",), _OK, q=b"dns/txt"),
    tag_row("q= with a method that is not known before ours", ("V20",), _OK, q=b"x-other/a : dns/txt"),
    tag_row("q= with a method that is not known after ours", ("V20",), _OK, q=b"dns/txt\r\n\t:x-other"),
    *(
        tag_row(f"q={value.decode()}", ("V20",), Reason.UNKNOWN_QUERY_METHOD, q=value)
        for value in (b"http", b"dns", b"dns/txt/x", b"dns/ptr:http", b":")
    ),
    tag_row("z= that tells another header", ("V24",), _OK, z=b"From:eve=40evil.example|To:x|Subject:y"),
    tag_row("z= that can't be read", ("V24",), _OK, z=b"|=ZZ|||"),
    Row(
        "z= that tells the header as it was before a change",
        ("V24",),
        Reason.SIGNATURE_MISMATCH,
        signed(tags(z=b"Subject:Is=20dinner=20ready?")).replace(b"Subject: Is dinner", b"Subject: Is supper"),
    ),
    tag_row("r=y of RFC 6651", ("V25",), _OK, r=b"y"),
    tag_row("atps and atpsh of RFC 6541", ("V25",), _OK, more=b"atps=example.net; atpsh=none"),
    tag_row("atps that can't be read", ("V25",), _OK, more=b"atps=(; atpsh="),
)

ROWS: Final = (*SYNTAX, *TIMES, *OTHERS)
