from __future__ import annotations

import pytest

from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm, Reason
from phoenixdkim.dkim.signature import Signature, SignatureError, parse_signature
from signed_mail import LIMITS, NOW

VALID = {
    "v": "1",
    "a": "rsa-sha256",
    "d": "Example.com",
    "s": "sel.One",
    "h": "From : to:subject",
    "bh": "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=",
    "b": "QUJD\r\n\tREVG",
}


def read(eai: bool = False, limits: Limits = LIMITS, **changes: str | bytes | None) -> Signature:
    tags: dict[str, str | bytes | None] = {**VALID, **changes}
    text = b"; ".join(
        name.encode() + b"=" + (value if isinstance(value, bytes) else value.encode())
        for name, value in tags.items()
        if value is not None
    )
    return parse_signature(HeaderField(b"DKIM-Signature", b" " + text), limits, NOW, eai)


def test_defaults() -> None:
    found = read()
    assert found.algorithm is Algorithm.RSA_SHA256
    assert (found.header_canon, found.body_canon) == (Canonicalization.SIMPLE, Canonicalization.SIMPLE)  # V11
    assert found.key_name == b"sel.one._domainkey.example.com"  # D01, V21
    assert found.signed == (b"from", b"to", b"subject")  # V13
    assert (found.identity, found.strict_identity, found.length) == (b"@Example.com", True, None)  # V16
    assert (found.b, found.signature) == (b"QUJDREVG", b"ABCDEF")  # V09


@pytest.mark.parametrize(
    "changes",
    [
        {"x-unknown": None, "r": "y", "atps": "example.net", "atpsh": "none", "z": "From:x|y", "zz": ""},  # V24, V25
        {"a": "ed25519-sha256"},
        {"c": "relaxed"},
        {"c": "simple/relaxed"},
        {"h": "from:from:from:x-absent"},  # V14, V15
        {"h": "to : \r\n\t FROM"},
        {"i": "@example.com"},
        {"i": "joe=2Bx@Sub.EXAMPLE.com"},  # V16, V17
        {"q": "dns/txt"},
        {"q": "x-other : dns/txt"},
        {"l": "0"},
        {"l": "9" * 76},
        {"t": str(NOW + 300)},
        {"t": "0", "x": "1" + "0" * 70},  # V23, M8
        {"x": str(NOW - 300)},  # the drift
        {"s": "_a.b-c"},
        {"d": "a_b.example"},
    ],
)
def test_accepted(changes: dict[str, str | None]) -> None:
    read(**changes)


