"""The running daemon of a configuration file, and nothing that merely looks like it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from phoenixdkim.cli.running import supervisor_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root's processes count")
_SLEEP = "import sys; print(flush=True); sys.stdin.read()"


@contextmanager
def process(*words: str, uid: int = 0, cwd: str = "/") -> Iterator[int]:
    """A process with this command line."""
    command = [sys.executable, "-c", _SLEEP, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=uid, cwd=cwd) as started:
        assert started.stdout is not None
        started.stdout.readline()
        yield started.pid


@pytest.fixture
def path(tmp_path: Path) -> str:
    found = tmp_path / "phoenixdkim.toml"
    found.write_text("")
    return str(found)


def test_it_is_found_by_its_file_however_it_is_written(path: str) -> None:
    assert supervisor_of(path) == 0
    directory, name = os.path.split(path)
    for words, cwd in (
        (("/usr/bin/phoenixdkim", "run", "-c", path), "/"),
        (("phoenixdkim", "run", "--config", path), "/"),
        (("phoenixdkim", "run", f"--config={path}"), "/"),
        (("phoenixdkim", "run", "-c", name), directory),
    ):
        with process(*words, cwd=cwd) as pid:
            assert supervisor_of(path) == pid


def test_others_are_not_it(path: str, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("")
    for words, uid in (
        (("phoenixdkim", "run", "-c", str(other)), 0),
        (("phoenixdkim", "run", "-c", path + ".missing"), 0),
        (("phoenixdkim", "check", "-c", path), 0),
        (("phoenixdkim", "run", "-c"), 0),
        (("vi", "run", path), 0),
        (("phoenixdkim", "run", "-c", path), 60998),
    ):
        with process(*words, uid=uid):
            assert supervisor_of(path) == 0
