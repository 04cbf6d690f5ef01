"""Every row of every table, through the session."""

from __future__ import annotations

import pytest

from tables.judge import demand, outcome_of
from tables.row import Row
from tables.signature_tags import ROWS

ALL = ROWS


@pytest.mark.parametrize("row", ALL, ids=str)
def test_row(row: Row) -> None:
    demand(row, outcome_of(row))


def test_names_are_unique() -> None:
    names = [row.name for row in ALL]
    assert len(set(names)) == len(names)
