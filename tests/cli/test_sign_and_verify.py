"""``sign`` and ``verify`` on standard input."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from phoenixdkim.cli import main
from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.keystore import Permissions, load_private_key, make_private_key, public_record
from phoenixdkim.testing.dns_server import Behaviour, ScriptedDnsServer, txt

NOW = "1780000000"
MESSAGE = b"""\
From: User <user@example.com>
To: other@example.org
Subject: a message
Date: Thu, 28 May 2026 20:26:40 +0000
Message-ID: <1@example.com>

Hello.

"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    zone = ""
    for name, algorithm in (("rsa", Algorithm.RSA_SHA256), ("ed", Algorithm.ED25519_SHA256)):
        path = tmp_path / f"{name}.pem"
        path.touch(0o600)
        path.write_bytes(make_private_key(algorithm))
        key, _ = load_private_key(str(path), permissions=Permissions.OFF, owners=frozenset())
        text = public_record(key).decode()
        strings = " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))
        zone += f"{name}._domainkey.example.com. IN TXT {strings}\n"
    (tmp_path / "zone").write_text(zone)
    (tmp_path / "conf.toml").write_text(f"""\
[signing]
key_permissions = "off"
[[signing.rules]]
from = "*@example.com"
keys = ["rsa", "ed"]
identity = "@example.com"
[keys.rsa]
domain = "example.com"
selector = "rsa"
file = "{tmp_path}/rsa.pem"
[keys.ed]
domain = "example.com"
selector = "ed"
file = "{tmp_path}/ed.pem"
[verifying]
authserv_id = "mx.example.org"
[dns]
zone = "{tmp_path}/zone"
""")
    return tmp_path


Call = Callable[..., tuple[int, bytes, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Call:
    def do(data: bytes, *words: str) -> tuple[int, bytes, str]:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        status = main(words)
        out, error = capfdbinary.readouterr()
        return status, out, error.decode()

    return do


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_what_sign_signs_verify_passes(house: Path, call: Call, ends: bytes) -> None:
    message = MESSAGE.replace(b"\n", ends)
    status, signed, errors = call(message, "sign", "-c", f"{house}/conf.toml", "--now", NOW)
    assert (status, errors) == (0, "")
    assert signed.endswith(message)
    assert signed.count(b"DKIM-Signature:") == 2
    assert signed.startswith(b"DKIM-Signature: v=1; a=rsa-sha256;")
    assert b"t=" + NOW.encode() in signed
    assert b"i=@example.com" in signed
    assert (b"\r\n" in signed) is (ends == b"\r\n")
    status, field, errors = call(signed, "verify", "--zone", f"{house}/zone", "--now", NOW, "-c", f"{house}/conf.toml")
    assert (status, errors) == (0, "")
    assert field.startswith(b"Authentication-Results: mx.example.org;\n\tdkim=pass ")
    assert field.count(b"dkim=pass") == 2
    assert b"header.s=ed" in field


def test_fields_alone(house: Path, call: Call) -> None:
    status, fields, _ = call(MESSAGE, "sign", "-c", f"{house}/conf.toml", "--fields")
    assert status == 0
    assert fields.startswith(b"DKIM-Signature: ")
    assert b"a message" not in fields
    assert b"Hello" not in fields


def signed(house: Path, call: Call) -> bytes:
    return call(MESSAGE, "sign", "-c", f"{house}/conf.toml", "--now", NOW)[1]


@pytest.mark.parametrize("engine", ["own", "dkimpy"])
@pytest.mark.parametrize(
    ("change", "status", "result"),
    [
        (lambda data: data, 0, "pass"),
        (lambda data: data.replace(b"Hello", b"Hullo"), 1, "fail"),
        (lambda data: MESSAGE, 1, "none"),
        (lambda data: data.replace(b"s=rsa", b"s=rsb").replace(b"s=ed;", b"s=ee;"), 1, None),
    ],
    ids=["signed", "tampered", "unsigned", "unknown selector"],
)
def test_exit_status_and_result(
    house: Path, call: Call, engine: str, change: Callable[[bytes], bytes], status: int, result: str | None
) -> None:
    words = ("verify", "--zone", f"{house}/zone", "--now", NOW, "--json", "--engine", engine)
    found, out, errors = call(change(signed(house, call)), *words)
    assert (found, errors) == (status, "")
    told = json.loads(out)
    assert told["result"] == (result or ("permerror" if engine == "own" else "fail"))
    assert told["authentication_results"].startswith("Authentication-Results: ")
    if result == "pass":
        assert [(entry["domain"], entry["algorithm"]) for entry in told["signatures"]] == [
            ("example.com", "rsa-sha256"),
            ("example.com", "ed25519-sha256"),
        ]


@pytest.mark.parametrize("engine", ["own", "dkimpy"])
def test_a_name_server_that_does_not_answer_is_exit_75(house: Path, call: Call, engine: str) -> None:
    text = (house / "conf.toml").read_text().partition("[dns]")[0]
    (house / "net.toml").write_text(text + "[dns]\nquery_timeout = 0.1\nmessage_timeout = 0.3\n")
    words = ("verify", "-c", f"{house}/net.toml", "--nameserver", "127.0.0.1:9", "--now", NOW, "--engine", engine)
    status, field, _ = call(signed(house, call), *words)
    assert status == 75
    assert b"dkim=temperror" in field


@pytest.mark.parametrize(("validates", "status"), [(True, "insecure"), (False, "unknown")])
def test_json_tells_the_dnssec_status_of_an_unsigned_zone(
    house: Path, call: Call, validates: bool, status: str
) -> None:
    with ScriptedDnsServer() as server:
        server.set("", Behaviour(authentic=validates))
        for line in (house / "zone").read_text().splitlines():
            name, _, _, strings = line.split(" ", 3)
            server.set(name, Behaviour((txt(strings.replace('" "', "").strip('"')),)))
        words = ("verify", "--nameserver", server.address, "--now", NOW, "--json")
        found, out, errors = call(signed(house, call), *words)
    assert (found, errors) == (0, "")
    assert [entry["dnssec"] for entry in json.loads(out)["signatures"]] == [status, status]


def test_an_expired_signature_as_of_another_time(house: Path, call: Call) -> None:
    text = (house / "conf.toml").read_text().replace("[signing]", "[signing]\nsignature_ttl = 3600")
    (house / "conf.toml").write_text(text)
    data = signed(house, call)
    assert call(data, "verify", "--zone", f"{house}/zone", "--now", "2026-05-28T20:30:00Z")[0] == 0
    assert call(data, "verify", "--zone", f"{house}/zone", "--now", "2026-05-29T20:30")[0] == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (MESSAGE.replace(b"user@example.com", b"user@example.net"), "no_rule: no signing rule matches"),
        (MESSAGE.replace(b"From:", b"Sender:"), "no_from: "),
        (MESSAGE.replace(b"<user@", b"<> user@").replace(b".com>", b".com"), "invalid_from: the From field"),
        (MESSAGE + b"x" * 999 + b"\n", "line_too_long: "),
    ],
)
def test_not_signed_is_exit_1_with_the_reason(house: Path, call: Call, change: bytes, reason: str) -> None:
    status, out, errors = call(change, "sign", "-c", f"{house}/conf.toml")
    assert status == 1
    assert out == change
    assert errors.startswith(f"phoenixdkim sign: not signed: {reason}")


