"""What an exporter finds missing on this host, by its hook ``phoenixdkim_check``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from phoenixdkim.exporters.described import described
from phoenixdkim.exporters.inspection import Inspected
from phoenixdkim.exporters.messages import MAX_FINDINGS, Reported
from phoenixdkim.hookspecs import Finding
from phoenixdkim.messages import clean_text

HOOK_TIMEOUT: Final = 5.0
"""Seconds that the hook has: name resolution may take longer."""
_HOOK: Final = "phoenixdkim_check"


def findings(inspected: Inspected, timeout: float = HOOK_TIMEOUT) -> tuple[Reported, ...]:
    """Call the hook; what it raises and how long it takes is bounded."""
    found: list[Reported] = []
    # A thread, because nothing else ends a call into the resolver; the process ends soon.
    thread = threading.Thread(target=lambda: found.extend(_call(inspected)), name="check", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        return (Reported(f"{_HOOK} gave no answer in {timeout:g} s; name resolution may be down"),)
    return tuple(found)


def _call(inspected: Inspected) -> list[Reported]:
    try:
        answer: object = inspected.manager.hook.phoenixdkim_check(options=inspected.options)
        return _reported(answer)
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit included
        return [Reported(clean_text(f"{_HOOK} raised {described(error)}", 500))]


def _reported(answer: object) -> list[Reported]:
    if answer is None:
        return []
    if type(answer) not in (list, tuple):
        return [Reported(f"{_HOOK} returned a {type(answer).__name__}; return a list of Finding")]
    assert isinstance(answer, Sequence)
    wrong = [one for one in answer[:MAX_FINDINGS] if type(one) is not Finding]
    if wrong:
        return [Reported(f"{_HOOK} returned a list with a {type(wrong[0]).__name__}; return a list of Finding")]
    return [
        Reported(clean_text(str(one.message), 500), clean_text(str(one.address), 100)) for one in answer[:MAX_FINDINGS]
    ]
