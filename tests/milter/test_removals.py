"""Which fields of a message are removed, and in which order."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest

from phoenixdkim.milter.outcome import DeleteField
from phoenixdkim.milter.removals import Removals
from phoenixdkim.policy import Policy, RemoveForged
from requirement import requirement

US = b"mx.example.com"
POLICY = Policy(US, removed_ids=(b"mx2.example.com",), keep_from=(ipaddress.ip_network("192.0.2.0/24"),))
OURS = b" mx.example.com; dkim=pass"
OTHERS = b" mx.example.org; dkim=pass"


def removed(
    fields: list[tuple[bytes, bytes]], policy: Policy = POLICY, address: str | None = "203.0.113.1"
) -> list[int]:
    removals = Removals(policy, address, US)
    for name, value in fields:
        removals.field(name, value, read=True)
    return [edit.ordinal for edit in removals.edits]


@requirement("A06", "A07")
def test_the_last_field_first_by_the_name_that_it_has() -> None:
    removals = Removals(POLICY, None, US)
    for name in (b"Authentication-Results", b"AUTHENTICATION-results \t", b"authentication-results"):
        removals.field(name, OURS, read=True)
    assert removals.edits == (
        DeleteField(b"authentication-results", 3),
        DeleteField(b"AUTHENTICATION-results", 2),
        DeleteField(b"Authentication-Results", 1),
    )


@requirement("A09")
def test_further_names() -> None:
    values = [OTHERS, b" MX2.example.com; none", b" =?utf-8?q?mx2?=.example.com; none", b" mx3.example.com; none"]
    assert removed([(b"Authentication-Results", value) for value in values]) == [3, 2]


def test_past_the_limits_fields_are_removed_unread() -> None:
    removals = Removals(POLICY, None, US)
    for read in (True, False, True):
        removals.field(b"Authentication-Results", OTHERS, read=read)
    assert removals.edits == (DeleteField(b"Authentication-Results", 2),)


def test_of_fields_that_readers_read_differently_a_bounded_number_is_read() -> None:
    doubtful = [(b"Authentication-Results", b" (c) mx.example.org; none")] * 101
    plain = [(b"Authentication-Results", OTHERS)] * 500
    assert removed([*plain, *doubtful, *plain]) == [601]


@pytest.mark.parametrize("address", ["192.0.2.1", "::ffff:192.0.2.1"])
def test_networks_whose_fields_are_kept(address: str) -> None:
    assert removed([(b"Authentication-Results", OURS)], address=address) == []
    assert removed([(b"Authentication-Results", OURS)], address="198.51.100.1") == [1]


def test_off() -> None:
    policy = dataclasses.replace(POLICY, remove_forged=RemoveForged.OFF)
    assert (
        removed([(b"Authentication-Results", OURS), (b"Authentication-Results", b" mx2.example.com; none")], policy)
        == []
    )


@requirement("A06", "A09")
def test_own_keeps_results_of_other_methods_under_our_name_only() -> None:
    policy = dataclasses.replace(POLICY, remove_forged=RemoveForged.OWN)
    values = [
        b" mx.example.com; spf=pass",
        b" mx.example.com; dkim=pass",
        b" mx2.example.com; spf=pass",
        b" mx.example.com",
        b" mx.example.org; dkim=pass",
        b" =?utf-8?q?mx?=.example.com; spf=pass",
        b" mx.example.com 1; dmarc=pass (p=none)",
        b" (mx.example.com; spf=pass",
    ]
    assert removed([(b"Authentication-Results", value) for value in values], policy) == [8, 6, 4, 3, 2]


def test_own_removes_what_is_named_besides() -> None:
    policy = dataclasses.replace(POLICY, remove_forged=RemoveForged.OWN, removed_ids=(US,))
    assert removed([(b"Authentication-Results", b" mx.example.com; spf=pass")], policy) == [1]


def test_own_keeps_what_filters_wrote_under_each_of_our_names() -> None:
    """The name on the connection, and the one of the configuration."""
    policy = dataclasses.replace(POLICY, remove_forged=RemoveForged.OWN)
    removals = Removals(policy, None, b"gate.example.com")
    for value in (b" gate.example.com; spf=pass", b" mx.example.com; spf=pass", b" gate.example.com; dkim=pass"):
        removals.field(b"Authentication-Results", value, read=True)
    assert [edit.ordinal for edit in removals.edits] == [3]
