"""Rows that differ in a signature's value alone."""

from __future__ import annotations

from phoenixdkim.dkim.results import Reason
from tables.by_hand import signed, tags
from tables.row import Row


def tag_row(name: str, ids: tuple[str, ...], reason: Reason, **changes: bytes | None) -> Row:
    """The usual signature with other tags."""
    more = changes.pop("more", b"") or b""
    return Row(name, ids, reason, signed(tags(more=more, **changes)))


def raw_row(name: str, ids: tuple[str, ...], reason: Reason, value: bytes, dialogue: bool = True) -> Row:
    """A signature whose value is just this."""
    return Row(name, ids, reason, signed(value), dialogue=dialogue)
