"""Exporters that mean no good, or are merely broken. Installed by the tests for as long as they need them."""

from __future__ import annotations

import ctypes
import json
import os
import re
import threading
import time
from pathlib import Path

from phoenixdkim import events, metrics
from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.ledger import LAYOUT
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


class Unstoppable(BaseException):
    pass


class RaisesBase(_Plugin):
    @hookimpl
    def phoenixdkim_event(self, event):
        raise Unstoppable("no")


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


class LeaksDescriptors(_Plugin):
    @hookimpl
    def phoenixdkim_tick(self):
        self.held = getattr(self, "held", [])
        while True:
            self.held.append(os.open("/dev/null", os.O_RDONLY))


class LeaksThreads(_Plugin):
    @hookimpl
    def phoenixdkim_tick(self):
        while True:
            threading.Thread(target=time.sleep, args=(10000,)).start()


class Forks(_Plugin):
    """Leaves processes behind, some of which go their own ways."""

    @hookimpl
    def phoenixdkim_tick(self):
        for own in (False, True):
            if os.fork() == 0:
                if own:
                    os.setsid()
                while True:
                    time.sleep(1000)


class Changes(_Plugin):
    """Changes whatever it gets hold of."""

    @hookimpl
    def phoenixdkim_event(self, event, samples):
        for name in event.label_enums():
            object.__setattr__(event, name, "secret.example")
        for kind in event.label_enums().values():
            for member in kind:
                member._value_ = "secret.example"
        events._closed = False
        events._LABELS.clear()
        LAYOUT.slot_of.clear()
        os.environ.clear()
        os.environ["PHOENIXDKIM"] = "secret.example"

    @hookimpl
    def phoenixdkim_tick(self):
        metrics.CATALOGUE[0].labels.clear()
        os.chdir("/")
        os.umask(0)


class SlowStop(_Plugin):
    @hookimpl
    def phoenixdkim_stop(self):
        time.sleep(10000)


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
