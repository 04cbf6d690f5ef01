"""Authentication-Results fields of others: what is read, octet for octet, and in which words a field is refused."""

from __future__ import annotations

import pytest

from phoenixdkim.authres import AuthResSyntaxError, forged, parse

US = b"mx.example.com"
OTHER = b" mx.example.org"


@pytest.mark.parametrize(
    "value, authserv_id",
    [
        (b"(\\)) a.example; none", b"a.example"),
        (b"(\\a) a.example; none", b"a.example"),
        (b"(x(y)z) a.example; none", b"a.example"),
        (b"(\\((y)\\)z)a.example; none", b"a.example"),
        (b"(" + b"\\)" * 254 + b")a.example; none", b"a.example"),
        (b'"' + b"\\m" * 64 + b'"; none', b"m" * 64),
        (b'"a\\"b\\\\c"; none', b'a"b\\c'),
        (b'""; none', b""),
        (b"a.example", b"a.example"),
    ],
)
def test_a08_the_authserv_id_is_read(value: bytes, authserv_id: bytes) -> None:
    assert parse(value).authserv_id == authserv_id


@pytest.mark.parametrize(
    "value, words",
    [
        (b"(" + b"\\)" * 255 + b")a.example; none", "too much in a comment"),
        (b"(a.example; none", "an open comment"),
        (b"(\\)", "an open comment"),
        (b'"' + b"\\m" * 65 + b'"; none', "a name that hides behind backslashes"),
        (b'"a.example; none', "an open quoted string"),
        (b'"a\\', "an open quoted string"),
        (b"a.example; spf=pass)", "an octet out of place"),
        (b"a" * 65537, "too long"),
        (b"", "no authserv-id"),
        (b"; none", "no authserv-id"),
        (b"=; none", "no authserv-id"),
        (b"a b c; none", "no authserv-id"),
        (b"a; dkim", "a name without a value"),
        (b"a; dkim=", "a name without a value"),
        (b"a; dkim pass", "a name without a value"),
        (b"a; dkim/1", "a name without a value"),
        (b"a; none x", "a name without a value"),
    ],
)
def test_a09_what_can_not_be_read(value: bytes, words: str) -> None:
    with pytest.raises(AuthResSyntaxError) as refused:
        parse(value)
    assert str(refused.value) == words


def test_parse_a_field_of_the_greatest_length() -> None:
    assert parse(b"a" * 65536).authserv_id == b"a" * 65536


def test_parse_versions_of_methods_and_case() -> None:
    found = parse(b"a 1; DKIM/1=PASS Header.D=Example.com REASON=x; none; spf=fail; NONE")
    assert found.version == b"1"
    assert [(r.method, r.result, r.reason, r.properties) for r in found.results] == [
        (b"dkim", b"pass", b"x", ((b"header.d", b"Example.com"),)),
        (b"spf", b"fail", None, ()),
    ]


@pytest.mark.parametrize(
    "value",
    [
        b' "open mx.example.org; dkim=pass',
        b' "mx.example.org"; dkim=pass',
        b" mx.example.org text; dkim=pass",
        b' "x mx.example.com"; dkim=pass',
        b" mx.example.comX; dkim=pass",
    ],
)
def test_a09_somebody_else_is_kept(value: bytes) -> None:
    assert not forged(value, US)


@pytest.mark.parametrize("value", [b" x=", b' "open \xff', b' "\x1fmx.example.com"; dkim=pass'])
def test_a06_what_can_not_be_told_is_removed(value: bytes) -> None:
    assert forged(value, US)


def test_a08_a_version_is_no_part_of_the_name() -> None:
    assert not forged(b" mx 1; none", b"mx1")
    assert forged(b" mx one; none", b"mxone")
