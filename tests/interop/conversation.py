"""A program that answers one line with one line, for as long as it is asked; it can't hang a test run.

A question is words of ``name=base64``, because base64 is quick to read in any language; an answer is JSON.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

DEADLINE = 30.0
"""Seconds that one answer may take."""
_MAX_ANSWER = 16 * 1024 * 1024


class PeerError(Exception):
    """The other program died, was too late, or said what it should not."""


class Conversation:
    """A process whose standard input and output are one socket; lines go both ways.

    A context manager. When the socket closes, also because the test run was killed, the program sees the end of its
    input and ends.

    Args:
        command: program and arguments.
        cwd: its working directory.
        deadline: seconds that one answer may take.

    Raises:
        OSError: the program is not there.
    """

    def __init__(self, command: Sequence[str], cwd: Path | None = None, deadline: float = DEADLINE) -> None:
        self._command = command
        self._deadline = deadline
        self._received = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._errors, cwd=cwd
                )
            except OSError:
                self._socket.close()
                self._errors.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, question: Iterable[tuple[str, bytes]]) -> Any:
        """Send a question, return the answer.

        Args:
            question: names and values; a name may come again.

        Raises:
            PeerError: no answer in time, or none at all; the program is gone then.
        """
        until = time.monotonic() + self._deadline
        line = b" ".join(name.encode() + b"=" + base64.b64encode(value) for name, value in question)
        try:
            self._socket.settimeout(self._deadline)
            self._socket.sendall(line + b"\n")
            while b"\n" not in self._received[-65536:]:
                self._socket.settimeout(max(until - time.monotonic(), 0.001))
                part = self._socket.recv(65536)
                if not part or len(self._received) > _MAX_ANSWER:
                    raise self._fault("ended" if not part else "said too much")
                self._received += part
        except TimeoutError as error:
            raise self._fault(f"gave no answer in {self._deadline:g} s") from error
        except ConnectionError as error:
            raise self._fault(f"went away: {error}") from error
        line, _, self._received = self._received.partition(b"\n")
        try:
            return json.loads(line)
        except ValueError as error:
            raise self._fault(f"said {line[:200]!r}") from error

    def _fault(self, what: str) -> PeerError:
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        told = self._errors.read()[-2000:].decode(errors="replace")
        return PeerError(f"{self._command[0]} {what}\n{told}")

    @property
    def ended(self) -> bool:
        """Whether the program has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """Let the program end, and end it if it does not."""
        self._socket.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            self._errors.close()
