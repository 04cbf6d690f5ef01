"""All rows of all tables."""

from __future__ import annotations

from typing import Final

from tables import canonicalization, header_fields, key_records, signature_tags
from tables.row import Row

ROWS: Final[tuple[Row, ...]] = (*signature_tags.ROWS, *key_records.ROWS, *header_fields.ROWS, *canonicalization.ROWS)
