"""Every row of the table of signing: the decision, the field octet by octet, the same signature made by hand."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from phoenixdkim.cli.message import no_keys, process
from phoenixdkim.config.build import build
from phoenixdkim.config.load import Loaded
from phoenixdkim.config.model import Config
from phoenixdkim.dkim.results import Result
from phoenixdkim.events import Action
from phoenixdkim.milter.outcome import DeleteField, InsertField, Outcome
from phoenixdkim.milter.session import Client
from phoenixdkim.policy import Policy
from requirement import requirement
from tables.by_hand import NOW, field, message
from tables.judge import answers
from tables.row import AUTHSERV_ID
from tables.signing import KEYS, ROWS, SigningRow

ORDER = [b"v", b"a", b"c", b"d", b"s", b"t", b"x", b"i", b"h", b"bh", b"b"]
NEVER = {b"return-path", b"received", b"comments", b"keywords", b"dkim-signature", b"authentication-results"}
ZONE = {name.encode() + b"._domainkey.example.com": (key.record,) for name, key in KEYS.items()}


@pytest.fixture(scope="module")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    for name, key in KEYS.items():
        (directory / name).write_bytes(key.pem)
    return directory


def policy_of(row: SigningRow, key_files: Path) -> Policy:
    tables: dict[str, dict[str, object]] = {
        "verifying": {"authserv_id": AUTHSERV_ID.decode()},
        "signing": {"rules": list(row.rules), "key_permissions": "off"},
        "keys": {
            name: {"domain": "example.com", "selector": name, "file": str(key_files / name)}
            for name in {key for rule in row.rules for key in rule["keys"]}  # type: ignore[attr-defined]
        },
    }
    for name, value in row.options.items():
        table, _, option = name.partition(".")
        tables.setdefault(table, {})[option] = value
    config = Config.model_validate(tables)
    policy, _, faults = build(config, uid_is_root=False, loaded=Loaded(config, ()))
    assert policy is not None, faults
    return policy


def outcome_of(row: SigningRow, policy: Policy) -> Outcome:
    return process(message(*row.head, body=row.body), policy, Client(row.client, row.authenticated), NOW, no_keys)


def read(value: bytes) -> dict[bytes, bytes]:
    """The tags, without white space, in their order."""
    parts = [re.sub(rb"[ \t\r\n]", b"", part).partition(b"=") for part in value.split(b";")]
    return {name: text for name, _, text in parts}


def demand_removed(row: SigningRow, outcome: Outcome) -> None:
    """Compare the deletions with those of the row: before all insertions, the last field first."""
    first = outcome.edits[: len(row.removed)]
    assert [edit.ordinal for edit in first if isinstance(edit, DeleteField)] == sorted(row.removed, reverse=True)
    assert not any(isinstance(edit, DeleteField) for edit in outcome.edits[len(row.removed) :])


@pytest.mark.parametrize("row", [row for row in ROWS if row.unsigned is not None], ids=str)
def test_not_signed(row: SigningRow, key_files: Path) -> None:
    outcome = outcome_of(row, policy_of(row, key_files))
    assert outcome.unsigned is row.unsigned
    assert outcome.action is not Action.SIGN
    assert not any(isinstance(edit, InsertField) and edit.name == b"DKIM-Signature" for edit in outcome.edits)
    demand_removed(row, outcome)


@requirement("S08", "S11", "A10", "A12")
@pytest.mark.parametrize("row", [row for row in ROWS if row.unsigned is None], ids=str)
def test_signed(row: SigningRow, key_files: Path) -> None:
    policy = policy_of(row, key_files)
    outcome = outcome_of(row, policy)
    assert (outcome.action, outcome.unsigned) == (Action.SIGN, None)
    demand_removed(row, outcome)
    # A10: signatures, and nothing else, are put on top; the last insertion ends uppermost.
    inserted = [edit for edit in reversed(outcome.edits) if isinstance(edit, InsertField)]
    assert len(inserted) == len(row.signed_by)
    for edit, name in zip(inserted, row.signed_by, strict=True):
        assert edit.name == b"DKIM-Signature"
        demand_shape(edit.value)
        demand_tags(row, name, edit.value)
        demand_same_by_hand(row, name, edit.value)
    first = read(inserted[0].value)
    assert {name: first.get(name) for name in row.tags} == row.tags
    made = [b"DKIM-Signature:" + edit.value for edit in inserted]
    demand_pass(row, policy, made)


def demand_shape(value: bytes) -> None:
    """S08: folds, white space and length of lines."""
    assert value.startswith(b" v=1;")
    assert re.fullmatch(rb"[\x21-\x7e \t\r\n]+", value)
    first, *others = (b"DKIM-Signature:" + value).split(b"\r\n")
    for line in others:
        assert re.match(rb"\t[^ \t]", line)
    for line in (first, *others):
        assert line == line.rstrip() and b"\r" not in line and b"\n" not in line
        # A word that alone is longer can't be folded.
        assert len(line) <= 78 or len(line.split()) == 1
        assert len(line) <= 998


def demand_tags(row: SigningRow, name: str, value: bytes) -> None:
    found = read(value)
    assert list(found) == [tag for tag in ORDER if tag in found]
    assert {b"v", b"a", b"c", b"d", b"s", b"t", b"h", b"bh", b"b"} <= set(found)
    assert (found[b"d"], found[b"s"]) == (b"example.com", name.encode())
    assert found[b"a"] == KEYS[name].algorithm.encode()
    assert found[b"t"] == b"%d" % NOW
    names = found[b"h"].lower().split(b":")
    assert b"from" in names and not NEVER & set(names)
    assert b"l" not in found
    if row.h is not None:
        assert tuple(sorted(names)) == row.h


def demand_same_by_hand(row: SigningRow, name: str, value: bytes) -> None:
    """S11: PKCS#1 v1.5 and Ed25519 have one signature; it is the one that was made here."""
    found = read(value)
    head = value[: re.search(rb"[ \t]b=[^;]*\Z", value).start() + 3]  # type: ignore[union-attr]
    how = found[b"c"].decode().partition("/")[::2]
    for unsigned in (head + b"{b}", head.replace(found[b"bh"], b"{bh}") + b"{b}"):
        names = found[b"h"].split(b":")
        by_hand = field(unsigned, KEYS[name], head=row.head, body=row.body, names=names, how=how)
        assert read(by_hand.partition(b":")[2]) == found


def demand_pass(row: SigningRow, policy: Policy, made: Sequence[bytes]) -> None:
    """S10: a stranger's verifier passes each."""
    whole = message(*made, *[entry for entry in row.head if not entry.startswith(b"DKIM-Signature")], body=row.body)
    policy = dataclasses.replace(policy, verifying=True)
    outcome = process(whole, policy, Client("192.0.2.1"), NOW, lambda names: answers(ZONE, names, policy.limits))
    assert [verdict.result for verdict in outcome.verdicts] == [Result.PASS] * len(made)


@requirement("S06")
def test_weak_keys_are_refused_when_they_are_loaded(key_files: Path) -> None:
    from phoenixdkim.dkim.limits import Limits

    assert Limits().min_rsa_bits == 1024
    row = SigningRow("", (), rules=({"from": "*", "keys": ["rsa-1024"]},), options={"limits.min_rsa_bits": 2048})
    with pytest.raises(AssertionError, match="1024"):
        policy_of(row, key_files)


def test_names_are_unique() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