def test_sign_needs_no_macros(house: Path, call: Call) -> None:
    text = (house / "conf.toml").read_text()
    for option in ('required_macros = { "{daemon_name}" = ["A"] }', 'trusted_macros = { "{daemon_name}" = ["A"] }'):
        (house / "conf.toml").write_text(text.replace("[signing]", f"[signing]\n{option}", 1))
        assert call(MESSAGE, "sign", "-c", f"{house}/conf.toml")[0] == 0


def test_faults_of_the_configuration_are_exit_78(house: Path, call: Call) -> None:
    (house / "ed.pem").unlink()
    status, out, errors = call(MESSAGE, "sign", "-c", f"{house}/conf.toml")
    assert (status, out) == (78, b"")
    assert f"{house}/conf.toml:14: keys.ed.file: {house}/ed.pem: there is no such file" in errors
    assert call(MESSAGE, "verify", "-c", f"{house}/none.toml")[0] == 78
    assert call(MESSAGE, "verify", "--zone", f"{house}/none")[0] == 78
    assert call(MESSAGE, "verify", "--nameserver", "ns.example.com")[0] == 2


def test_sign_loads_only_the_keys_of_the_rule(house: Path, call: Call) -> None:
    """What is wrong with the key of another domain does not matter."""
    with (house / "conf.toml").open("a") as file:
        file.write('[[signing.rules]]\nfrom = "*@example.net"\nkeys = ["net"]\n')
        file.write(f'[keys.net]\ndomain = "example.net"\nselector = "s"\nfile = "{house}/none.pem"\n')
    status, out, errors = call(MESSAGE, "sign", "-c", f"{house}/conf.toml")
    assert (status, errors) == (0, "") and out.count(b"DKIM-Signature:") == 2
    status, out, errors = call(MESSAGE.replace(b"@example.com>", b"@example.net>"), "sign", "-c", f"{house}/conf.toml")
    assert (status, out) == (78, b"") and "keys.net.file" in errors
    status, out, errors = call(MESSAGE.replace(b"@example.com>", b"@example.org>"), "sign", "-c", f"{house}/conf.toml")
    assert (status, out) == (1, MESSAGE.replace(b"@example.com>", b"@example.org>")) and "no_rule" in errors


def test_sign_with_missing_keys_that_are_tolerated(house: Path, call: Call) -> None:
    text = (house / "conf.toml").read_text().replace("[signing]", '[signing]\non_missing_key = "tempfail"')
    (house / "conf.toml").write_text(text)
    (house / "ed.pem").unlink()
    status, out, errors = call(MESSAGE, "sign", "-c", f"{house}/conf.toml")
    assert (status, errors) == (0, "") and out.count(b"DKIM-Signature:") == 1
    (house / "rsa.pem").unlink()
    status, out, errors = call(MESSAGE, "sign", "-c", f"{house}/conf.toml")
    assert (status, out) == (1, MESSAGE)
    assert "not signed: key_missing" in errors and "keys.rsa.file" in errors and "keys.ed.file" in errors


def test_verify_needs_no_private_key(house: Path, call: Call) -> None:
    data = signed(house, call)
    (house / "ed.pem").unlink()
    (house / "rsa.pem").unlink()
    assert call(data, "verify", "-c", f"{house}/conf.toml", "--now", NOW)[0] == 0


def test_a_time_that_is_none_is_refused(call: Call) -> None:
    with pytest.raises(SystemExit) as ended:
        call(MESSAGE, "verify", "--now", "yesterday")
    assert ended.value.code == 2
