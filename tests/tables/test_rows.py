"""Every row of every table, through the session."""

from __future__ import annotations

import pytest

from requirement import requirement
from tables.every import ROWS
from tables.judge import demand, outcome_of
from tables.row import Row


@requirement("A01", "A05", "A11", "A12", "A14")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    demand(row, outcome_of(row))


def test_names_are_unique() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
