"""What the supervisor reads from an exporter's table itself, before any plugin code runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

STOP_TIMEOUT: Final = 2.0
_LONGEST_STOP: Final = 60.0


def stop_timeout(table: Mapping[str, Any]) -> float:
    """Return the seconds that the exporter has to stop; the default when the table has no valid value.

    The exporter's own process refuses a table with an invalid one.
    """
    value = table.get("stop_timeout", STOP_TIMEOUT)
    if type(value) not in (int, float) or not 0 < value <= _LONGEST_STOP:
        return STOP_TIMEOUT
    return float(value)
