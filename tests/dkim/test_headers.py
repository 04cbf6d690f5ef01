from __future__ import annotations

import pytest

from phoenixdkim.dkim.headers import HeaderField, crlf, parse_message


def test_c14_fields_and_body_are_byte_exact() -> None:
    fields, body = parse_message(b"A: 1\r\n  two \r\nb :\xff\r\nC:\r\n\r\nbody\r\n\r\n")
    assert fields == [HeaderField(b"A", b" 1\r\n  two "), HeaderField(b"b ", b"\xff"), HeaderField(b"C", b"")]
    assert [field.lname for field in fields] == [b"a", b"b", b"c"]  # C12
    assert body == b"body\r\n\r\n"


@pytest.mark.parametrize(
    "message, count, body",
    [
        (b"", 0, b""),
        (b"\r\n", 0, b""),
        (b"\r\nbody", 0, b"body"),
        (b"A: 1", 1, b""),
        (b"A: 1\r\n", 1, b""),
        (b"A: 1\r\nno field\r\n\r\nx", 1, b"no field\r\n\r\nx"),
        (b" folded first\r\n", 0, b" folded first\r\n"),
        (b"\xef\xbb\xbfA: 1\r\n\r\nx", 1, b"x"),
        (b":\r\n", 0, b":\r\n"),
        (b"From: a@b" + b" " * 2_000_000, 1, b""),
    ],
)
def test_m9_m10_odd_messages(message: bytes, count: int, body: bytes) -> None:
    fields, rest = parse_message(message)
    assert (len(fields), rest) == (count, body)


def test_lf_alone_becomes_crlf_only_without_any_crlf() -> None:
    assert crlf(b"a\nb\n") == b"a\r\nb\r\n"
    assert crlf(b"a\r\nb\n") == b"a\r\nb\n"


def test_e03_lower_case_is_ascii_only() -> None:
    assert HeaderField("Ä".encode(), b"").lname == "Ä".encode()
