"""S01, S13: every From form that opendkim signs is signed here too, except those with a reason in the table."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from interop.from_forms import FORMS, OTHER, OURS, FromForm
from interop.opendkim import OpenDkim
from interop.peers import KeyPair
from phoenixdkim.cli.message import no_keys, process
from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.dkim.sign import SigningKey
from phoenixdkim.milter.session import Client
from phoenixdkim.policy import Policy, SigningTable, parse_pattern
from requirement import requirement

NOW = 1_800_000_000


@pytest.fixture(scope="module")
def keys() -> tuple[KeyPair, KeyPair]:
    return KeyPair.rsa(OURS, "ours"), KeyPair.rsa(OTHER, "other")


@pytest.fixture(scope="module")
def opendkim(keys: tuple[KeyPair, ...]) -> Iterator[OpenDkim]:
    with OpenDkim(keys) as running:
        yield running


def signed_here(form: FromForm, keys: tuple[KeyPair, ...]) -> str | None:
    rules = {
        parse_pattern(f"*@{key.domain}"): (
            SigningKey(key.selector, key.domain.encode(), key.selector.encode(), Algorithm.RSA_SHA256, key.private),
        )
        for key in keys
    }
    policy = Policy(b"mx.example", signing=True, table=SigningTable.of(rules), verifying=False)
    outcome = process(
        b"From:" + form.value + b"\r\n\r\ntext\r\n", policy, Client("192.0.2.1", authenticated=True), NOW, no_keys
    )
    assert (outcome.unsigned is None) == bool(outcome.signatures)
    return outcome.signatures[0].domain.decode() if outcome.signatures else None


@requirement("S01")
@requirement("S13")
@pytest.mark.parametrize("form", FORMS, ids=lambda form: repr(form.value))
def test_who_signs(form: FromForm, keys: tuple[KeyPair, ...]) -> None:
    assert signed_here(form, keys) == form.signed


@requirement("S13")
@pytest.mark.parametrize("form", FORMS, ids=lambda form: repr(form.value))
def test_what_opendkim_signs_is_signed_here(form: FromForm, opendkim: OpenDkim) -> None:
    there = opendkim.signing_domain(form.value)
    if form.unlike_opendkim:
        assert there not in (None, form.signed), "this form needs no reason"
    elif there is not None:
        assert form.signed == there


def test_no_reader_is_given_a_signature_for_display_text() -> None:
    """A form that is signed has its domain in an address, not only in quoted strings, comments or encoded words."""
    for form in FORMS:
        if form.signed is not None:
            bare = re.sub(rb'"(?:[^"\\]|\\.)*"(?!@)|\([^()]*\)|=\?\S*\?=', b"", form.value)
            bare = re.sub(rb"\s*\.\s*", b".", bare)
            assert b"@" in bare and form.signed.encode() in bare.lower()


def test_the_table_is_large() -> None:
    assert len(FORMS) >= 100
    assert len({form.value for form in FORMS}) == len(FORMS)
