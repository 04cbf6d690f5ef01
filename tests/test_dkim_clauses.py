"""Fields under our name that are kept with ``remove_forged = "own"``, and those that may hold a result of DKIM."""

from __future__ import annotations

import time

import pytest

from phoenixdkim.dkim_clauses import may_have_dkim_clause
from requirement import requirement

US = b"mx.example.com"

KEPT = (
    b"; spf=pass smtp.mailfrom=joe@example.org",
    b"; spf=pass (sender is authorized) smtp.mailfrom=example.org smtp.helo=mail.example.org",
    b"; SPF=Pass",
    b";\r\n\tspf=pass smtp.mailfrom=a@b.example;\r\n\tdmarc=pass (p=none dis=none) header.from=b.example",
    b"; dmarc=pass (p=none dis=none) header.from=example.org",
    b"; dmarc=pass (policy=none) header.from=dkim.example",
    b'; arc=pass ("example.org:s=arc-2026:i=1")',
    b"; arc=pass (i=1 spf=pass spfdomain=example.org dkim=pass dkdomain=example.org dmarc=pass)",
    b"; arc=pass header.oldest-pass=0 smtp.remote-ip=192.0.2.1",
    b"; auth=pass smtp.auth=joe smtp.mailfrom=joe@example.org",
    b'; auth=pass smtp.auth="joe doe"',
    b"; iprev=pass policy.iprev=192.0.2.1",
    b"; iprev=pass policy.iprev=2001:db8::1",
    b"; sender-id=pass header.from=example.org",
    b"; vbr=pass header.md=example.org",
    b"; domainkeys=pass header.from=example.org",
    b"; bimi=pass header.d=example.org header.selector=default policy.authority=pass",
    b"; smime=pass body.smime-identifier=joe@example.org",
    b"; x-local-check=pass policy.rule=a/b=c",
    b"; spf/1=pass",
    b"; spf / 1 = pass",
    b"; (by hand) spf (x) = (y) pass",
    b'; spf=fail reason="not authorized; see RFC 7208"',
    b"; spf=pass smtp.mailfrom=x@dkim.example",
    b"; spf=pass; none",
    b" 1; spf=pass",
)
"""Behind our name: results of other methods."""

REMOVED = (
    b"; dkim=pass",
    b"; DKIM=pass",
    b"; Dkim = pass header.d=bank.example",
    b"; dkim/1=pass",
    b"; dkim / 1 = pass",
    b"; (x) dkim=pass",
    b"; (x(y)z) dkim (x) = pass",
    b"; dkim(x)/(y)1(z)=pass",
    b'; "dkim"=pass',
    b"; d\\kim=pass",
    b"; =?utf-8?q?dkim?=\x3dpass",
    b"; =?utf-8?q?dk=69m?==pass",
    b"; spf=pass =?utf-8?q?=3B_dkim=3Dpass?=",
    b'; spf=pass reason="=?utf-8?q?a?="',
    b"; spf=pass; dkim=pass",
    b"; dkim=fail; spf=pass",
    b"; spf=pass dkim=pass",
    b"; spf=pass smtp.mailfrom=a@b.example dkim=pass header.d=bank.example",
    b"; spf=pass (; dkim=pass)",
    b"; spf=pass (dkim=pass)",
    b"; dmarc=pass (a (b) ; dkim=pass)",
    b"; dmarc=pass (dkim/1 = pass)",
    b"; arc=pass (a; dkim=pass)",
    b"; arc=pass (a (b) dkim=pass)",
    b"; arc=pass (a \\) ; dkim=pass)",
    b'; spf=pass reason="; dkim=pass"',
    b'; spf=pass reason="dkim=pass"',
    b'; spf=pass smtp.mailfrom="x; dkim=pass"',
    b"; dkim-adsp=pass",
    b"; dkim-atps=pass header.from=example.org",
    b"; x-dkim=pass",
    "; d\u200bkim=pass".encode(),
    "; \uff44kim=pass".encode(),
    "; d\u00adkim=pass".encode(),
    "; spf=pass (\uff44kim=pass)".encode(),
    b"; d\x01kim=pass",
    b"; d\0kim=pass",
    b"; spf=pass\0; dkim=pass",
    b"",
    b";",
    b"; none",
    b";;",
    b" 1",
    b"; spf",
    b"; spf=",
    b"; spf=pass smtp.mailfrom",
    b"; spf=pass (open",
    b'; spf=pass "open',
    b"; spf=pass)",
    b" x y; spf=pass",
    b" x; spf=pass",
    b":25; spf=pass",
    b".; spf=pass",
    b"/1 x; spf=pass",
    b" spf=pass",
    b"; spf=pass" + b" " * 20_000,
)
"""Behind our name: results of DKIM, no result, or what cannot be read."""


@requirement("A09")
@pytest.mark.parametrize("value", KEPT)
def test_results_of_other_methods_are_kept(value: bytes) -> None:
    assert not may_have_dkim_clause(b" mx.example.com" + value, US)
    assert not may_have_dkim_clause(b' (c) "MX.example.com"' + value, b"mx.example.org", b"MX.Example.Com")


@requirement("A06", "A08")
@pytest.mark.parametrize("value", REMOVED)
def test_what_may_be_a_result_of_dkim_is_removed(value: bytes) -> None:
    assert may_have_dkim_clause(b" mx.example.com" + value, US)


@requirement("A06")
@pytest.mark.parametrize(
    "value",
    [
        b"mx.example.org; spf=pass",
        b"<mx.example.com>; spf=pass",
        b"=?utf-8?q?mx.example.com?=; spf=pass",
        b"mx\\.example.com; spf=pass",
        b"; mx.example.com; spf=pass",
        b"spf=pass",
    ],
)
def test_a_name_that_is_not_ours_as_it_is_does_not_keep_a_field(value: bytes) -> None:
    assert may_have_dkim_clause(value, US)


def test_without_a_name_every_field_counts() -> None:
    assert may_have_dkim_clause(b"mx.example.com; spf=pass")


@pytest.mark.parametrize(
    "piece", [b"dkim", b"dkim (x)", b"(", b'"', b"\\", b"arc=pass (", b"; spf=pass", b"a.b=c ", b" "]
)
def test_work_is_bounded(piece: bytes) -> None:
    for size in (16_000, 1_000_000):
        started = time.process_time()
        may_have_dkim_clause(b"mx.example.com; spf=pass " + piece * (size // len(piece)), US)
        assert time.process_time() - started < 1
