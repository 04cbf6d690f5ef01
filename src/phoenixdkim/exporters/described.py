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
    # Not type(error).__name__: a metaclass may answer for it.
    name: str = type.__dict__["__name__"].__get__(type(error))
    try:
        return name + _details(error)
    except BaseException:  # noqa: BLE001 - a plugin's exception may raise anything when it is looked at
        return name


def _details(error: BaseException) -> str:
    advice = memory_advice(error)
    try:
        # A plain str, whatever subclass the exception returns.
        words = str.__str__(str(error))
    except BaseException:  # noqa: BLE001 - as above
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
    return (f": {words[:MAX_MESSAGE]}" if words else "") + place + advice
