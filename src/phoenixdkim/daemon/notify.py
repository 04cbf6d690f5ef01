"""Telling systemd how the daemon is (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends state changes to the service manager, when there is one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        interval = environment.get("WATCHDOG_USEC", "")
        wanted = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.watchdog_interval = int(interval) / 2e6 if interval.isdigit() and wanted else None
        """Seconds between two signs of life, half of what systemd allows; None when it does not ask."""

    def send(self, *lines: str) -> None:
        """Send lines such as ``READY=1``; without a service manager nothing happens."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.setblocking(False)
                out.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            # A service manager that does not listen must not keep mail from being served.
            return

    def ready(self, status: str) -> None:
        """The daemon serves."""
        self.send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read anew."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The daemon is about to end."""
        self.send("STOPPING=1")

    def alive(self) -> None:
        """A sign of life for the watchdog."""
        self.send("WATCHDOG=1")
