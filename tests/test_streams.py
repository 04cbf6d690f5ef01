"""Commands whose standard input, output or error is closed, full or unreadable."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("unmeasured")

COMMAND = [sys.executable, "-c", "import sys\nfrom phoenixdkim.cli import main\nsys.exit(main())"]
CLOSED = [set(some) for count in (1, 2, 3) for some in itertools.combinations((0, 1, 2), count)]
MESSAGE = b"From: a@example.com\r\n\r\nHello\r\n"
CONFIG = """
[process]
user = "daemon"
[milter]
socket = "inet:8891@127.0.0.1"
[verifying]
authserv_id = "mx.example"
[dns]
zone = "{}"
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "zone").write_text("x.example. 60 IN TXT x\n")
    path = tmp_path / "phoenixdkim.toml"
    path.write_text(CONFIG.format(tmp_path / "zone"))
    return path


def run(words: list[str], closed: set[int]) -> tuple[int, bytes, bytes]:
    """Status, output and errors of a command that starts with these descriptors closed."""

    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    ran = subprocess.run([*COMMAND, *words], input=MESSAGE, capture_output=True, preexec_fn=close, check=False)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize("closed", CLOSED, ids=str)
@pytest.mark.parametrize("words", [["check"], ["check", "--effective"], ["check", "--sample"], ["metrics"], ["verify"]])
def test_closed(config, words, closed):
    before = config.read_bytes()
    if words[0] != "metrics" and words[-1] != "--sample":
        words = [words[0], "-c", str(config), *words[1:]]
    status, output, errors = run(words, closed)
    assert config.read_bytes() == before
    assert (config.parent / "zone").read_text() == "x.example. 60 IN TXT x\n"
    assert b"Traceback" not in errors
    normal = 1 if words[0] == "verify" else 0
    wanted = 66 if words[0] == "verify" and 0 in closed else 74 if normal == 0 and 1 in closed else normal
    assert status == wanted
    assert (output == b"") == (1 in closed or wanted == 66)
    if wanted in (66, 74) and 2 not in closed:
        what = b"input" if wanted == 66 else b"output"
        assert b"standard " + what + b" is closed" in errors


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_an_error_is_more_than_a_closed_output(config, closed):
    config.write_text("[milter]\nsocket = 7\n")
    status, _, errors = run(["check", "-c", str(config)], closed)
    assert status == 78
    assert 2 in closed or b"milter.socket" in errors


@pytest.mark.parametrize("words", [["check", "--sample"], ["check", "--schema"], ["metrics"], ["metrics", "--json"]])
def test_a_full_output(words):
    with open("/dev/full", "wb") as full:
        ran = subprocess.run([*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, check=False)
    assert ran.returncode == 74
    assert ran.stderr.splitlines() == [
        f"phoenixdkim {words[0]}: cannot write the result: standard output: No space left on device".encode()
    ]


def test_an_input_that_cannot_be_read(config, tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    ran = subprocess.run([*COMMAND, "verify", "-c", config], stdin=descriptor, capture_output=True, check=False)
    os.close(descriptor)
    assert ran.returncode in (1, 66)
    assert Path(tmp_path).is_dir()
