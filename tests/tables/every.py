"""All rows of all tables."""

from __future__ import annotations

from typing import Final

from tables import key_records, signature_tags
from tables.row import Row

ROWS: Final[tuple[Row, ...]] = (*signature_tags.ROWS, *key_records.ROWS)
