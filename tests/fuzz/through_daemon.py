"""The milter protocol, through the running daemon.

An execution is one sequence of packets over a connection of its own. Oracle: each connection ends; what the daemon
answers is milter protocol, and no field of its own has a line break but folds; an honest message at the end of a
sequence is signed. After each batch: an honest message is signed over a new connection, the workers are those of the
beginning, nothing but refused edits is logged as an internal error, descriptors are back where they were, memory stays
within a bound, and the processor time shows that no sequence took a second.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
import time
from collections.abc import Sequence as Several
from pathlib import Path
from typing import Final

from daemon.house import House, alive, signed
from fuzz.guard import write
from fuzz.packets import Sequence, sequence
from fuzz.target import CONTROLS, Wrong, check
from interop.peers import KeyPair

BATCH: Final = 200
AT_ONCE: Final = 10
MAX_GROWTH: Final = 64 * 1024
"""Kilobytes that a worker may grow by after its first thousand sequences."""
MAX_BATCH_SECONDS: Final = 2.0
"""Processor time of all workers for a batch; one that hangs for a second shows, as the others take a tenth of it."""
WAIT: Final = 60.0
_ANSWERS: Final = frozenset(b"Ochimb+-2eqartds4fyp")


def answers(received: bytes) -> list[tuple[bytes, bytes]]:
    """The daemon's packets; the last may be cut off, as either side may have hung up."""
    packets = []
    while len(received) >= 4:
        (size,) = struct.unpack("!I", received[:4])
        check(0 < size < 1 << 20, "a length that is none", size)
        if len(received) < 4 + size:
            break
        packet, received = received[4 : 4 + size], received[4 + size :]
        check(packet[0] in _ANSWERS, "an answer that is none", packet[:60])
        packets.append((packet[:1], packet[1:]))
    return packets


def judge(sent: Sequence, received: bytes) -> None:
    """Whether this is a fit answer to a sequence."""
    packets = answers(received)
    for command, payload in packets:
        if command == b"i":
            name, _, value = payload[4:].partition(b"\0")
            lines = value.removesuffix(b"\0").split(b"\n")
            check(name in (b"DKIM-Signature", b"Authentication-Results"), "a field of another name", name)
            check(all(line[:1] in (b" ", b"\t") for line in lines[1:]), "a line of another field", value)
            check(CONTROLS.isdisjoint(b"".join(lines)), "a control in a field", value)
    if sent.honest:
        check(packets and packets[-1][0] in (b"c", b"a"), "an honest message is not accepted", packets[-3:])
        last = packets[:-1]
        fields = [payload[4:] for command, payload in last[-1:] if command == b"i"]
        check(fields and fields[0].startswith(b"DKIM-Signature\0"), "an honest message is not signed", packets[-3:])
        value = fields[0].partition(b"\0")[2]
        agreed = sent.leading_space in (None, value.startswith(b" "))
        check(agreed, "the leading blank is not as agreed", value[:40])


def exchange(address: str, batch: Several[Sequence]) -> list[bytes]:
    """Send sequences over a connection each, all at once; what came back."""
    path = address.removeprefix("unix:")
    connections = []
    for sent in batch:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(WAIT)
        connection.connect(path)
        connections.append(connection)
        try:
            connection.sendall(sent.stream)
            connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            check(not sent.honest, "hung up on an honest message")
    return [_all(connection) for connection in connections]


def _all(connection: socket.socket) -> bytes:
    received = bytearray()
    with connection:
        while True:
            try:
                chunk = connection.recv(65536)
            except ConnectionResetError:
                break
            except TimeoutError:
                raise Wrong(f"a connection that does not end in {WAIT} s") from None
            if not chunk:
                break
            received += chunk
    return bytes(received)


