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

MODULES: Final = (
    signature_tags,
    signature_algorithms,
    signature_names,
    key_records,
    header_fields,
    canonicalization,
    internationalised,
    results_in,
    results_out,
)

ROWS: Final[tuple[Row, ...]] = tuple(row for module in MODULES for row in module.ROWS)
