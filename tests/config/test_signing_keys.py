"""Keys of a configuration that cannot be used: refused, or the mail of their rules deferred."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from key_files import ED25519, SMALL, Numbers, armour, pem, private_directory, written
from phoenixdkim.config.build import build
from phoenixdkim.config.faults import Fault
from phoenixdkim.config.load import read_text
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.dkim.results import UnsignedReason
from phoenixdkim.events import Action
from phoenixdkim.milter.outcome import InsertField, Outcome, SmtpReply
from phoenixdkim.milter.session import Client, MessageSession
from phoenixdkim.policy import Disposition, MissingKeys, Policy

RULES = {"one.example": ["good"], "two.example": ["bad"], "three.example": ["bad", "good"], "four.example": ["worse"]}
TRUSTED, STRANGER = Client("127.0.0.1"), Client("192.0.2.1")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    directory = private_directory(tmp_path)
    written(directory / "good")
    written(directory / "bad", pem(SMALL))
    written(directory / "worse", ED25519)
    return directory


def configuration(keys: Path, on_missing_key: str = "tempfail") -> str:
    lines = ["[signing]", f'on_missing_key = "{on_missing_key}"']
    for domain, names in RULES.items():
        lines += ["[[signing.rules]]", f'from = "*@{domain}"', f"keys = {names}"]
    for name in ("good", "bad", "worse", "unused"):
        lines += [f"[keys.{name}]", 'domain = "example.com"', f'selector = "{name}"', f'file = "{keys}/{name}"']
    return "\n".join(lines)


def built(text: str) -> tuple[Policy | None, tuple[Fault, ...]]:
    loaded = read_text(text, "file")
    assert loaded.config is not None, [str(fault) for fault in loaded.faults]
    policy, _, faults = build(loaded.config, uid_is_root=False, loaded=loaded, host_name=lambda: "mx.example.com")
    return policy, tuple(fault for fault in faults if fault.path[0] == "keys")


def sent(policy: Policy, domain: str, client: Client = TRUSTED) -> Outcome:
    fields, body = parse_message(b"From: user@%s\r\nSubject: x\r\n\r\nHello\r\n" % domain.encode())
    session = MessageSession(policy, client, 1_780_000_000)
    for field in fields:
        session.header(field.name, field.value)
    session.end_of_headers()
    session.body(body)
    return session.end_of_message({})


def unreadable(path: Path) -> None:
    path.chmod(0o000)


def absent(path: Path) -> None:
    path.unlink()


def damaged(path: Path) -> None:
    written(path, pem(SMALL)[:300])


def wrong(path: Path) -> None:
    written(path, armour(Numbers.of(SMALL).but(d=5).der(), "RSA PRIVATE KEY"))


def too_short(path: Path) -> None:
    written(path, armour(Numbers.of(SMALL).but(n=SMALL.private_numbers().p).der(), "RSA PRIVATE KEY"))


def open_to_others(path: Path) -> None:
    path.chmod(0o666)


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def public(path: Path) -> None:
    path.write_bytes(b"v=DKIM1; k=ed25519; p=abc")


WAYS = [absent, damaged, wrong, too_short, open_to_others, a_directory, dangling, public]
if os.getuid() != 0:
    WAYS.append(unreadable)


@pytest.mark.parametrize("way", WAYS)
def test_refused_by_default(keys: Path, way: object) -> None:
    written(keys / "unused")
    way(keys / "bad")  # type: ignore[operator]
    for text in (configuration(keys, "refuse"), configuration(keys).replace('on_missing_key = "tempfail"\n', "")):
        policy, faults = built(text)
        assert policy is None
        assert [(fault.path, fault.is_error) for fault in faults] == [(("keys", "bad", "file"), True)]


@pytest.mark.parametrize("way", WAYS)
def test_only_mail_of_its_rules_is_deferred(keys: Path, way: object) -> None:
    written(keys / "unused")
    way(keys / "bad")  # type: ignore[operator]
    policy, faults = built(configuration(keys))
    assert policy is not None
    (fault,) = faults
    assert not fault.is_error and fault.path == ("keys", "bad", "file")
    assert fault.message.startswith(str(keys / "bad")) or fault.message.startswith(str(keys))
    assert 'signing.rules[1] ("*@two.example"): its mail is deferred with 451' in fault.message
    assert 'signing.rules[2] ("*@three.example"): its mail is signed with its other keys' in fault.message
    deferred = sent(policy, "two.example")
    assert deferred == Outcome(
        Action.PASS,
        Disposition.TEMPFAIL,
        unsigned=UnsignedReason.KEY_MISSING,
        domain=b"two.example",
        reply=SmtpReply("451", "4.7.5", "signing key not available, try again later"),
    )
    for domain in ("one.example", "three.example", "four.example"):
        outcome = sent(policy, domain)
        assert outcome.action is Action.SIGN
        assert len([edit for edit in outcome.edits if isinstance(edit, InsertField)]) == 1
    other = sent(policy, "other.example")
    assert (other.action, other.unsigned) == (Action.VERIFY, UnsignedReason.NO_RULE)
    # Incoming mail that claims to be from there is verified as ever.
    incoming = sent(policy, "two.example", STRANGER)
    assert (incoming.action, incoming.disposition) == (Action.VERIFY, Disposition.ACCEPT)


def test_no_key_at_all(keys: Path) -> None:
    for path in keys.iterdir():
        path.unlink()
    policy, faults = built(configuration(keys))
    assert policy is not None
    assert {fault.path[1] for fault in faults} == {"good", "bad", "worse", "unused"}
    assert "no signing rule uses this key" in next(fault.message for fault in faults if fault.path[1] == "unused")
    for domain in RULES:
        assert sent(policy, domain).unsigned is UnsignedReason.KEY_MISSING


def test_a_less_specific_rule_does_not_step_in(keys: Path) -> None:
    """A rule whose keys are missing still decides: mail is not signed with the keys of a broader rule."""
    (keys / "bad").unlink()
    text = configuration(keys).replace('from = "*@one.example"', 'from = "*"')
    policy, _ = built(text.replace('from = "*@two.example"', 'from = "user@two.example"'))
    assert policy is not None
    assert policy.keys_for(b"user@two.example") == MissingKeys(("bad",))
    assert sent(policy, "two.example").unsigned is UnsignedReason.KEY_MISSING
    assert sent(policy, "any.example").action is Action.SIGN


def test_many_rules_of_one_key_make_one_short_warning(keys: Path) -> None:
    (keys / "bad").unlink()
    rules = [f'[[signing.rules]]\nfrom = "*@d{number}.example"\nkeys = ["bad"]' for number in range(500)]
    _, faults = built(configuration(keys) + "\n" + "\n".join(rules))
    (fault,) = (fault for fault in faults if fault.path[1] == "bad")
    assert "and 496 more: its mail is deferred" in fault.message and len(fault.message) < 1000


def test_identity_stays_with_the_keys_that_are_left(keys: Path) -> None:
    (keys / "bad").unlink()
    text = configuration(keys).replace("keys = ['bad', 'good']", "keys = ['bad', 'good']\nidentity = '@example.com'")
    policy, _ = built(text)
    assert policy is not None
    found = policy.keys_for(b"x@three.example")
    assert not isinstance(found, MissingKeys)
    assert [(key.name, key.identity) for key in found] == [("good", b"@example.com")]


def test_only_the_named_keys_are_loaded(keys: Path) -> None:
    loaded = read_text(configuration(keys, "refuse"), "file")
    assert loaded.config is not None
    seen: list[str] = []
    for names in ((), ("good",), None):
        seen.clear()
        build(loaded.config, uid_is_root=False, loaded=loaded, key_names=names, progress=seen.append)
        assert seen == [*(["good", "bad", "worse", "unused"] if names is None else names), ""]
