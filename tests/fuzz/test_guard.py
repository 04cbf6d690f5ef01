"""What happens to an input that fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.guard import Guard, TooSlowError

RUN = Path(__file__).with_name("run.py")
FAILS = """\
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fuzz import guard
guard.FINDINGS = Path(sys.argv[2]) / "found"
def execute(data):
    raise KeyError(data)
guard.Guard("tags", execute)(b"an input")
"""


def test_an_input_that_takes_too_long() -> None:
    def endless(_: bytes) -> None:
        while True:
            pass

    with pytest.raises(TooSlowError):
        Guard("tags", endless, keep=False)(b"")


def test_a_finding_is_kept_with_the_command_that_replays_it(tmp_path: Path) -> None:
    tests = str(RUN.parents[1])
    ended = subprocess.run(
        [sys.executable, "-c", FAILS, tests, str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 1
    (found,) = (tmp_path / "found").iterdir()
    assert found.read_bytes() == b"an input"
    assert "KeyError: b'an input'" in ended.stderr
    assert f"scripts/fuzz tags --replay found/{found.name}" in ended.stderr


def test_replay(tmp_path: Path) -> None:
    found = tmp_path / "found"
    found.write_bytes(b"v=1; a=2")
    ended = subprocess.run(
        [sys.executable, str(RUN), "tags", "--replay", str(found)], check=True, capture_output=True, text=True
    )
    assert "runs as it should" in ended.stdout


@pytest.mark.parametrize("engine", ["atheris", "plain"])
def test_each_engine_runs_as_often_as_it_is_told(engine: str) -> None:
    if engine == "atheris":
        pytest.importorskip("atheris", reason="it has no wheel for this platform; the other engine is run instead")
    ended = subprocess.run(
        [sys.executable, str(RUN), "tags", "--runs", "2000", "--engine", engine],
        check=True,
        capture_output=True,
        text=True,
    )
    assert f"{engine:8}       2000 executions" in ended.stdout
    assert ("not guided by coverage" in ended.stdout) == (engine == "plain")
