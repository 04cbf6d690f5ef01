"""The daemon target itself: what it takes for a fault, and what libmilter can't bear."""

from __future__ import annotations

import random
import struct

import pytest

from daemon.house import House, signed
from fuzz.packets import Sequence, honest_message, sequence
from fuzz.target import Wrong
from fuzz.through_daemon import exchange, judge
from interop.peers import KeyPair
from phoenixdkim.testing.milter_protocol import ALL_PROTOCOL, Protocol

NEGOTIATED = struct.pack("!IcIII", 13, b"O", 6, 0x31, 0)
ACCEPTED = struct.pack("!Ic", 1, b"c")


def packet(command: bytes, payload: bytes) -> bytes:
    return struct.pack("!I", 1 + len(payload)) + command + payload


def inserted(value: bytes, name: bytes = b"DKIM-Signature") -> bytes:
    return packet(b"i", struct.pack("!I", 0) + name + b"\0" + value + b"\0")


def test_a_fit_answer() -> None:
    received = NEGOTIATED + ACCEPTED + inserted(b" v=1;\n\tb=x") + ACCEPTED
    judge(Sequence(b"", 1, True), received)
    judge(Sequence(b"", 1), received[:-3])
    judge(Sequence(b"", 1), b"")


@pytest.mark.parametrize(
    "received",
    [
        b"",
        NEGOTIATED + ACCEPTED,
        NEGOTIATED + inserted(b" v=1") + packet(b"t", b""),
        NEGOTIATED + inserted(b"v=1") + ACCEPTED,
        NEGOTIATED + inserted(b" mx.example; dkim=none", b"Authentication-Results") + ACCEPTED,
        NEGOTIATED + inserted(b" v=1\nX: y") + ACCEPTED,
        NEGOTIATED + inserted(b" v=1\0 y\r") + ACCEPTED,
        NEGOTIATED + inserted(b" v=1", b"Subject") + ACCEPTED,
        NEGOTIATED + packet(b"?", b"") + inserted(b" v=1") + ACCEPTED,
        struct.pack("!I", 0) + NEGOTIATED + inserted(b" v=1") + ACCEPTED,
    ],
)
def test_no_fit_answer_to_an_honest_message(received: bytes) -> None:
    with pytest.raises(Wrong):
        judge(Sequence(b"", 1, True), received)


def test_sequences_are_the_same_for_the_same_chance() -> None:
    made = [[sequence(random.Random(5), Protocol(0)) for _ in range(3)] for _ in range(2)]
    assert made[0] == made[1]
    chance = random.Random(1)
    assert sum(sequence(chance, ALL_PROTOCOL).honest for _ in range(1000)) > 100


@pytest.mark.daemon
def test_mail_goes_on_after_what_libmilter_can_not_bear() -> None:
    """Past the end of a list of macros with a name without value it reads on, and may crash: a worker is replaced."""
    with House(KeyPair.rsa("example.com")) as house:
        offer = packet(b"O", struct.pack("!III", 6, 0x1FF, int(ALL_PROTOCOL)))
        client = packet(b"C", b"localhost\x004\x12\x34127.0.0.1\0")
        odd = packet(b"D", b"Ma\0") * 10
        message = b"".join(packet(*part) for part in honest_message(True) if part[0] not in (b"R", b"T", b"N"))
        for _ in range(5):
            for received in exchange(house.address, [Sequence(offer + client + odd + message, 4)] * 4):
                judge(Sequence(b"", 1), received)
        reply = None
        for _ in range(20):
            try:
                reply = house.send()
                break
            except (TimeoutError, ConnectionError):
                # It had gone to the worker that ended.
                continue
        assert reply is not None
        assert signed(reply)
