"""The guide to writing an exporter is followed to the letter: files written, installed, enabled, tested, run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from daemon.house import House, signed
from daemon.mistakes import REFUSED, Installed
from interop.peers import KeyPair

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/writing-an-exporter.md").read_text()
FILES = dict(re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL))
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
UV = [str(ROOT / ".tools/uv/bin/uv"), "pip"]
# Mistakes of the guide's table, in its order, by the module that makes them.
MISTAKES = [
    "misspelt",
    "unmarked",
    "default",
    "extra_argument",
    "wrong_annotation",
    "coroutine",
    "first",
    "no_version",
    "free_label",
    "large_enum",
    "reserved_label",
    "needs_arguments",
]


@pytest.fixture(scope="module")
def package():
    """The package of the guide, installed."""
    place = Path(tempfile.mkdtemp(prefix="pdkim-guide-"))
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    # As the guide has it, but for the names of what is installed already.
    subprocess.run([*UV, "install", "-q", "--python", sys.executable, "--no-deps", str(place)], check=True)
    yield place
    subprocess.run([*UV, "uninstall", "-q", "--python", sys.executable, "phoenixdkim-tally"], check=True)
    shutil.rmtree(place)


def test_the_guide_has_a_package():
    assert list(FILES) == ["pyproject.toml", "src/phoenixdkim_tally/__init__.py", "tests/test_tally.py"]
    written = set(FILES.values())
    others = [(kind, text) for kind, text in BLOCKS if text not in written]
    assert [kind for kind, _ in others] == ["sh", "toml", "text", "toml", "sh"], "each block is used below"


def test_its_types_hold(package):
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=/dev/null", "src"],
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_its_tests_pass(package):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^1[0-9] passed", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("block", range(2))
def test_its_tables_enable_it(package, block):
    tables = [text for kind, text in BLOCKS if kind == "toml" and text not in FILES.values()][block]
    # Another directory, as /var/log/phoenixdkim is not here, and an interval that a test can wait for.
    text = tables.replace("/var/log/phoenixdkim", "{metrics}")
    text = text.replace("interval = 10", "interval = 0.2")
    with House(KeyPair.rsa("example.com"), exporters=text) as house:
        for _ in range(17):
            assert signed(house.send())
        assert house.stop() == 0
        found = {
            name: (house.metrics / name).read_text() for name in ("tally", "other") if (house.metrics / name).exists()
        }
    assert len(found) == len(tomllib.loads(tables)["exporters"])
    counts = {}
    for line in found["tally"].splitlines():
        *event, count = line.split(" ")
        counts[tuple(event)] = counts.get(tuple(event), 0) + int(count)
    (shown,) = [text for kind, text in BLOCKS if kind == "text"]
    for line in shown.splitlines():
        *event, count = line.split(" ")
        assert counts[tuple(event)] == int(count)
    if "other" in found:
        assert "MessageSigned;ok;rsa-sha256;" in found["other"]


def test_its_messages_are_those_that_are_given(tmp_path):
    rows = re.findall(
        r"^\| (.+) \| (.+) \|$",
        GUIDE.partition("| mistake | message |\n|---|---|\n")[2].partition("\n\n")[0] + "\n",
        re.MULTILINE,
    )
    assert len(rows) == len(MISTAKES)
    installed = Installed({name: REFUSED[name] for name in MISTAKES})
    config = tmp_path / "x.toml"
    config.write_text(
        '[process]\nuser = "nobody"\n[verifying]\nauthserv_id = "mx.example"\n'
        + "".join(f"[exporters.{name}]\n" for name in MISTAKES)
    )
    try:
        done = subprocess.run(
            [Path(sys.executable).with_name("phoenixdkim"), "check", "-c", config],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        installed.remove()
    told = {line.split(": ")[1].removeprefix("exporters."): line for line in done.stderr.splitlines()[:-1]}
    for name, (_, message) in zip(MISTAKES, rows, strict=True):
        assert message in told[name], (name, told[name])
