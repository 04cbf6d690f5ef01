"""Names in the head of a field, as readers find them that do not follow the syntax."""

from __future__ import annotations

import pytest

from phoenixdkim.loose_reading import HostName, host_name, loose_claim, shown

OURS = HostName("mx.example.com", bytes.lower)


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        (b"mx.example.com; x", True),
        (b"<mx.example.com>; x", True),
        (b"(a (b) c) mx.example.com; x", True),
        (b"(a \\) mx.example.com; x", True),
        (b"(mx.example.com) other; x", False),
        (b"(mx.example.com", False),
        (b"a) mx.example.com; x", False),
        (b"a=b; mx.example.com; x", True),
        (b"a=b; c; mx.example.com; x", False),
        (b"'a; b=c'; mx.example.com", False),
        (b"mx.exa mple.com; x", True),
        (b"other; mx.example.com", False),
        (b"", False),
    ],
)
def test_claims(text: bytes, claimed: bool) -> None:
    assert loose_claim(text, OURS) is claimed


def test_what_readers_show() -> None:
    assert shown("a\u200bb\\c\x01d\u3002\uff45".encode()) == ("abcd.e", "a\u200bb\\c\x01d.e")
    assert shown(b"a\xffb") == ("ab", "a\udcffb")
    assert shown(b"a\tb") == ("a\tb", "a\tb")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"xx mx . example_com", True),
        (b"MX-EXAMPLE-COM", True),
        ("\uff4dx.e\u00adxample.com".encode(), True),
        (b"mx.exa(comment)mple.com", True),
        (b"mx.exa(a (b) c)mple.com", True),
        (b"mx.example.org", False),
        (b"", False),
    ],
)
def test_within(text: bytes, found: bool) -> None:
    assert OURS.within(text) is found


def test_runs_are_bounded() -> None:
    assert list(OURS.runs(b"a.b <c-d> _e_ . \xff f")) == ["a.b", "c-d", "e", "f"]
    assert len(list(OURS.runs(b"a " * 1000))) == 64


def test_a_name_is_prepared_once() -> None:
    assert host_name(b"mx.example.com", bytes.lower) is host_name(b"mx.example.com", bytes.lower)
    assert host_name(b"mx.example.com", bytes.lower) is not host_name(b"mx.example.org", bytes.lower)
