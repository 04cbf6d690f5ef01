"""What leader and supervisor share while keys are loaded."""

from __future__ import annotations

import errno
import os

import pytest

from phoenixdkim.daemon.key_loading import KeyLoading
from phoenixdkim.keystore.identities import Identities, unchanged

TEXT = b"""\
[keys.one]
domain = "example.com"
selector = "s"
file = "/one"
[keys."the second"]
file = "/two"
"""


def in_child(loading: KeyLoading, act) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            act(loading)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def test_identities_arrive_and_stay(tmp_path) -> None:
    identities = Identities()
    for number in range(20_000):  # more than any message carries
        identities.add_file(f"{tmp_path}/{number}")
    loading = KeyLoading("conf", TEXT)
    in_child(loading, lambda theirs: theirs.send(identities))
    loading.receive()
    assert loading.identities == identities.encode() and unchanged(loading.identities)
    loading.close()


def test_no_room_for_identities_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    def act(theirs: KeyLoading) -> None:
        monkeypatch.setattr(os, "write", full)
        theirs.send(Identities())
        os._exit(3)

    loading = KeyLoading("conf", TEXT)
    pid = os.fork()
    if pid == 0:
        try:
            act(loading)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    loading.receive()
    assert not unchanged(loading.identities)


def test_identities_that_were_not_sealed_count_as_changed() -> None:
    for act in (lambda _: None, lambda theirs: os.write(theirs._memory, b"[{},{}]")):
        loading = KeyLoading("conf", TEXT)
        in_child(loading, act)
        loading.receive()
        assert not unchanged(loading.identities)


@pytest.mark.parametrize(
    "name, where", [("one", "conf:4: keys.one.file: "), ("the second", 'conf:6: keys."the second".file: ')]
)
def test_the_line_of_the_key_that_was_loaded(name: str, where: str) -> None:
    loading = KeyLoading("conf", TEXT)
    assert loading.crash("signal SIGSEGV") == [] and loading.hang(0.0) == []
    in_child(loading, lambda theirs: theirs.progress.note(name))
    (line,) = loading.crash("signal SIGSEGV")
    assert line.startswith(f"{where}loading this key crashed the loader (signal SIGSEGV)")
    assert loading.hang(0.0) == []
    (line,) = loading.hang(1000.0)
    assert line.startswith(f"{where}loading this key took more than 10 s")
    loading.close()
    loading.close()
    assert loading.crash("signal SIGSEGV") == [] and loading.hang(2000.0) == []