@pytest.mark.parametrize(
    "changes, reason",
    [
        *(({name: None}, Reason.MISSING_TAG) for name in VALID),  # V04, V05
        ({"v": "2"}, Reason.BAD_VERSION),
        ({"v": "0.5"}, Reason.BAD_VERSION),
        ({"v": "01"}, Reason.BAD_VERSION),
        ({"v": ""}, Reason.BAD_VERSION),
        ({"a": "rsa-sha1"}, Reason.WEAK_ALGORITHM),  # V07
        ({"a": "rsa-sha512"}, Reason.UNKNOWN_ALGORITHM),  # V06
        ({"a": "rsa-md5"}, Reason.UNKNOWN_ALGORITHM),
        ({"a": "dsa-sha256"}, Reason.UNKNOWN_ALGORITHM),
        ({"a": "other"}, Reason.UNKNOWN_ALGORITHM),
        ({"a": ""}, Reason.UNKNOWN_ALGORITHM),
        ({"a": "RSA-SHA256"}, Reason.UNKNOWN_ALGORITHM),  # V01
        ({"c": "Relaxed"}, Reason.UNKNOWN_CANONICALIZATION),  # V01
        ({"q": "DNS/TXT"}, Reason.UNKNOWN_QUERY_METHOD),  # V01
        ({"q": "dns"}, Reason.UNKNOWN_QUERY_METHOD),
        ({"c": "nowsp"}, Reason.UNKNOWN_CANONICALIZATION),  # V11
        ({"c": "relaxed/nowsp"}, Reason.UNKNOWN_CANONICALIZATION),
        ({"c": "relaxed/"}, Reason.UNKNOWN_CANONICALIZATION),
        ({"c": ""}, Reason.UNKNOWN_CANONICALIZATION),
        ({"c": b"\xff"}, Reason.UNKNOWN_CANONICALIZATION),
        ({"b": "A"}, Reason.BAD_BASE64),  # V09
        ({"b": "!!!!"}, Reason.BAD_BASE64),
        ({"b": b"\xff\xff\xff\xff"}, Reason.BAD_BASE64),
        ({"b": ""}, Reason.BAD_BASE64),
        ({"bh": "="}, Reason.BAD_BASE64),
        ({"b": "QUJDREVG="}, Reason.BAD_BASE64),
        ({"b": "QUJDREU"}, Reason.BAD_BASE64),
        ({"b": "QUJD\nREVG"}, Reason.TAG_LIST_SYNTAX),  # a bare LF is no folding white space
        ({"b": "QUJD\n REVG"}, Reason.TAG_LIST_SYNTAX),
        ({"b": "QUJD\rREVG"}, Reason.TAG_LIST_SYNTAX),
        ({"h": "from:\r\r\n to"}, Reason.TAG_LIST_SYNTAX),
        *(
            ({"d": value}, Reason.BAD_DOMAIN)  # V12, K1, K5, M7
            for value in (
                "legit.com(.attacker.com",
                "a.com)",
                'a".com',
                "a.com\0.b.com",
                "exam ple.com",
                "exam\r\n\tple.com",
                "a/b.com",
                "a,b.com",
                "a@b.com",
                "com",
                "",
                ".",
                ".com",
                "example.com.",
                "a..com",
                "-a.com",
                "a-.com",
                "a" * 64 + ".com",
                "a." * 126 + "com",
                "exämple.com",  # E01
                b"\xff.com",
            )
        ),
        *(({"s": value}, Reason.BAD_SELECTOR) for value in ("", "a..b", "a b", "a(b", ".a", "a\0", "ä", "a*")),  # V21
        ({"s": "a" * 60 + ("." + "b" * 60) * 3}, Reason.BAD_SELECTOR),
        ({"h": "to:subject"}, Reason.FROM_NOT_SIGNED),  # V13
        ({"h": "xfrom:from2"}, Reason.FROM_NOT_SIGNED),
        ({"h": ""}, Reason.BAD_HEADER_LIST),  # V15
        ({"h": "from::to"}, Reason.BAD_HEADER_LIST),
        ({"h": "fr om:to"}, Reason.BAD_HEADER_LIST),
        ({"h": "from:t\0o"}, Reason.BAD_HEADER_LIST),
        ({"h": b"from:\xff"}, Reason.BAD_HEADER_LIST),
        ({"h": "from" + ":a" * 256}, Reason.TOO_MANY_SIGNED_FIELDS),  # M6
        ({"i": "joe@gmail.com"}, Reason.IDENTITY_MISMATCH),  # V16
        ({"i": "@badexample.com"}, Reason.IDENTITY_MISMATCH),
        ({"i": "@com"}, Reason.IDENTITY_MISMATCH),
        ({"i": "example.com"}, Reason.BAD_IDENTITY),
        ({"i": ""}, Reason.BAD_IDENTITY),
        ({"i": "a@"}, Reason.BAD_IDENTITY),
        ({"i": "a@exam ple.com"}, Reason.BAD_IDENTITY),
        ({"i": "a\0@example.com"}, Reason.BAD_IDENTITY),
        ({"i": "a@b.example@example.com"}, Reason.BAD_IDENTITY),  # K5
        ({"i": '"a"@b.example"@example.com'}, Reason.BAD_IDENTITY),  # K5
        ({"i": "jö@example.com"}, Reason.BAD_IDENTITY),  # E01
        ({"i": "a" * 2000 + "@example.com"}, Reason.BAD_IDENTITY),
        *(({"l": value}, Reason.BAD_LENGTH) for value in ("", "-1", "0x1", "1 2", "9" * 77, "+1", "1.0", b"\xb2")),
        ({"q": ""}, Reason.UNKNOWN_QUERY_METHOD),  # V20
        ({"q": "http"}, Reason.UNKNOWN_QUERY_METHOD),
        *(({"t": value}, Reason.BAD_TIMESTAMP) for value in ("", "-1", "0x1", "1 2", "9" * 77)),  # M8
        ({"t": str(NOW + 301)}, Reason.FUTURE_TIMESTAMP),  # V22
        ({"t": str(2**63)}, Reason.FUTURE_TIMESTAMP),
        ({"x": "never"}, Reason.BAD_EXPIRATION),
        ({"t": str(NOW), "x": str(NOW)}, Reason.BAD_EXPIRATION),
        ({"t": str(NOW), "x": str(NOW - 1)}, Reason.BAD_EXPIRATION),
        ({"x": str(NOW - 301)}, Reason.EXPIRED),  # V23
        ({"x": "0"}, Reason.EXPIRED),
        ({"z": "x" * 17000}, Reason.SIGNATURE_TOO_LARGE),  # M13
    ],
)
def test_one_change_and_its_reason(changes: dict[str, str | bytes | None], reason: Reason) -> None:
    with pytest.raises(SignatureError) as caught:
        read(**changes)
    assert caught.value.reason is reason


def test_v02_duplicate_and_syntax_keep_what_can_be_reported() -> None:
    with pytest.raises(SignatureError) as caught:
        parse_signature(HeaderField(b"DKIM-Signature", b" d=example.com; s=x; v=1; v=1"), LIMITS, NOW)
    assert caught.value.reason is Reason.DUPLICATE_TAG
    assert (caught.value.tags[b"d"], caught.value.tags[b"s"]) == (b"example.com", b"x")


def test_e02_u_labels_in_internationalised_mail() -> None:
    found = read(eai=True, d="exämple.com", s="sél", i="jö@Sub.EXÄMPLE.com")
    assert found.key_name == b"xn--sl-bja._domainkey.xn--exmple-cua.com"
    assert found.domain == "exämple.com".encode()
    assert found.identity == "jö@Sub.EXÄMPLE.com".encode()
    assert not found.strict_identity


def test_e04_bad_utf8_in_the_local_part_of_internationalised_mail() -> None:
    with pytest.raises(SignatureError) as caught:
        read(eai=True, i=b"j\xff@example.com")
    assert caught.value.reason is Reason.BAD_IDENTITY


@pytest.mark.parametrize(
    "domain",
    [
        b"\xff\xfe.com",
        "\u202eexample.com".encode(),
        "a\u3002\u3002b.com".encode(),
        "ä\u3002com".encode(),
        "a\uff0eä.com".encode(),
    ],
)
def test_e04_bad_utf8_in_internationalised_mail(domain: bytes) -> None:
    with pytest.raises(SignatureError) as caught:
        read(eai=True, d=domain)
    assert caught.value.reason is Reason.BAD_DOMAIN
