"""The session's decisions that no verdict tells: what is done with a message, and what is put into its header."""

from __future__ import annotations

from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from phoenixdkim.dkim.results import Algorithm, Reason, UnsignedReason
from phoenixdkim.dkim.sign import SigningKey
from phoenixdkim.milter.outcome import DeleteField, InsertField
from phoenixdkim.milter.session import Client, MessageSession
from phoenixdkim.policy import Disposition, Policy, SigningTable, parse_pattern
from requirement import requirement
from tables.by_hand import HEAD, NAME, message, signed
from tables.judge import outcome_of
from tables.keys import ED
from tables.row import Row

TAMPERED = signed().replace(b"dinner", b"supper")
REJECT = {"verifying.on_fail": "reject"}


@requirement("D12")
@pytest.mark.parametrize(
    ("flags", "options", "disposition"),
    [
        (b"", REJECT, Disposition.REJECT),
        (b"; t=y", REJECT, Disposition.ACCEPT),
        (b"; t=y", {**REJECT, "verifying.on_none": "quarantine"}, Disposition.QUARANTINE),
    ],
)
def test_failing_signature_of_a_domain_that_tests_is_no_signature(
    flags: bytes, options: dict[str, object], disposition: Disposition
) -> None:
    row = Row("", (), Reason.SIGNATURE_MISMATCH, TAMPERED, {NAME: (ED.record + flags,)}, options=options)
    outcome = outcome_of(row)
    assert outcome.disposition is disposition
    assert (outcome.result, outcome.reason) == (row.expected, row.reason)


@requirement("D12")
def test_passing_signature_of_a_domain_that_tests_passes() -> None:
    row = Row(
        "", (), Reason.VERIFIED, signed(), {NAME: (ED.record + b"; t=y",)}, options={"verifying.on_none": "reject"}
    )
    assert outcome_of(row).disposition is Disposition.ACCEPT


@pytest.mark.parametrize(
    ("option", "zone", "disposition"),
    [
        ("on_permerror", {}, Disposition.REJECT),
        ("on_fail", {NAME: (ED.record,)}, Disposition.REJECT),
        ("on_temperror", {}, Disposition.ACCEPT),
    ],
)
def test_each_result_has_its_option(option: str, zone: dict[bytes, tuple[bytes]], disposition: Disposition) -> None:
    outcome = outcome_of(Row("", (), Reason.NO_KEY, TAMPERED, zone, options={f"verifying.{option}": "reject"}))
    assert outcome.disposition is disposition
    assert (outcome.reply is not None) is (disposition is Disposition.REJECT)


@requirement("A06", "A07", "A10")
def test_forged_fields_are_deleted_from_the_last_up_before_ours_goes_on_top() -> None:
    forged = b"Authentication-Results: mx.example.org; dkim=pass"
    outcome = outcome_of(Row("", (), Reason.NO_SIGNATURE, message(forged, b"X: y", forged, *HEAD, forged)))
    assert [type(edit) for edit in outcome.edits] == [DeleteField, DeleteField, DeleteField, InsertField]
    assert [edit.ordinal for edit in outcome.edits if isinstance(edit, DeleteField)] == [3, 2, 1]


@requirement("A06", "A09")
@pytest.mark.parametrize(
    "name", ["ARC-Authentication-Results", "X-Authentication-Results", "Authentication-Results-2", "Authentication"]
)
def test_fields_of_other_names_are_kept_and_not_counted(name: str) -> None:
    forged = b": mx.example.org; dkim=pass"
    fields = (name.encode() + forged, b"AUTHENTICATION-RESULTS\t" + forged)
    outcome = outcome_of(Row("", (), Reason.NO_SIGNATURE, message(*fields, *HEAD)))
    assert [edit for edit in outcome.edits if isinstance(edit, DeleteField)] == [
        DeleteField(b"AUTHENTICATION-RESULTS", 1)
    ]


class _Broken:
    """A private key that fails."""

    def sign(self, *_arguments: object) -> bytes:
        raise ValueError("no signature")


@requirement("A06", "A07")
def test_a_message_whose_keys_fail_loses_what_claims_our_name() -> None:
    private = cast("Ed25519PrivateKey", _Broken())
    key = SigningKey("main", b"example.com", b"main", Algorithm.ED25519_SHA256, private)
    policy = Policy(
        b"mx.example.org",
        signing=True,
        table=SigningTable.of({parse_pattern("*@example.com"): (key,)}),
        on_internal_error=Disposition.ACCEPT,
    )
    session = MessageSession(policy, Client("192.0.2.1", authenticated=True), 0)
    for name, value in ((b"Authentication-Results", b" mx.example.org; none"), (b"From", b" a@example.com")):
        session.header(name, value)
    session.end_of_headers()
    outcome = session.end_of_message({})
    assert (outcome.unsigned, outcome.disposition) == (UnsignedReason.SIGNING_ERROR, Disposition.ACCEPT)
    assert outcome.edits == (DeleteField(b"Authentication-Results", 1),)
