"""What a plugin raised, in words that fit a log line."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from typing import Final

from phoenixdkim.exporters.memory import memory_advice

_OURS: Final = frozenset(
    str(Path(__file__).with_name(f"{name}.py")) for name in ("described", "inspection", "interface")
)
_STDLIB: Final = sysconfig.get_path("stdlib") + "/"
MAX_MESSAGE: Final = 600
"""Characters of one fault."""


def described(error: BaseException) -> str:
    """An exception by type, words and place, whatever its own methods do."""
    advice = memory_advice(error)
    try:
        words = str(error)
    except BaseException:  # noqa: BLE001 - a plugin's exception may raise anything when it is shown
        words = "(its text can't be shown)"
    # The last line that is the plugin's own: neither ours, the import system's nor the standard library's.
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in _OURS
        and not frame.filename.startswith("<frozen")
        and (not frame.filename.startswith(_STDLIB) or "-packages/" in frame.filename)
    ]
    place = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    place += advice
    return f"{type(error).__name__}: {words[:MAX_MESSAGE]}{place}" if words else f"{type(error).__name__}{place}"