class Watch:
    """What must not change while hostile packets come."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._workers = sorted(house.workers())
        self._descriptors = {pid: _descriptors(pid) for pid in self._workers}
        self._memory: dict[int, int] = {}
        self._read = 0
        self._spent = self._processor_time()
        check(self._workers, "no workers")

    def settle(self) -> None:
        """From now on memory is compared."""
        self._memory = {pid: _memory(pid) for pid in self._workers}

    @property
    def growth(self) -> int:
        """Kilobytes that the worker that grew most has more than when it had settled."""
        return max((_memory(pid) - before for pid, before in self._memory.items()), default=0)

    def _processor_time(self) -> float:
        ticks = 0
        for pid in self._workers:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _not_summaries(self) -> list[str]:
        return [line for line in self._house.log().splitlines() if ": summary " not in line][-5:]

    def after_batch(self) -> None:
        """Raise ``Wrong`` for what changed."""
        check(all(alive(pid) for pid in self._workers), "a worker is gone", self._not_summaries())
        check(signed(self._house.send()), "an honest message is not signed after this")
        spent, self._spent = self._spent, self._processor_time()
        check(self._spent - spent < MAX_BATCH_SECONDS, "seconds of processor time", self._spent - spent)
        with self._house.log_file.open("rb") as log:
            log.seek(self._read)
            lines = log.read().splitlines()
            self._read = log.tell()
        bad = [line for line in lines if b"internal error" in line and b"internal error at reply" not in line]
        check(not bad, "an internal error", bad[:3])
        if self._read > 1 << 24:
            # It is opened for appending.
            os.truncate(self._house.log_file, 0)
            self._read = 0
        until = time.monotonic() + WAIT
        for pid, before in self._descriptors.items():
            while _descriptors(pid) > before:
                check(time.monotonic() < until, "descriptors stay open", _descriptors(pid), before)
                time.sleep(0.005)
        check(self.growth < MAX_GROWTH, "kilobytes of memory more", self.growth)


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise Wrong(f"process {pid} has no memory")


def _house() -> House:
    # With few sessions allowed, one that is counted and never ends soon keeps honest messages out.
    return House(KeyPair.rsa("example.com"), milter=f"max_sessions = {4 * AT_ONCE}")


def run(runs: int, seconds: int, seed: int) -> int:
    """Send that many sequences, or for that long; a batch that fails is written to a file."""
    seed = seed or random.SystemRandom().getrandbits(32)
    print(f"seed: {seed}", flush=True)
    chance = random.Random(seed)
    ends = time.monotonic() + seconds if seconds else float("inf")
    done = packets = honest = 0
    with _house() as house:
        house.send()
        with house.client() as client:
            wanted = client.negotiate().protocol
        watch = Watch(house)
        while done < runs and time.monotonic() < ends:
            batch = [sequence(chance, wanted) for _ in range(BATCH)]
            try:
                _batch(house, batch)
                watch.after_batch()
            except (AssertionError, OSError):
                lines = [json.dumps([s.stream.hex(), s.honest, s.leading_space]) for s in batch]
                path = write("daemon", "\n".join(lines).encode())
                print(f"input: {path}\nreplay: scripts/fuzz daemon --replay {path}", file=sys.stderr, flush=True)
                raise
            done += len(batch)
            packets += sum(sent.packets for sent in batch)
            honest += sum(sent.honest for sent in batch)
            if done == 5 * BATCH:
                watch.settle()
            if done % (50 * BATCH) == 0:
                print(f"executions: {done}", flush=True)
        print(
            f"executions: {done}\npackets: {packets}\nhonest messages at their ends: {honest}\n"
            f"kilobytes grown: {watch.growth}",
            flush=True,
        )
    return 0


def _batch(house: House, batch: Several[Sequence]) -> None:
    for at in range(0, len(batch), AT_ONCE):
        part = batch[at : at + AT_ONCE]
        for sent, received in zip(part, exchange(house.address, part), strict=True):
            judge(sent, received)


def replay(file: Path) -> int:
    """The sequences of a file, one after the other; the first that fails shows its traceback."""
    with _house() as house:
        house.send()
        watch = Watch(house)
        for number, line in enumerate(file.read_text().splitlines(), 1):
            stream, honest, leading_space = json.loads(line)
            print(f"sequence {number}", flush=True)
            _batch(house, [Sequence(bytes.fromhex(stream), 0, honest, leading_space)])
            watch.after_batch()
    print(f"daemon: {file} runs as it should")
    return 0
