"""S10: what is signed here verifies in four other implementations, and what those sign verifies here.

500 generated messages in each run, 10,000 in the long one; ``known_limits`` has what a judge can't do.
"""

from __future__ import annotations

import time

import pytest

from interop.judges import SigningError
from interop.known_limits import LIMITS, Limit, Role, lifted
from interop.messages import Case
from interop.panel import Panel, Peer, Tally, over_messages
from phoenixdkim.dkim.results import Result

MESSAGES = [
    pytest.param(500, id="500", marks=pytest.mark.timeout(300)),
    pytest.param(10_000, id="10000", marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
]


@pytest.mark.parametrize("messages", MESSAGES)
def test_s10_ours_verifies_there(panel: Panel, messages: int) -> None:
    tally = Tally()

    def check(case: Case, now: int) -> None:
        tally.message(case)
        message = panel.signed_here(case, now)
        assert [row.result for row in panel.verified_here(message, now)] == [Result.PASS] * len(case.algorithms)
        tally.unjudged += sum(
            all(lifted(judge.name, Role.VERIFIES, case, algorithm) for judge in panel.judges)
            for algorithm in case.algorithms
        )
        for judge in panel.judges:
            for algorithm in case.algorithms:
                if lifted(judge.name, Role.VERIFIES, case, algorithm):
                    tally.lifted[judge.name, algorithm] += 1
                    continue
                tally.demanded[judge.name, algorithm] += 1
                verdict = panel.verdict(judge, message, algorithm, now)
                assert verdict is not None and verdict.passed, (judge.name, algorithm, verdict, message[-4000:])

    over_messages(messages, check)
    tally.complete(messages)
    print(tally)


@pytest.mark.parametrize("messages", MESSAGES)
def test_s10_theirs_verifies_here(panel: Panel, messages: int) -> None:
    tally = Tally()

    def check(case: Case, now: int) -> None:
        tally.message(case)
        for signer in panel.judges:
            for algorithm in case.algorithms:
                if lifted(signer.name, Role.SIGNS, case, algorithm):
                    tally.lifted[signer.name, algorithm] += 1
                    continue
                tally.demanded[signer.name, algorithm] += 1
                field = signer.sign(case, panel.key(algorithm), now)
                # dkimpy and opendkim take the time themselves.
                (verdict,) = panel.verified_here(field + case.raw, int(time.time()))
                assert verdict.result is Result.PASS, (signer.name, algorithm, verdict, field)
                assert verdict.algorithm == algorithm

    over_messages(messages, check)
    tally.complete(messages)
    print(tally)


@pytest.mark.timeout(120)
def test_judges_refuse_what_was_changed(panel: Panel) -> None:
    """A judge that says yes to everything would be none."""
    asked = dict.fromkeys((judge.name for judge in panel.judges), 0)

    def check(case: Case, now: int) -> None:
        message = panel.signed_here(case, now)
        head, _, body = message.partition(b"\r\n\r\n")
        for changed in (
            head + b"\r\n\r\nx" + body,
            message.replace(b"joe.doe@", b"jon.doe@").replace(b"with-identity@", b"w1th-identity@"),
            message.replace(b"; t=", b"; t=1", 1).replace(b"\tt=", b"\tt=1", 1),
        ):
            assert changed != message
            # The last of them changes the first signature alone.
            assert panel.verified_here(changed, now)[0].result is not Result.PASS
            for judge in panel.judges:
                verdict = panel.verdict(judge, changed, case.algorithms[0], now)
                assert verdict is None or not verdict.passed, (judge.name, verdict, changed)
                asked[judge.name] += verdict is not None

    over_messages(60, check)
    assert min(asked.values()) > 60, asked


@pytest.mark.parametrize(
    "limit, role",
    [(limit, role) for limit in LIMITS for role in Role if role in limit.role],
    ids=lambda value: value.name if isinstance(value, Role) else f"{value.judge}: {value.reason[:40]}",
)
def test_each_known_limit_is_needed(panel: Panel, limit: Limit, role: Role) -> None:
    """A judge that has become better loses its limit; and no limit hides a fault of ours: another judge says yes."""
    case, now = limit.example, int(time.time())
    (algorithm,) = case.algorithms
    assert limit.applies(case, algorithm)
    judge = next(judge for judge in panel.judges if judge.name == limit.judge)
    message = panel.signed_here(case, now)
    assert [row.result for row in panel.verified_here(message, now)] == [Result.PASS]
    others = [other for other in panel.judges if not lifted(other.name, Role.VERIFIES, case, algorithm)]
    if role is Role.VERIFIES:
        verdict = panel.verdict(judge, message, algorithm, now)
        assert verdict is None or not verdict.passed, f"{judge.name} can do it"
        assert others, "nobody else judges it"
        for other in others:
            verdict = panel.verdict(other, message, algorithm, now)
            assert verdict is not None and verdict.passed, (other.name, verdict)
    else:
        assert _refused(panel, judge, case, algorithm), f"{judge.name} can do it"


def _refused(panel: Panel, signer: Peer, case: Case, algorithm: str) -> bool:
    """Whether the message can't be signed, or is refused here and by whoever else can judge it."""
    now = int(time.time())
    try:
        message = signer.sign(case, panel.key(algorithm), now) + case.raw
    except SigningError:
        return True
    now = int(time.time())
    if [row.result for row in panel.verified_here(message, now)] == [Result.PASS]:
        return False
    for other in panel.judges:
        if other is signer or lifted(other.name, Role.VERIFIES, case, algorithm):
            continue
        verdict = panel.verdict(other, message, algorithm, now)
        assert verdict is None or not verdict.passed, (other.name, verdict)
    return True
