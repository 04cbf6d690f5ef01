"""Who is trusted, who is signed with what, what happens on a result."""

from __future__ import annotations

import ipaddress
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from phoenixdkim import policy as policy_module
from phoenixdkim.dkim.results import Algorithm, Result
from phoenixdkim.dkim.sign import SigningKey
from phoenixdkim.policy import (
    Disposition,
    Pattern,
    PatternError,
    Policy,
    RemoveForged,
    SigningTable,
    ascii_domain,
    parse_pattern,
)

_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))


def key(name: str) -> SigningKey:
    return SigningKey(name, b"example.com", name.encode(), Algorithm.ED25519_SHA256, _PRIVATE)


def policy(*patterns: str, networks: tuple[str, ...] = (), **options: object) -> Policy:
    table = SigningTable.of({parse_pattern(text): (key(text),) for text in patterns})
    return Policy(
        authserv_id=b"mx.example.com",
        table=table,
        networks=tuple(ipaddress.ip_network(text) for text in networks),
        **options,  # type: ignore[arg-type]
    )


def found(policy: Policy, address: bytes) -> str:
    keys = policy.keys_for(address)
    return keys[0].name if keys else ""


ALL = ("user@example.com", "*@example.com", "*@*.example.com", "*@*.sub.example.com", "*")


@pytest.mark.parametrize(
    ("address", "decides"),
    [
        (b"user@example.com", "user@example.com"),
        (b"USER@Example.COM", "user@example.com"),
        (b"user@example.com.", "user@example.com"),
        (b"other@example.com", "*@example.com"),
        (b"user@sub.example.com", "*@*.example.com"),
        (b"user@a.sub.example.com", "*@*.sub.example.com"),
        (b"user@b.a.sub.example.com", "*@*.sub.example.com"),
        (b"user@notexample.com", "*"),
        (b"user@example.com.evil.test", "*"),
        (b'"odd@local"@example.com', "*@example.com"),
        (b"@example.com", "*@example.com"),
    ],
)
@pytest.mark.parametrize("patterns", [ALL, ALL[::-1]], ids=["as told", "reversed"])
def test_the_most_specific_rule_decides_whatever_the_order(
    patterns: tuple[str, ...], address: bytes, decides: str
) -> None:
    assert found(policy(*patterns), address) == decides


def test_a_domain_rule_does_not_match_subdomains_nor_the_reverse() -> None:
    assert found(policy("*@example.com"), b"u@sub.example.com") == ""
    assert found(policy("*@*.example.com"), b"u@example.com") == ""


def test_a_domain_of_very_many_labels_takes_no_long_walk() -> None:
    assert found(policy("*@*.example.com"), b"u@" + b"a." * 200_000 + b"example.com") == ""


def test_internationalised_domains_match_in_both_forms() -> None:
    rules = policy("*@bücher.example")
    assert found(rules, "u@BÜCHER.example".encode()) == "*@bücher.example"
    assert found(rules, b"u@xn--bcher-kva.example") == "*@bücher.example"
    assert found(rules, b"u@b\xfccher.example") == ""


def test_a_domain_that_is_no_text_gets_no_signature_even_for_everyone() -> None:
    assert policy("*").keys_for(b"u@\xff\xfe.example") == ()


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("*", Pattern(b"", b"", False)),
        ("*@*", Pattern(b"", b"", False)),
        ("example.com", Pattern(b"", b"example.com", False)),
        ("*.example.com", Pattern(b"", b"example.com", True)),
        ("User@Example.com", Pattern(b"user", b"example.com", False)),
    ],
)
def test_patterns(text: str, pattern: Pattern) -> None:
    assert parse_pattern(text) == pattern


@pytest.mark.parametrize(
    "text", ["", "@example.com", "u*@example.com", "u@*.example.com", "a b@example.com", "u@", "*@ex*mple.com", "u@-x"]
)
def test_patterns_refused_say_what_to_write(text: str) -> None:
    with pytest.raises(PatternError, match=r'write "user@example\.com"'):
        parse_pattern(text)


@pytest.mark.parametrize("text", ["", "a..b", "x" * 64, "a." * 127 + "com", "a;b", "a b", "a\r\nb", "a\0b", "-a"])
def test_s07_no_domain_with_what_could_end_its_tag(text: str) -> None:
    """S07"""
    with pytest.raises(ValueError):
        ascii_domain(text)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("192.0.2.77", True),
        ("192.0.3.1", False),
        ("::ffff:192.0.2.77", True),
        ("::ffff:192.0.3.1", False),
        ("IPv6:2001:db8::1", True),
        ("2001:db9::1", False),
        ("2001:db8::1%eth0", True),
        ("", False),
        ("localhost", False),
        (None, False),
    ],
)
def test_s13_trusted_networks(address: str | None, trusted: bool) -> None:
    """S13"""
    rules = policy(networks=("127.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"))
    assert rules.trusted(address, False) is trusted
    assert rules.trusted(address, False) is trusted  # from the cache


