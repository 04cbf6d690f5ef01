"""A judge that hangs, dies or talks nonsense is told by name, and soon; one that is missing is an error."""

from __future__ import annotations

import sys
import time

import pytest

from interop.conversation import Conversation, PeerError


def python(code: str, deadline: float = 20.0) -> Conversation:
    return Conversation([sys.executable, "-c", code], deadline=deadline)


def test_questions_and_answers_of_any_size() -> None:
    code = """
import base64, json, sys
for line in sys.stdin:
    words = [word.partition("=") for word in line.split()]
    print(json.dumps([[name, base64.b64decode(value).hex()] for name, _, value in words]), flush=True)
"""
    with python(code) as peer:
        for value in (b"", b"\0\xff\n =", bytes(range(256)) * 4000):
            assert peer.ask([("a", value), ("a", b"x")]) == [["a", value.hex()], ["a", b"x".hex()]]


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(1000)",
        "import sys, time; sys.stdin.readline(); print('{', end='', flush=True); time.sleep(1000)",
    ],
    ids=["reads nothing", "half an answer"],
)
def test_one_that_hangs_is_ended(code: str) -> None:
    with python(code, deadline=0.5) as peer:
        before = time.monotonic()
        # More than a socket holds, so that the question itself gets stuck in one that does not read.
        with pytest.raises(PeerError, match=r"no answer in 0\.5 s"):
            peer.ask([("message", b"x" * 10_000_000)])
        assert peer.ended
        assert time.monotonic() - before < 60


@pytest.mark.parametrize(
    "code, told",
    [
        ("import sys; sys.exit('why it died')", "why it died"),
        ("import sys; sys.stdin.readline(); print('no JSON', flush=True); sys.stdin.read()", "no JSON"),
    ],
)
def test_what_went_wrong_is_told(code: str, told: str) -> None:
    with python(code) as peer, pytest.raises(PeerError, match=told):
        peer.ask([("message", b"x")])


def test_a_missing_program_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        Conversation(["/nowhere/judge"])


def test_it_ends_with_its_input() -> None:
    peer = python("import sys; sys.stdin.read()")
    peer.close()
    assert peer.ended
