"""Policy, keys and resolver options made of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from phoenixdkim.config.build import build
from phoenixdkim.config.faults import Fault
from phoenixdkim.config.load import read_text
from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm, Result
from phoenixdkim.dkim.sign import SignOptions
from phoenixdkim.dns.options import ResolverOptions
from phoenixdkim.keystore import make_private_key
from phoenixdkim.policy import Disposition, Policy


def built(text: str, root: bool = False) -> tuple[Policy | None, ResolverOptions, tuple[Fault, ...]]:
    loaded = read_text(text, "file")
    assert loaded.config is not None, [str(fault) for fault in loaded.faults]
    return build(loaded.config, uid_is_root=root, loaded=loaded, host_name=lambda: "mx.example.com")


@pytest.fixture
def signing(tmp_path: Path) -> str:
    for name, algorithm in (("rsa", Algorithm.RSA_SHA256), ("ed", Algorithm.ED25519_SHA256)):
        path = tmp_path / f"{name}.pem"
        path.touch(0o600)
        path.write_bytes(make_private_key(algorithm))
    return f"""\
[signing]
canonicalization = "simple"
signature_ttl = 86400
[[signing.rules]]
from = "*@example.com"
keys = ["rsa", "ed"]
[[signing.rules]]
from = "*@*.example.com"
keys = ["ed"]
identity = "@News.example.com"
[keys.rsa]
domain = "Example.com"
selector = "s1"
file = "{tmp_path}/rsa.pem"
[keys.ed]
domain = "example.com"
selector = "s2"
file = "{tmp_path}/ed.pem"
"""


def test_defaults_are_those_of_the_parts() -> None:
    policy, resolver, faults = built("[milter]")
    assert faults == ()
    assert policy is not None
    assert policy.limits == Limits()
    assert policy.sign_options == SignOptions()
    assert resolver == ResolverOptions()
    assert policy.authserv_id == b"mx.example.com"
    assert not policy.signing
    assert policy.verifying
    assert policy.on_internal_error is Disposition.TEMPFAIL
    assert {policy.disposition(result) for result in Result} == {Disposition.ACCEPT}


def test_rules_and_keys(signing: str) -> None:
    policy, _, faults = built(signing)
    assert faults == ()
    assert policy is not None
    assert policy.signing
    rsa, ed = policy.keys_for(b"u@example.com")
    assert (rsa.name, rsa.domain, rsa.selector, rsa.algorithm) == ("rsa", b"example.com", b"s1", Algorithm.RSA_SHA256)
    assert (ed.name, ed.algorithm, ed.identity) == ("ed", Algorithm.ED25519_SHA256, b"")
    (below,) = policy.keys_for(b"u@a.example.com")
    assert below.identity == b"@news.example.com"
    assert policy.sign_options.header_canon is Canonicalization.SIMPLE
    assert policy.sign_options.body_canon is Canonicalization.SIMPLE
    assert policy.sign_options.ttl == 86400


def test_each_key_that_is_missing_is_a_fault_at_its_line(signing: str, tmp_path: Path) -> None:
    (tmp_path / "rsa.pem").unlink()
    (tmp_path / "ed.pem").write_text("nothing")
    policy, _, faults = built(signing)
    assert policy is None
    assert [(fault.line, fault.path, fault.is_error) for fault in faults] == [
        (14, ("keys", "rsa", "file"), True),
        (18, ("keys", "ed", "file"), True),
    ]


def test_loose_permissions_refuse_warn_or_pass(signing: str, tmp_path: Path) -> None:
    (tmp_path / "rsa.pem").chmod(0o644)
    policy, _, (fault,) = built(signing)
    assert policy is None
    assert "chmod" in str(fault)
    policy, _, (fault,) = built(signing.replace("[signing]", '[signing]\nkey_permissions = "warn"'))
    assert policy is not None
    assert str(fault).startswith("file:15: warning: keys.rsa.file: ")
    policy, _, none = built(signing.replace("[signing]", '[signing]\nkey_permissions = "off"'))
    assert policy is not None
    assert none == ()


def test_started_as_root_the_user_must_exist() -> None:
    policy, _, (fault,) = built('[process]\nuser = "no-such-user"', root=True)
    assert policy is None
    assert str(fault).startswith('file:2: process.user: there is no user "no-such-user"; ')
    assert "useradd --system" in str(fault)
    assert built('[process]\nuser = "no-such-user"', root=False)[2] == ()
    assert built('[process]\nuser = "61234"', root=True)[2] == ()
    assert built('[process]\nuser = "nobody"', root=True)[2] == ()


def test_a_zone_that_can_not_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "zone").write_text('a. TXT "unclosed')
    policy, _, (fault,) = built(f'[dns]\nzone = "{tmp_path}/zone"')
    assert policy is None
    assert (fault.line, fault.path) == (2, ("dns", "zone"))


def test_options_arrive() -> None:
    policy, resolver, faults = built("""\
[milter]
on_internal_error = "accept"
[signing]
enabled = false
trusted = ["192.0.2.0/24"]
trust_authenticated = false
[verifying]
authserv_id = "mx.example.org"
remove_authserv_ids = ["mx2.example.org"]
length_policy = "accept"
multiple_from = "report"
on_fail = "quarantine"
on_permerror = "tempfail"
add_none = false
[limits]
max_signatures = 3
[dns]
nameservers = ["127.0.0.1:5353"]
query_timeout = 1
""")
    assert faults == ()
    assert policy is not None
    assert policy.on_internal_error is Disposition.ACCEPT
    assert policy.trusted("192.0.2.9", False)
    assert not policy.trusted("127.0.0.1", True)
    assert policy.authserv_id == b"mx.example.org"
    assert policy.removed_ids == (b"mx2.example.org",)
    assert policy.length_policy == "accept"
    assert policy.from_policy == "report"
    assert policy.disposition(Result.FAIL) is Disposition.QUARANTINE
    assert policy.disposition(Result.PERMERROR) is Disposition.TEMPFAIL
    assert not policy.add_none
    assert policy.limits.max_signatures == 3
    assert resolver.nameservers == ("127.0.0.1:5353",)
    assert resolver.query_timeout == 1
