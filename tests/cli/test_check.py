"""``check``: exit status, words and shapes."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from phoenixdkim.cli import main

USER = '[process]\nuser = "nobody"\n[verifying]\nauthserv_id = "mx.example.com"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "phoenixdkim.toml"


MILTER = '[milter]\nsocket = "inet:8891@127.0.0.1"\n'
NOTE = "" if os.geteuid() == 0 else f"Checked as user id {os.geteuid()}."


def test_good(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(USER + MILTER)
    assert main(["check", "-c", str(file)]) == 0
    out, errors = capsys.readouterr()
    assert errors == ""
    good, *note = out.splitlines()
    assert good == f"{file}: good. 0 signing rules with 0 keys; incoming mail is verified; exporters: none."
    assert "".join(note).startswith(NOTE) and bool(note) == bool(NOTE)


def test_warnings_are_told_and_pass(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(USER + 'on_none = "reject"\n' + MILTER)
    assert main(["check", "-c", str(file)]) == 0
    out, errors = capsys.readouterr()
    assert errors.startswith(f"{file}:5: warning: verifying.on_none: ")
    assert f"{file}: accepted with 1 warning, see above. " in out
    assert "good" not in out


@pytest.mark.parametrize("text", ["", "# nothing\n", "[signing\n", "\ufeff", "x = ["])
def test_a_file_without_tables_has_one_fault(text: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(text)
    assert main(["check", "-c", str(file)]) == 78
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_faults_of_core_keys_and_installed_plugins_in_one_run(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(
        USER
        + """\
[[signing.rules]]
from = "*@example.com"
keys = ["a", "b"]
[keys.a]
domain = "example.com"
selector = "s"
file = "/nonexistent/key.pem"
[exporters.statsd]
addres = "127.0.0.1:8125"
interval = "1"
[exporters.htttp]
listen = "127.0.0.1:9323"
"""
    )
    assert main(["check", "-c", str(file)]) == 78
    out, errors = capsys.readouterr()
    assert out == ""
    lines = errors.splitlines()
    places = {line.split(": ")[1]: line for line in lines[:-1]}
    assert places["signing.rules[0].keys[1]"].startswith(f"{file}:7: ")
    assert places["keys.a.file"].startswith(f"{file}:11: ")
    assert "no such file" in places["keys.a.file"]
    assert places["exporters.statsd.addres"].startswith(f"{file}:13: ")
    assert "did you mean 'address'?" in places["exporters.statsd.addres"]
    assert places["exporters.statsd.interval"].startswith(f"{file}:14: ")
    assert places["exporters.htttp"].startswith(f"{file}:15: ")
    assert "did you mean 'http'?" in places["exporters.htttp"]
    assert lines[-1].endswith("; the daemon would not start")


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(USER + "[milter]\nsockt = 1\n")
    assert main(["check", "--json", "-c", str(file)]) == 78
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    (fault,) = told["faults"]
    assert {name: fault[name] for name in ("file", "line", "path", "severity")} == {
        "file": str(file),
        "line": 6,
        "path": "milter.sockt",
        "severity": "error",
    }
    file.write_text(USER + MILTER)
    assert main(["check", "--json", "-c", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "faults": []}


def test_effective_schema_and_sample(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(USER)
    assert main(["check", "--effective", "-c", str(file)]) == 0
    effective = tomllib.loads(capsys.readouterr().out)
    assert effective["process"]["user"] == "nobody"
    assert effective["dns"]["max_concurrent"] == 64
    assert main(["check", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "PhoenixDKIM configuration"
    assert main(["check", "--sample"]) == 0
    tomllib.loads(capsys.readouterr().out)


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", str(tmp_path / "none.toml")]) == 78
    assert "--sample" in capsys.readouterr().err


TWELVE = """\
[milter]
sockt = "unix:/run/x.sock"
workers = "four"
[process]
user = "nobody"
[signing]
trusted = ["10.0.0.1/8"]
[[signing.rules]]
from = "*@example.com"
keys = ["example", "exmaple2"]
[keys.example]
domain = "example.com"
selector = "s1"
file = "/nonexistent/s1.pem"
[verifying]
authserv_id = "mx example"
on_fail = "rejct"
[dns]
query_timeout = 100
[exporters.textfile]
path = "relative.prom"
intervall = 10
[exporters.statsd]
address = "::1:8125"
interval = 0
"""


def test_twelve_faults_in_core_and_plugin_tables_are_twelve_lines(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(TWELVE)
    assert main(["check", "-c", str(file)]) == 78
    *lines, last = capsys.readouterr().err.splitlines()
    assert [line.removeprefix(f"{file}:").split(": ")[:2] for line in lines] == [
        ["2", "milter.sockt"],
        ["3", "milter.workers"],
        ["7", "signing.trusted[0]"],
        ["10", "signing.rules[0].keys[1]"],
        ["14", "keys.example.file"],
        ["16", "verifying.authserv_id"],
        ["17", "verifying.on_fail"],
        ["19", "dns.query_timeout"],
        ["21", "exporters.textfile.path"],
        ["22", "exporters.textfile.intervall"],
        ["24", "exporters.statsd.address"],
        ["25", "exporters.statsd.interval"],
    ]
    assert last == "phoenixdkim: 12 faults; the daemon would not start"
    # Each names what is there, and says what to write.
    words = [
        ("sockt", "'socket'"),
        ('"four"', "whole number"),
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("exmaple2", "'example'"),
        ("/nonexistent/s1.pem", "make a key"),
        ("mx example", "mx.example.com"),
        ("rejct", "'reject'"),
        ("100", "at most"),
        ("relative.prom", "absolute path"),
        ("intervall", "'interval'"),
        ("::1:8125", "[::1]:8125"),
        ("0", "at least"),
    ]
    for line, (value, hint) in zip(lines, words, strict=True):
        assert value in line
        assert hint in line