A = {"{daemon_name}": frozenset({"ORIGINATING", "submission"})}
SET = {"{auth_authen}": frozenset[str]()}


@pytest.mark.parametrize(
    ("trusted", "required", "macros", "address", "authenticated", "expected"),
    [
        # One trusted macro is an alternative to networks and authentication.
        (A, {}, {"{daemon_name}": "ORIGINATING"}, "203.0.113.9", False, True),
        (A, {}, {"{daemon_name}": "submission"}, None, False, True),
        (A, {}, {"{daemon_name}": "originating"}, "203.0.113.9", False, False),
        (A, {}, {"{daemon_name}": "ORIGINATING "}, "203.0.113.9", False, False),
        (A, {}, {"{daemon_name}": ""}, "203.0.113.9", False, False),
        (A, {}, {}, "203.0.113.9", False, False),
        (A, {}, {"v": "ORIGINATING"}, "203.0.113.9", False, False),
        (A, {}, {"{daemon_name}": "smtpd"}, "10.0.0.1", False, True),
        (A, {}, {}, "203.0.113.9", True, True),
        ({**A, **SET}, {}, {"{auth_authen}": "joe"}, "203.0.113.9", False, True),
        (SET, {}, {"{auth_authen}": ""}, "203.0.113.9", False, False),
        # All required macros are a condition on each of the three.
        ({}, A, {"{daemon_name}": "ORIGINATING"}, "10.0.0.1", False, True),
        ({}, A, {"{daemon_name}": "reinjection"}, "10.0.0.1", False, False),
        ({}, A, {"{daemon_name}": "reinjection"}, "203.0.113.9", True, False),
        ({}, A, {}, "10.0.0.1", True, False),
        ({}, A, {"{daemon_name}": "ORIGINATING"}, "203.0.113.9", False, False),
        ({}, {**A, **SET}, {"{daemon_name}": "ORIGINATING"}, "10.0.0.1", False, False),
        ({}, {**A, **SET}, {"{daemon_name}": "submission", "{auth_authen}": "j"}, "10.0.0.1", False, True),
        (A, SET, {"{daemon_name}": "ORIGINATING"}, "203.0.113.9", False, False),
        (A, SET, {"{daemon_name}": "ORIGINATING", "{auth_authen}": "j"}, "203.0.113.9", False, True),
    ],
)
def test_s13_macros(
    trusted: dict[str, frozenset[str]],
    required: dict[str, frozenset[str]],
    macros: dict[str, str],
    address: str | None,
    authenticated: bool,
    expected: bool,
) -> None:
    rules = policy(networks=("10.0.0.0/8",), trusted_macros=trusted, required_macros=required)
    assert rules.trusted(address, authenticated, macros) is expected
    assert set(rules.macro_names) == {*trusted, *required}


def test_s13_authenticated_clients_are_trusted_unless_told_otherwise() -> None:
    """S13"""
    assert policy().trusted(None, True)
    assert policy().trusted("203.0.113.9", True)
    assert not policy(trust_authenticated=False).trusted("203.0.113.9", True)


def test_dispositions() -> None:
    assert {policy().disposition(result) for result in Result} == {Disposition.ACCEPT}
    strict = policy(on_result={Result.FAIL: Disposition.QUARANTINE})
    assert strict.disposition(Result.FAIL) is Disposition.QUARANTINE
    assert strict.disposition(Result.PASS) is Disposition.ACCEPT


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("192.0.2.7", True),
        ("192.0.3.7", False),
        ("::ffff:192.0.2.7", True),
        ("IPv6:2001:db8::1", True),
        ("2001:db9::1", False),
        ("", False),
        ("client.example", False),
        (None, False),
    ],
)
def test_networks_whose_results_are_kept(address: str | None, kept: bool) -> None:
    networks = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
    policy = Policy(b"mx.example.com", networks=(ipaddress.ip_network("192.0.3.0/24"),), keep_from=networks)
    assert policy.keeps_results(address) is kept
    assert not Policy(b"mx.example.com", networks=networks).keeps_results(address)
    off = Policy(b"mx.example.com", remove_forged=RemoveForged.OFF)
    assert off.keeps_results(address)


DOMAINS = ("a", "A.b", "a-b.c_d", "_x", "a" * 63, ".".join(["a" * 63] * 3) + "." + "b" * 61)
OTHERS = ("", ".", "a.", "a..b", ".a", "-a", "a-", "a.-b", "a b", "a\n", " a ", "a" * 64, ".".join(["a" * 63] * 4))


@pytest.mark.parametrize("text", [*DOMAINS, *OTHERS, "ä.b", "a;"])
def test_the_short_way_of_ascii_domain_says_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> object:
        try:
            return ascii_domain(text)
        except ValueError as error:
            return str(error)

    short = said()
    monkeypatch.setattr(policy_module, "_PLAIN", re.compile("(?!)"))
    assert said() == short
