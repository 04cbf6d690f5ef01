"""Standard input, output and error of a command, which may be closed when it starts (as with ``>&-``)."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Final, TextIO

EXIT_NO_INPUT: Final = 66
EXIT_IO: Final = 74
_OUTPUT_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


class StreamError(Exception):
    """Input cannot be read or output cannot be written.

    Attributes:
        status: exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def occupy() -> frozenset[int]:
    """Put something that reads and writes nothing in place of closed descriptors 0, 1 and 2; returns which they were.

    What is opened later would get these numbers: a socket would then be taken for standard error, and be written to.
    """
    closed = set()
    while True:
        try:
            descriptor = os.open(os.devnull, os.O_RDWR)
        except OSError:
            # In a directory tree without devices.
            descriptor = os.open("/", os.O_RDONLY)
        if descriptor > 2:
            os.close(descriptor)
            break
        os.set_inheritable(descriptor, True)
        closed.add(descriptor)
    # Python writes to standard output what is meant for a standard error that is None.
    if sys.stdout is None:
        sys.stdout = _text(1)
    if sys.stderr is None:
        sys.stderr = _text(2)
    return frozenset(closed)


def _text(descriptor: int) -> TextIO:
    return open(descriptor, "w", errors="backslashreplace", closefd=False)


def read_input() -> bytes:
    """Return all of standard input.

    Raises:
        StreamError: it is closed or cannot be read.
    """
    if sys.stdin is None:
        raise StreamError("cannot read the message: standard input is closed", EXIT_NO_INPUT)
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise StreamError(f"cannot read the message: standard input: {error.strerror}", EXIT_NO_INPUT) from error


@contextlib.contextmanager
def output_errors() -> Iterator[None]:
    """Turn a failed write to standard output into a StreamError; one without reader stays a BrokenPipeError."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS or error.filename is not None:
            raise
        raise StreamError(f"cannot write the result: standard output: {error.strerror}", EXIT_IO) from error


def discard_output() -> None:
    """Let what could not be written go nowhere: Python would try again at its end, and complain."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
