"""A differential run over mutants, against Mail::DKIM and mailauth; for Ed25519 against dkimpy and mailauth.

No mutant passes here that both refuse, and none is refused here that both pass, but for what ``differences`` explains.
"""

from __future__ import annotations

import time
from collections import Counter
from random import Random

import pytest

from interop.differences import QUIRKS, REFUSED_HERE, Quirk, View, explained_pass, explained_refusal
from interop.mutants import Mutant, mutant
from interop.mutations import AFTER, BEFORE, RECORDS
from interop.panel import Panel
from phoenixdkim.dkim.results import Reason, Result
from phoenixdkim.dkim.verify import SignatureVerdict
from signed_mail import verify

JUDGES = {"rsa-sha256": ("Mail::DKIM", "mailauth"), "ed25519-sha256": ("dkimpy", "mailauth")}
"""Who judges an algorithm; Debian 12's Mail::DKIM knows no Ed25519."""


@pytest.mark.parametrize(
    "count, seed",
    [
        pytest.param(4_000, 1, id="4000", marks=pytest.mark.timeout(300)),
        pytest.param(50_000, 2, id="50000", marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
    ],
)
def test_no_difference_without_a_reason(panel: Panel, count: int, seed: int) -> None:
    random = Random(seed)
    now = int(time.time())
    judges = {judge.name: judge for judge in panel.judges}
    outcomes: Counter[tuple[bool, ...]] = Counter()
    seen: Counter[str] = Counter()
    reasons: Counter[Reason | None] = Counter()
    unexplained = []
    for _ in range(count):
        made = mutant(panel.keys, now, random)
        seen.update(made.changes)
        verdicts = _verify(made, now)
        here = any(row.result is Result.PASS for row in verdicts)
        passes = {
            name: any(row.passed for row in judges[name].verify(made.message, made.records, now))
            for name in JUDGES[made.algorithm]
        }
        outcomes[here, *passes.values()] += 1
        view = View(made, now)
        if here and not any(passes.values()):
            if not explained_pass(view, passes):
                unexplained.append(("passes here alone", made, [row.reason for row in verdicts]))
        elif not here and all(passes.values()):
            reason = verdicts[0].reason if verdicts else None
            reasons[reason] += 1
            if not explained_refusal(view, reason):
                unexplained.append(("refused here alone", made, [row.reason for row in verdicts]))
    print(f"{count} mutants; verdicts here and of two judges:", dict(outcomes))
    print("refused here alone:", {str(reason): number for reason, number in reasons.most_common()})
    assert not unexplained, unexplained[:5]
    # Each kind of change was made, each answer occurred, and each entry of the tables is needed.
    assert set(seen) >= {*BEFORE, *AFTER, *RECORDS}
    assert outcomes[True, True, True] > count // 10 and outcomes[False, False, False] > count // 10


@pytest.mark.parametrize(
    "quirk, name",
    [pytest.param(quirk, name, id=f"{name}: {quirk.reason[:50]}") for quirk in QUIRKS for name in quirk.judges],
)
def test_each_quirk_is_needed(panel: Panel, quirk: Quirk, name: str) -> None:
    """The judge has it still, and what it refuses passes here."""
    now = int(time.time())
    algorithm = next(algorithm for algorithm, names in JUDGES.items() if name in names)
    made = quirk.example.made(panel.key(algorithm), now)
    assert quirk.applies(View(made, now))
    assert [row.result for row in _verify(made, now)] == [Result.PASS]
    judge = next(judge for judge in panel.judges if judge.name == name)
    assert not any(row.passed for row in judge.verify(made.message, made.records, now)), f"{name} can do it"


@pytest.mark.parametrize("reason", REFUSED_HERE)
def test_each_refusal_of_ours_alone_occurs(panel: Panel, reason: Reason) -> None:
    now = int(time.time())
    made = REFUSED_HERE[reason][1].made(panel.key("rsa-sha256"), now)
    assert [row.reason for row in _verify(made, now)] == [reason]
    for judge in panel.judges:
        if judge.name in JUDGES["rsa-sha256"]:
            assert any(row.passed for row in judge.verify(made.message, made.records, now)), judge.name


def _verify(made: Mutant, now: int) -> tuple[SignatureVerdict, ...]:
    return verify(made.message, {name.encode(): records for name, records in made.records.items()}, now=now)
