"""Exporters that mean no good, or are merely broken. Installed by the tests for as long as they need them."""

from __future__ import annotations

import ctypes
import json
import os
import re
import time
from pathlib import Path

from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.options import Options


class HostileOptions(Options):
    """Where to write what was found out, and what to try to read."""

    interval: float = 0.2
    report: str = ""
    """File for the report."""
    targets: list[str] = []  # noqa: RUF012 - pydantic copies it
    """Files to try."""
    pids: list[int] = []  # noqa: RUF012 - pydantic copies it
    """Processes to try."""


class _Plugin:
    api_version = 1

    @hookimpl
    def phoenixdkim_options(self):
        return HostileOptions

    @hookimpl
    def phoenixdkim_start(self, context):
        self.context = context


class Raises(_Plugin):
    @hookimpl
    def phoenixdkim_event(self, event):
        raise SystemExit(3)

    @hookimpl
    def phoenixdkim_tick(self):
        raise RecursionError("each time")

    @hookimpl
    def phoenixdkim_stop(self):
        raise KeyboardInterrupt


class Hangs(_Plugin):
    @hookimpl
    def phoenixdkim_event(self, event):
        time.sleep(10000)


class Spins(_Plugin):
    @hookimpl
    def phoenixdkim_tick(self):
        # In C, with the GIL held, for longer than anybody waits.
        re.match(r"(a+)+$", "a" * 64 + "b")


class Leaks(_Plugin):
    @hookimpl
    def phoenixdkim_tick(self):
        self.held = getattr(self, "held", [])
        while True:
            self.held.append(bytearray(8 << 20))


class Segfaults(_Plugin):
    @hookimpl
    def phoenixdkim_tick(self):
        ctypes.string_at(8)


class Exits(_Plugin):
    @hookimpl
    def phoenixdkim_event(self, event):
        os._exit(0)


class Spies(_Plugin):
    """Tries what it should not be able to do, and writes down what came of it."""

    @hookimpl
    def phoenixdkim_tick(self):
        found = {"descriptors": {}, "truncated": [], "written": [], "read": [], "environment": sorted(os.environ)}
        for name in os.listdir("/proc/self/fd"):
            try:
                found["descriptors"][name] = os.readlink(f"/proc/self/fd/{name}")
            except OSError:
                continue
        for name, link in found["descriptors"].items():
            if "ledger" in link:
                for attempt in (
                    lambda n=name: os.ftruncate(int(n), 0),
                    lambda n=name: os.truncate(f"/proc/self/fd/{n}", 0),
                ):
                    try:
                        attempt()
                        found["truncated"].append(link)
                    except OSError:
                        pass
                try:
                    fd = os.open(f"/proc/self/fd/{name}", os.O_RDWR)
                    os.pwrite(fd, b"\xff" * 8, 4096)
                    found["written"].append(link)
                except OSError:
                    pass
        options = self.context.options
        for target in [*options.targets, *(f"/proc/{pid}/mem" for pid in options.pids)]:
            try:
                with open(target, "rb") as file:
                    file.read(1)
                found["read"].append(target)
            except OSError as error:
                if "mem" in target and error.errno == 5:
                    # Opened, and only this address is not mapped.
                    found["read"].append(target)
        Path(options.report).write_text(json.dumps(found))
