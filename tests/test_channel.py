"""Channels: whatever the other end sends is a message, an error or the end; nothing waits and nothing leaks."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from phoenixdkim.channel import Channel, channel_pair
from phoenixdkim.messages import MAX_OCTETS, Codec, Message, MessageError, Text


@dataclass(frozen=True, slots=True)
class Word(Message):
    text: Annotated[str, Text(MAX_OCTETS)]


CODEC = Codec(1, [Word])


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(ours, CODEC)
    yield channel, theirs
    channel.close()
    theirs.close()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_messages_go_both_ways():
    ours, theirs = channel_pair(CODEC)
    assert ours.receive((Word,)) is None
    assert not ours.ended
    assert theirs.send(Word("a"))
    assert theirs.send(Word("b"))
    assert [ours.receive((Word,)), ours.receive((Word,)), ours.receive((Word,))] == [Word("a"), Word("b"), None]
    assert ours.send(Word("c"))
    assert theirs.receive((Word,)) == Word("c")
    theirs.close()
    assert ours.wait(0)
    assert ours.receive((Word,)) is None
    assert ours.ended
    assert not ours.send(Word("d"))
    ours.close()


def test_an_empty_datagram_is_not_the_end(ends):
    channel, theirs = ends
    theirs.send(b"")
    with pytest.raises(MessageError, match="empty"):
        channel.receive((Word,))
    theirs.send(b"")
    theirs.send(CODEC.encode(Word("a")))
    with pytest.raises(MessageError, match="empty"):
        channel.receive((Word,))
    assert channel.receive((Word,)) == Word("a")


def test_a_datagram_that_is_too_long_is_an_error_and_the_next_one_is_read(ends):
    channel, theirs = ends
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_OCTETS)
    theirs.send(b"x" * (MAX_OCTETS + 1))
    theirs.send(CODEC.encode(Word("a")))
    with pytest.raises(MessageError, match="octets"):
        channel.receive((Word,))
    assert channel.receive((Word,)) == Word("a")


@pytest.mark.parametrize("count", [1, 3, 250])
def test_descriptors_are_not_taken_over(ends, count):
    channel, theirs = ends
    before = open_descriptors()
    null = os.open(os.devnull, os.O_RDONLY)
    socket.send_fds(theirs, [CODEC.encode(Word("a"))], [null] * count)
    os.close(null)
    with pytest.raises(MessageError, match="descriptors"):
        channel.receive((Word,))
    assert open_descriptors() == before


def test_descriptors_that_are_expected_are_not_inherited_and_no_more_are_taken(ends):
    channel, theirs = ends
    before = open_descriptors()
    null = os.open(os.devnull, os.O_RDONLY)
    socket.send_fds(theirs, [CODEC.encode(Word("a"))], [null, null])
    message, found = channel.receive_with_descriptors((Word,), 2)
    assert (message, len(found)) == (Word("a"), 2)
    assert not any(os.get_inheritable(fd) for fd in found)
    for fd in found:
        os.close(fd)
    for data in (CODEC.encode(Word("a")), b"no message", b""):
        socket.send_fds(theirs, [data], [null] * 5)
        with pytest.raises(MessageError):
            channel.receive_with_descriptors((Word,), 2)
    os.close(null)
    assert open_descriptors() == before


def test_the_kernel_refuses_descriptors_where_it_can(ends):
    channel, theirs = ends
    channel.refuse_descriptors()
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        socket.send_fds(theirs, [CODEC.encode(Word("a"))], [null])
    except PermissionError:
        assert channel.receive((Word,)) is None
    else:
        with pytest.raises(MessageError):
            channel.receive((Word,))
    os.close(null)
    theirs.send(CODEC.encode(Word("b")))
    assert channel.receive((Word,)) == Word("b")


def test_sending_to_one_who_does_not_read_never_waits(ends):
    channel, _ = ends
    sent = 0
    while channel.send(Word("x" * 1000)):
        sent += 1
        assert sent < 100_000
    assert not channel.ended, "it only does not read"


def test_other_credentials_and_out_of_band_data_do_no_harm(ends):
    channel, theirs = ends
    credentials = (os.getpid().to_bytes(4, "little") + os.getuid().to_bytes(4, "little")) + os.getgid().to_bytes(
        4, "little"
    )
    theirs.sendmsg([CODEC.encode(Word("a"))], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)])
    assert channel.receive((Word,)) == Word("a")
