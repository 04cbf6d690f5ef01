from __future__ import annotations

import pytest

from phoenixdkim.dkim.results import Reason
from phoenixdkim.dkim.tags import TagListError, base64_octets, parse_tag_list


@pytest.mark.parametrize(
    "text, tags",
    [
        (b"a=1; b=2", {b"a": b"1", b"b": b"2"}),
        (b" a = 1 ;\r\n\tb\r\n = 2 ; ", {b"a": b"1", b"b": b"2"}),  # V03
        (b"a=;b=x=y", {b"a": b"", b"b": b"x=y"}),  # V03: empty is not absent
        (b"A=1;a=2", {b"A": b"1", b"a": b"2"}),  # V01
        (b"unknown_9=1;", {b"unknown_9": b"1"}),  # V01, V25
        (b"n=a\xff\x00b", {b"n": b"a\xff\x00b"}),
    ],
)
def test_v01_v03_syntax(text: bytes, tags: dict[bytes, bytes]) -> None:
    assert parse_tag_list(text, 64) == tags


@pytest.mark.parametrize(
    "text, reason",
    [
        (b"a=1; a=2", Reason.DUPLICATE_TAG),  # V02
        (b"a=1; a =1", Reason.DUPLICATE_TAG),
        (b"a", Reason.TAG_LIST_SYNTAX),
        (b"a=1;;b=2", Reason.TAG_LIST_SYNTAX),
        (b"=1", Reason.TAG_LIST_SYNTAX),
        (b"9a=1", Reason.TAG_LIST_SYNTAX),
        (b"a b=1", Reason.TAG_LIST_SYNTAX),
        (b"\xe9=1", Reason.TAG_LIST_SYNTAX),
    ],
)
def test_v02_refused(text: bytes, reason: Reason) -> None:
    with pytest.raises(TagListError) as caught:
        parse_tag_list(text, 64)
    assert caught.value.reason is reason


def test_m6_number_of_tags_is_bounded() -> None:
    assert len(parse_tag_list(b"a=;b=;c=;", 3)) == 3
    with pytest.raises(TagListError):
        parse_tag_list(b"a=;b=;c=;d=", 3)
    with pytest.raises(TagListError):
        parse_tag_list(b"a=;" * 200_000, 64)


def test_v09_base64() -> None:
    assert [base64_octets(text) for text in (b"", b"QUI=", b"QQ==", b"QUJD")] == [b"", b"AB", b"A", b"ABC"]


@pytest.mark.parametrize(
    "text",
    [
        b"Q",
        b"QQ",
        b"QQ=",
        b"QUI",
        b"QUJD=",
        b"QUJD==",
        b"QUJD====",
        b"====",
        b"=QUI",
        b"QU=I",
        b"QQ==QUJD",
        b"QU J",
        b"QUJ\xff",
    ],
)
def test_v09_no_base64(text: bytes) -> None:
    """Padding counts: what decoders make of too much of it differs."""
    with pytest.raises(ValueError):
        base64_octets(text)
