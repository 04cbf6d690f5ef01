"""How a row is put through the session, and what is demanded of the outcome."""

from __future__ import annotations

from collections.abc import Iterable

from phoenixdkim import authres
from phoenixdkim.cli.message import process
from phoenixdkim.config.build import build
from phoenixdkim.config.load import Loaded
from phoenixdkim.config.model import Config
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome, key_answer
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import DnssecStatus, Result
from phoenixdkim.milter.outcome import DeleteField, InsertField, Outcome
from phoenixdkim.milter.session import Client
from phoenixdkim.policy import Policy
from tables.row import AUTHSERV_ID, NoRecord, Row, Zone


def tables_of(row: Row) -> dict[str, dict[str, object]]:
    """The configuration file of a row, as the tables of TOML."""
    found: dict[str, dict[str, object]] = {"verifying": {"authserv_id": AUTHSERV_ID.decode()}}
    for name, value in row.options.items():
        table, _, option = name.partition(".")
        found.setdefault(table, {})[option] = value
    return found


def policy_of(row: Row) -> Policy:
    """The policy that the daemon would make of a row's configuration."""
    config = Config.model_validate(tables_of(row))
    policy, _, faults = build(config, uid_is_root=False, loaded=Loaded(config, ()))
    assert policy is not None, faults
    return policy


def answers(zone: Zone, names: Iterable[bytes], limits: Limits) -> dict[bytes, KeyAnswer]:
    """What a resolver would tell of these names."""
    found = {}
    for name in names:
        answer = zone.get(name, NoRecord.ABSENT)
        if answer is NoRecord.UNAVAILABLE:
            found[name] = KeyAnswer(KeyOutcome.UNAVAILABLE)
        elif isinstance(answer, NoRecord):
            found[name] = KeyAnswer(KeyOutcome.ABSENT)
        else:
            records = [record if isinstance(record, bytes) else b"".join(record) for record in answer]
            found[name] = key_answer(records, DnssecStatus.UNKNOWN, limits)
    return found


def outcome_of(row: Row) -> Outcome:
    """Put a row through the session."""
    policy = policy_of(row)
    return process(row.message, policy, Client(), row.now, lambda names: answers(row.zone, names, policy.limits))


def demand(row: Row, outcome: Outcome) -> None:
    """Compare everything that a row tells."""
    assert (outcome.result, outcome.reason) == (row.expected, row.reason)
    assert tuple((verdict.result, verdict.reason) for verdict in outcome.verdicts) == row.expected_verdicts
    removed = [edit for edit in outcome.edits if isinstance(edit, DeleteField)]
    assert [edit.ordinal for edit in removed] == sorted(row.removed, reverse=True)
    assert {edit.name.lower() for edit in removed} <= {b"authentication-results"}
    inserted = [edit for edit in outcome.edits if isinstance(edit, InsertField)]
    if row.options.get("verifying.add_none") is False and not row.expected_verdicts:
        assert inserted == []
        return
    (made,) = inserted
    assert made.name == b"Authentication-Results"
    demand_field(row, made.value)


def demand_field(row: Row, value: bytes) -> None:
    """Compare the value of the Authentication-Results field with what a row tells."""
    # A05, A12: whatever the message holds, lines are short and end in folds only.
    first, *others = value.split(b"\r\n")
    assert len(first) <= 998 - len("Authentication-Results:")
    assert all(len(line) <= 998 and line.startswith(b"\t") and line.strip() for line in others)
    assert not any(octet < 32 or octet == 127 for line in (first, *others) for octet in line.removeprefix(b"\t"))
    read = authres.parse(value)
    # A11
    assert (read.authserv_id, read.version) == (AUTHSERV_ID, None)
    expected = row.expected_verdicts
    assert [clause.result for clause in read.results] == [
        result.encode() for result, _ in expected or ((row.expected, row.reason),)
    ]
    # A01
    assert {clause.result for clause in read.results} <= {result.encode() for result in Result}
    assert {clause.method for clause in read.results} == {b"dkim"}
    for clause, wanted in zip(read.results, row.properties, strict=bool(row.properties)):
        found = dict(clause.properties)
        assert {name: found.get(name) for name in wanted} == wanted
    flat = b" ".join(value.replace(b"\r\n\t", b" ").split(b" "))
    for words in row.text:
        assert words in flat
