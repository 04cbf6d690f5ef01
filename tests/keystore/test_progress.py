"""Which key a process was loading when it crashed or hung."""

from __future__ import annotations

import os
import signal
import time

import pytest

from phoenixdkim.keystore.progress import KEY_TIMEOUT, LoadProgress


def test_the_key_at_which_a_process_ends() -> None:
    for names, last in ((["a", "b"], "b"), (["a", ""], ""), (["ä" * 400], "ä" * 400), ([], ""), (["k\n\udcff"], None)):
        progress = LoadProgress()
        pid = os.fork()
        if pid == 0:
            try:
                for name in names:
                    progress.note(name)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        assert progress.key() == last or last is None
        progress.close()


def test_a_long_name_is_cut() -> None:
    progress = LoadProgress()
    progress.note("x" * 100_000)
    assert progress.key() == "x" * 1000


def test_only_a_key_that_takes_long_hangs() -> None:
    progress = LoadProgress()
    assert not progress.hanging(0.0)
    assert not progress.hanging(KEY_TIMEOUT * 100)
    for at in range(100):
        progress.note(f"k{at}")
        assert not progress.hanging(at * KEY_TIMEOUT)
    assert not progress.hanging(100 * KEY_TIMEOUT - KEY_TIMEOUT)
    assert progress.hanging(100.1 * KEY_TIMEOUT)
    progress.note("")
    assert not progress.hanging(1000 * KEY_TIMEOUT)


@pytest.mark.parametrize("octets", [b"\xff" * 4096, b"\0" * 4096, bytes(range(256)) * 16])
def test_whatever_the_memory_holds_is_read(octets: bytes) -> None:
    """A process that parses a key could be made to write anything."""
    progress = LoadProgress()
    progress._memory[:] = octets
    assert len(progress.key()) <= 1000
    progress.hanging(0.0)


def test_noting_is_cheap() -> None:
    progress = LoadProgress()
    started = time.process_time()
    for _ in range(10_000):
        progress.note("some-key")
    assert time.process_time() - started < 1
