"""Every row of every table, through the session."""

from __future__ import annotations

import pytest

from requirement import requirement
from tables.every import ROWS
from tables.judge import demand, outcome_of
from tables.row import Row


def _plain(row: Row) -> str:
    """A name that pytest has nothing to escape in: it would do so anew each time that one process collects."""
    return "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in row.name)


@requirement("A01", "A05", "A11", "A12", "A14")
@pytest.mark.parametrize("row", ROWS, ids=_plain)
def test_row(row: Row) -> None:
    demand(row, outcome_of(row))


def test_names_are_unique() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
