"""Memory does not grow with the message (T6, R5, G19): a body is hashed as it comes, a header is bounded.

The peak of a worker's resident memory is read from the kernel (VmHWM, proc(5)); it never falls, so that a difference
between two moments is what came between them at most.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.test_hostile_messages import NORMAL, PAIR, STRANGER, result_of, worker_of
from integration.daemon import Daemon
from phoenixdkim.testing.milter_client import MilterClient, MilterError
from phoenixdkim.testing.milter_protocol import Disposition, Field, Reply

MB = 1_000_000
KB = 1024
BOUND = 20 * MB
"""What a message of 100 MB may take beyond one of 1 MB."""
TEN: list[Field] = [
    (
        b"DKIM-Signature",
        b" v=1; a=ed25519-sha256; d=example.com; s=main; bh=QQ==; b=QQ==; h=from; c=%s; l=%d"
        % ([b"simple", b"relaxed/relaxed"][number % 2], number * 7 * MB),
    )
    for number in range(10)
]
LINES = b"x" * 998 + b"\r\n"
EMPTY_LINES = b"\r\n" * 500
BLANKS = b" \t" * 500


def peak(pid: int) -> int:
    """The most octets of memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * KB


def send(
    address: str, client_address: str, before: list[Field], pattern: bytes, size: int, chunk: int = 65535
) -> Reply:
    """A message whose body is that pattern over and over; it is never whole in our memory either."""
    packet = (
        (pattern * (chunk // len(pattern) + 1))[: chunk - chunk % len(pattern)] if chunk > len(pattern) else pattern
    )
    with MilterClient(address, timeout=110) as client:
        client.open_session(client_address=client_address)
        client.mail("a@example.com")
        client.rcpt("b@example.net")
        client.data()
        for name, value in [*before, *NORMAL]:
            client.header(name, value)
        client.eoh()
        sent = 0
        while sent < size:
            client.body(packet)
            sent += len(packet)
        return client.eom()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon([PAIR], signing_options='canonicalization = "relaxed/simple"', workers=1) as running:
        send(running.address, "127.0.0.1", [], LINES, 1000)
        yield running
        assert "internal error" not in running.log()


@pytest.mark.parametrize("pattern", [LINES, EMPTY_LINES, BLANKS], ids=["lines", "empty lines", "blanks"])
@pytest.mark.parametrize("trusted", [True, False], ids=["signed", "verified"])
def test_100_mb_take_no_more_memory_than_1_mb(daemon: Daemon, trusted: bool, pattern: bytes) -> None:
    """Empty lines and blanks are held back by canonicalization: as counts, not as octets."""
    address, before = ("127.0.0.1", []) if trusted else (STRANGER, TEN)
    worker = worker_of(daemon)
    send(daemon.address, address, before, pattern, 1 * MB)
    small = peak(worker)
    reply = send(daemon.address, address, before, pattern, 100 * MB)
    grown = peak(worker) - small
    print(f"peak {small / MB:.1f} MB after 1 MB, {grown / MB:.2f} MB more after 100 MB")
    assert worker_of(daemon) == worker
    assert grown < BOUND
    if not trusted:
        assert b"dkim=fail" in result_of(reply)
    elif pattern is not BLANKS:
        # One line of blanks is over 998 octets and is not signed.
        assert [change.name for change in reply.modifications] == [b"DKIM-Signature"]


def test_t6_pieces_of_any_size_have_the_same_hash(daemon: Daemon) -> None:
    """50 MB in the largest pieces, and less in pieces of an octet, hash as they would in one."""
    for size, chunk in ((50 * MB, 65535), (100_000, 1)):
        body = (b"a \t b\r\n" * (size // 7 + 1))[:size]
        with MilterClient(daemon.address, timeout=110) as client:
            reply = client.send_message(NORMAL, body, chunk_size=chunk)
        (value,) = [change.value for change in reply.modifications]
        canonical = body if body.endswith(b"\r\n") else body + b"\r\n"

        assert b"bh=" + base64.b64encode(hashlib.sha256(canonical).digest()) in value


def test_headers_of_many_messages_at_once_are_bounded(daemon: Daemon) -> None:
    """20 sessions in mid-header, each with 8 MB of it: what is over the limits is not kept."""
    worker = worker_of(daemon)
    clients = []
    try:
        for _ in range(20):
            client = MilterClient(daemon.address, timeout=60)
            clients.append(client)
            client.open_session(client_address=STRANGER)
            client.mail("a@example.com")
        before = peak(worker)
        for _ in range(8):
            for client in clients:
                client.header(b"X", b" " + b"x" * (MB - 100))
        for client in clients:
            assert b"dkim=none" in result_of(client.eom())
    finally:
        for client in clients:
            client.close()
    grown = peak(worker) - before
    print(f"{grown / MB:.1f} MB for 20 headers of 8 MB")
    # A packet under way each, what is kept below the limit, and as much again for the interpreter.
    assert grown < 20 * 4 * MB


def size_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmSize:")[2].split()[0]) * KB


def test_r5_a_message_too_large_for_the_memory_there_is_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers of 15 MB, all of it signed, by an option that allows them, in a process that has room for half of one."""
    # The C library sets 64 MB of addresses aside for each of several heaps, and how many depends on which threads met.
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    wide = "[limits]\nmax_header_octets = 16777216\n"
    with Daemon([PAIR], workers=1, extra=wide) as roomy:
        # As many sessions at a time as below: each may have a thread, whose stack counts.
        clients = [MilterClient(roomy.address) for _ in range(4)]
        for client in clients:
            client.send_message(NORMAL, b"text\r\n")
        room = size_of(worker_of(roomy)) + 24 * MB
        for client in clients:
            client.close()
    tight = Daemon([PAIR], workers=1, extra=wide)
    try:
        # RLIMIT_AS, getrlimit(2)
        tight.wrapper = ["prlimit", f"--as={room}"]
        tight.start()
        with MilterClient(tight.address) as client:
            client.send_message(NORMAL, b"text\r\n")
            worker = worker_of(tight)
            put_off: list[Reply] = []
            huge: list[Field] = [(b"Subject", b" " + (b"y " * 450 + b"\r\n ") * 1100 + b"y")] * 15
            replies: list[Reply] = []
            cut_off: list[Exception] = []
            small: list[Reply] = []

            def one() -> None:
                try:
                    with MilterClient(tight.address, timeout=30) as big:
                        replies.append(big.send_message([*huge, *NORMAL], b"text\r\n"))
                except (OSError, MilterError) as error:
                    # libmilter itself had no memory for a packet: the MTA puts the message off by its own default.
                    cut_off.append(error)

            for _ in range(8):
                threads = [threading.Thread(target=one) for _ in range(2)]
                for thread in threads:
                    thread.start()
                while any(thread.is_alive() for thread in threads):
                    small.append(client.send_message(NORMAL, b"text\r\n"))
                for thread in threads:
                    thread.join()
                put_off = [reply for reply in replies if reply.disposition is Disposition.TEMPFAIL]
                if put_off:
                    break
        print(f"{len(replies)} answered, {len(put_off)} of them put off, {len(cut_off)} cut off")
        assert put_off
        assert {reply.smtp[:9] for reply in put_off} == {b"451 4.3.0"}
        # In the very moment in which nothing is left a small message may be put off too; never is one wrong.
        late = [reply for reply in small if reply.disposition is Disposition.TEMPFAIL]
        assert len(late) < len(small) / 2
        for reply in [*replies, *small]:
            if reply.disposition is not Disposition.TEMPFAIL:
                assert [change.name for change in reply.modifications] == [b"DKIM-Signature"]
        assert worker_of(tight) == worker, "the worker lives"
        assert "internal error at" in tight.log()
        reply = send(tight.address, STRANGER, TEN, LINES, 100 * MB)
        assert b"dkim=fail" in result_of(reply), "a body of any size has room"
    finally:
        tight.close()
