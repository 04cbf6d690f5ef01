"""All rows of all tables."""

from __future__ import annotations

from typing import Final

from tables import (
    canonicalization,
    header_fields,
    internationalised,
    key_records,
    results_in,
    results_out,
    signature_algorithms,
    signature_names,
    signature_tags,
)
from tables.row import Row

ROWS: Final[tuple[Row, ...]] = (
    *signature_tags.ROWS,
    *signature_algorithms.ROWS,
    *signature_names.ROWS,
    *key_records.ROWS,
    *header_fields.ROWS,
    *canonicalization.ROWS,
    *internationalised.ROWS,
    *results_in.ROWS,
    *results_out.ROWS,
)
