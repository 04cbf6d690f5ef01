"""Exporters that overwrite all the shared memory that they can write. Installed by the test of that name."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import threading
from enum import StrEnum

from phoenixdkim.events import MessageProcessed
from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.metrics import Kind, MetricSpec
from phoenixdkim.options import Options


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


PAINTED = MetricSpec("phoenixdkim_exporter_painted_total", Kind.COUNTER, "Painted.", {"colour": Colour})


class Chosen(Options):
    interval: float = 0.2
    how: str = "octets"
    """What is written: ``octets``, ``words``, ``ones``, ``hole`` or ``nothing``."""
    marker: str = ""
    """File that says that a predecessor did it already; then nothing is written."""


def writable() -> list[tuple[int, mmap.mmap]]:
    """All shared memory that this process can write, however it got at it."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if "memfd:phoenixdkim" not in os.readlink(f"/proc/self/fd/{name}"):
                continue
        except OSError:
            continue
        for opened in (lambda n=name: os.dup(int(n)), lambda n=name: os.open(f"/proc/self/fd/{n}", os.O_RDWR)):
            try:
                fd = opened()
                found.append((fd, mmap.mmap(fd, 0)))
            except (OSError, ValueError):
                continue
    return found


def overwrite(how: str) -> None:
    chance = random.Random(1)
    libc = ctypes.CDLL(None)
    while True:
        for fd, memory in writable():
            if how == "octets":
                memory[:] = chance.randbytes(len(memory))
            elif how == "words":
                at = chance.randrange(0, chance.choice([160, len(memory)]), 8)
                memory[at : at + 8] = chance.choice([b"\xff" * 8, b"\0" * 8, chance.randbytes(8)])
            elif how == "ones":
                memory[:] = b"\xff" * len(memory)
            else:
                libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(len(memory)))
            memory.close()
            os.close(fd)


class Overwrites:
    api_version = 1

    @hookimpl
    def phoenixdkim_options(self):
        return Chosen

    @hookimpl
    def phoenixdkim_metrics(self):
        return [PAINTED]

    @hookimpl
    def phoenixdkim_start(self, context):
        self.context = context
        context.add(PAINTED, {"colour": Colour.RED})
        if context.options.how == "nothing":
            return
        if context.options.marker:
            if os.path.exists(context.options.marker):
                return
            with open(context.options.marker, "w"):
                pass
        threading.Thread(target=overwrite, args=(context.options.how,), daemon=True).start()

    @hookimpl
    def phoenixdkim_event(self, event, count):
        assert count < 2**32
        if self.context.options.marker and isinstance(event, MessageProcessed):
            with open(f"{self.context.options.marker}.events", "a") as file:
                file.write(f"{count}\n")
