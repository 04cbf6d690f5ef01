"""Pieces of Markdown pages."""

from __future__ import annotations

from collections.abc import Sequence

NOTE = "<!-- Written by scripts/docs from the code; do not edit. -->\n"


def page(title: str, *parts: str) -> str:
    """A Markdown page."""
    return "\n".join([f"# {title}\n", NOTE, *(part.rstrip("\n") + "\n" for part in parts)])


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ("---",) * len(head), *rows)]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Text that can't end a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "."
