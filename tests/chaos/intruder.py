"""An exporter that writes random octets to each descriptor and each piece of shared memory that it can reach."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import random
import socket
import stat
from pathlib import Path

from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.options import Options


class IntruderOptions(Options):
    """Where to start the random numbers."""

    interval: float = 0.1
    seed: int = 1


def _message(chosen: random.Random) -> bytes:
    """Octets for a control socket: noise, or something that resembles a message."""
    values = [None, True, -1, 10**40, "text", "\0", [], {}, [1, "summary action=sign"], {"stop": 1e300}, float("nan")]
    kinds = ["checked", "started", "stopped", "log", "ready", "failed", "parked", "restarted", "kind", "version"]
    return chosen.choice(
        [
            chosen.randbytes(chosen.randrange(1, 5000)),
            b"[" * 100_000,
            b"{}",
            b"null",
            b"\xff\xfe",
            json.dumps({chosen.choice(kinds): chosen.choice(values) for _ in range(3)}).encode(),
            json.dumps(chosen.choice(values)).encode(),
        ]
    )


class Intruder:
    """Attacks all that its process was given, at each tick."""

    api_version = 1

    @hookimpl
    def phoenixdkim_options(self):
        return IntruderOptions

    @hookimpl
    def phoenixdkim_start(self, context):
        self.chosen = random.Random(context.options.seed + os.getpid())

    @hookimpl
    def phoenixdkim_tick(self):
        for name in os.listdir("/proc/self/fd"):
            try:
                self._attack(int(name))
            except (OSError, ValueError):
                continue
        self._overwrite_mappings()

    def _attack(self, fd: int) -> None:
        kind = os.fstat(fd).st_mode
        if stat.S_ISSOCK(kind):
            copy = socket.socket(fileno=os.dup(fd))
            with copy:
                for _ in range(self.chosen.randrange(1, 4)):
                    copy.send(_message(self.chosen), socket.MSG_DONTWAIT)
                if self.chosen.random() < 0.3:
                    socket.send_fds(copy, [b"x"], [fd] * 5, socket.MSG_DONTWAIT)
            return
        if not stat.S_ISREG(kind):
            os.set_blocking(fd, False)
            os.write(fd, b"x: summary action=signed\n" + self.chosen.randbytes(3000))
            return
        size = os.fstat(fd).st_size
        for attempt in (
            lambda: os.pwrite(fd, self.chosen.randbytes(64), self.chosen.randrange(size)),
            lambda: os.ftruncate(fd, 0),
            lambda: os.ftruncate(fd, size * 2),
            lambda: self._fill(fd, size),
        ):
            try:
                attempt()
            except (OSError, ValueError):
                continue

    def _fill(self, fd: int, size: int) -> None:
        with mmap.mmap(fd, size) as memory:
            self._scribble(memory, size)

    def _scribble(self, memory: mmap.mmap, size: int) -> None:
        if self.chosen.random() < 0.3:
            memory[:] = self.chosen.randbytes(size)
            return
        for _ in range(20):
            # The first words are what steers: numbers, lengths, magic.
            word = 8 * self.chosen.randrange(self.chosen.choice([32, size // 8]))
            memory[word : word + 8] = self.chosen.choice([b"\xff" * 8, b"\0" * 8, self.chosen.randbytes(8)])

    def _overwrite_mappings(self) -> None:
        """Write through what is mapped for writing already, whatever was sealed since."""
        for line in Path("/proc/self/maps").read_bytes().splitlines():
            span, rights, *rest = line.split(None, 5)
            if not (rights.startswith(b"rw-s") and rest and b"phoenixdkim" in rest[-1]):
                continue
            first, _, last = span.partition(b"-")
            start, end = int(first, 16), int(last, 16)
            for _ in range(20):
                offset = 8 * self.chosen.randrange(self.chosen.choice([32, (end - start) // 8]))
                ctypes.memmove(start + offset, self.chosen.randbytes(8), 8)
