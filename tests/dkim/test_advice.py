"""Each reason has a next step, and options that are named there exist."""

from __future__ import annotations

import re

from phoenixdkim.config.sample import options, tables
from phoenixdkim.dkim.advice import ADVICE, UNSIGNED_ADVICE
from phoenixdkim.dkim.results import Reason, UnsignedReason


def test_each_reason_has_advice() -> None:
    assert set(ADVICE) == set(Reason)
    assert set(UNSIGNED_ADVICE) == set(UnsignedReason)
    assert all(text.endswith(".") for text in (*ADVICE.values(), *UNSIGNED_ADVICE.values()))


def test_options_that_are_named_exist() -> None:
    known = {f"{header.strip('[]')}.{name}" for header, kind, _ in tables() for name, _ in options(kind)}
    named = set()
    for text in (*ADVICE.values(), *UNSIGNED_ADVICE.values()):
        named |= set(re.findall(r"\b(?:limits|dns|verifying|signing|milter)\.[a-z_]+", text))
    assert len(named) > 10
    assert named <= known | {"signing.rules"}
