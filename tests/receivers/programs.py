"""Real programs, started on loopback for a test and ended after it."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds that a program has for what usually takes one: the machine may be busy."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A loopback port that nobody has just now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(what: str, look: Callable[[], T], patience: float = PATIENCE) -> T:
    """Look until there is something true to see; fails with ``what`` when there never is."""
    deadline = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not seen in {patience:g} s: {what}; last: {found!r}")
        time.sleep(0.05)


def fetch(url: str) -> bytes | None:
    """What a GET brings; None while nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bytes(answer.read())
    except (OSError, urllib.error.URLError):
        return None


def fetch_json(url: str, **query: str) -> Any:
    """What a query of an HTTP API brings; None while nothing answers."""
    data = fetch(f"{url}?{urllib.parse.urlencode(query)}" if query else url)
    return None if data is None else json.loads(data)


class Program:
    """A program that runs for the time of a ``with`` block.

    Args:
        arguments: the program and its arguments; ``{home}`` stands for a directory of its own.
        ready: whether it can be used now; it is given the program.
        files: texts of files in its directory, by name.
        user: who runs it; None: we.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        ready: Callable[[Program], object],
        files: dict[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="pdkim-program-"))
        self._ready = ready
        self._user = user
        self.arguments = [argument.replace("{home}", str(self.home)) for argument in arguments]
        for name, text in (files or {}).items():
            (self.home / name).write_text(text.replace("{home}", str(self.home)))
        if user is not None:
            os.chown(self.home, pwd.getpwnam(user).pw_uid, -1)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            program = self.arguments[0]
            if shutil.which(program) is None:
                pytest.fail(f"{program} is missing; scripts/setup test installs it")
            with (self.home / "output").open("wb") as output:
                self.process = subprocess.Popen(
                    self.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self.home,
                    user=self._user,
                )
            deadline = time.monotonic() + PATIENCE
            while not self._ready(self):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"{program} is not ready (exit status {self.process.poll()}):\n{self.output()[-3000:]}")
                time.sleep(0.05)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def output(self) -> str:
        """What it wrote."""
        return (self.home / "output").read_text(errors="replace")

    def end(self) -> None:
        """Ask it to end, and see to it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)
