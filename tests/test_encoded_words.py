"""Encoded words: each text that some reader decodes them to, and the work that it takes."""

from __future__ import annotations

import encodings
import time

import pytest

from phoenixdkim.encoded_words import MAX_WORDS, decodings, found_in


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (b"plain", ()),
        (b"=?utf-8?q?a; =62", (b"a; b",)),
        (b"=?utf-8?x?a?=", ()),
        (b"=?utf-8?q?a=2Db_c?=", (b"a-b c",)),
        (b"=?utf-8?Q?a=2db?=", (b"a-b",)),
        (b"=?utf-8?q?a=ZZ?=", (b"a=ZZ",)),
        (b"=?UTF-8*en?B?YS1i?=", (b"a-b",)),
        (b"x=?utf-8?b?YS1i?=y", (b"xa-by", b"x a-b y")),
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", (b"ab", b"a b")),
        (b"=?utf-8?q?a?=\r\n\t=?utf-8?q?b?=", (b"ab", b"a\r\n\tb")),
        (b"=?utf-8?b?YQ?=", (b"a",)),
        (b"=?utf-8?b?YQ==Yg==?=", (b"ab", b"a", b"a\x06\x20")),
        (b"=?iso-8859-1?q?=E4?=", (b"\xe4", "ä".encode())),
        (b"=?utf-16be?q?=00a?=", (b"\0a", b"a")),
        (b"=?utf-8?q?=FF?=", (b"\xff", "\ufffd".encode())),
        (b"=?hex?q?61?=", (b"61",)),
        (b"=?utf-8?q??=", (b"",)),
        (b"=?utf-8?q?x?y =?utf-8?q?a?=", (b"x?y =?utf-8?q?a", b"=?utf-8?q?x?y a")),
        (rb"=?unicode_escape?q?\x6d\170\u0061\q\777\\\N{DIGIT ONE}?=", (rb"mxa\q\777\1",)),
    ],
)
def test_texts(value: bytes, texts: tuple[bytes, ...]) -> None:
    assert set(texts) <= set(decodings(value))
    assert bool(texts) is bool(decodings(value))


@pytest.mark.parametrize("codec", ["cp037", "utf-7", "utf-16-be", "utf-16-le"])
def test_an_unknown_charset_may_be_any(codec: str) -> None:
    escaped = b"".join(b"=%02X" % octet for octet in "mx.example.com".encode(codec))
    assert b"mx.example.com" in decodings(b"=?x-unknown?q?" + escaped + b"?=")


def test_words_are_bounded() -> None:
    texts = decodings(b"=?utf-8?q?a?=" * (MAX_WORDS + 5))
    assert tuple(text.strip() for text in texts) == tuple(
        b"a" * MAX_WORDS + space + b"=?utf-8?q?a?=" * 5 for space in (b"", b" ")
    )


def test_no_label_of_a_message_is_remembered() -> None:
    """The interpreter keeps each encoding that it was asked for, also those that do not exist."""
    before = set(encodings._cache)  # type: ignore[attr-defined]
    for number in range(200):
        decodings(b"=?label-%d?q?=E4?=" % number)
    assert {name for name in set(encodings._cache) - before if "label" in name} == set()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "label", [*sorted(encodings.aliases.aliases), "punycode", "idna", "undefined", "unicode_escape"]
)
def test_every_codec_takes_any_octets(label: str) -> None:
    escaped = b"".join(b"=%02X" % octet for octet in range(256))
    assert decodings(b"=?" + label.encode() + b"?q?" + escaped + b"?=")


@pytest.mark.parametrize(
    "value",
    [
        b"=?punycode?q?" + b"a" * 8000 + b"-" + b"zz9" * 2000 + b"?=",
        b"=?utf-8?q?a?=" * 1200,
        b"=?x?b?Y=Q?= " * 1200,
        b"=?" * 8000,
        b"=?x?q?" * 2700,
        b"=?x?q?a?" * 2300,
        b"?=" * 8000,
        b"=?idna?q?" + b"xn--a." * 2600 + b"?=",
    ],
)
def test_work_is_bounded(value: bytes) -> None:
    started = time.process_time()
    decodings(value)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"x =?utf-8?q?a?= y", True),
        (b"=?utf-8?b?YQ", True),
        (b"=??Q?", True),
        (b"=?utf-8?x?a?=", False),
        (b"=?utf-8?q", False),
        (b"a=?b", False),
    ],
)
def test_found_in(value: bytes, expected: bool) -> None:
    assert found_in(value) is expected
