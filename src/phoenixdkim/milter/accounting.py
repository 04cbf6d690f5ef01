"""From an outcome to the counters and the summary line: the same facts, told twice."""

from __future__ import annotations

from phoenixdkim import events
from phoenixdkim.dkim.results import SignResult
from phoenixdkim.ledger import Batch
from phoenixdkim.log import value
from phoenixdkim.milter.outcome import Outcome


def count(outcome: Outcome, seconds: float, batch: Batch) -> None:
    """Add the events of ``outcome`` to ``batch``; ``seconds`` is how long the message took."""
    batch.add(events.MessageProcessed(outcome.action), seconds)
    for made in outcome.signatures:
        batch.add(events.MessageSigned(made.result, made.algorithm))
    if outcome.result is not None:
        batch.add(events.MessageVerified(outcome.result))
    for verdict in outcome.verdicts:
        batch.add(events.SignatureVerified(verdict.result, verdict.algorithm))
        if verdict.dnssec is not None:
            batch.add(events.DnssecKey(verdict.dnssec))
    if outcome.unsigned is not None:
        batch.add(events.MessageUnsigned(outcome.unsigned))
    if outcome.stage is not None:
        batch.add(events.InternalError(outcome.stage))


def summary(queue_id: str, outcome: Outcome) -> str:
    """The log's line for one message: ``<queue id>: summary key=value …``; each value is escaped."""
    parts = [f"{value(queue_id[:255] or '-')}: summary action={outcome.action}"]
    if outcome.result is not None:
        parts.append(f"result={outcome.result}")
    parts.append(f"d={value(outcome.domain[:255]) if outcome.domain else '-'}")
    parts.append(f"a={outcome.algorithm or '-'}")
    made = sum(signature.result is SignResult.OK for signature in outcome.signatures)
    parts.append(f"sigs={made if outcome.signatures else len(outcome.verdicts)}")
    if made < len(outcome.signatures):
        parts.append(f"failed={len(outcome.signatures) - made}")
    if outcome.reason is not None:
        parts.append(f"reason={outcome.reason}")
    if outcome.unsigned is not None:
        parts.append(f"unsigned={outcome.unsigned}")
    if outcome.address_fault is not None:
        parts.append(f"from={outcome.address_fault}")
    if outcome.disposition != "accept":
        parts.append(f"disposition={outcome.disposition}")
    return " ".join(parts)
