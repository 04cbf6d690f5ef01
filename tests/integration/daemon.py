"""The real daemon, started as an administrator starts it, with keys and a zone file of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from integration.postfix import free_port
from interop.peers import KeyPair

AUTHSERV_ID = "mx.example"


class Daemon:
    """``phoenixdkim run`` on a loopback port.

    Args:
        signing: keys that sign, all for mail from their domain.
        published: keys in the zone file beside those.
        signing_options: lines for the table ``[signing]``.
        trusted: networks whose mail is signed.
        verifying_options: lines for the table ``[verifying]``.
        extra: more TOML at the end.
        workers: number of worker processes.
        authserv_id: our name; empty for the default.
    """

    def __init__(
        self,
        signing: Sequence[KeyPair] = (),
        published: Sequence[KeyPair] = (),
        *,
        signing_options: str = "",
        trusted: Sequence[str] = ("127.0.0.0/8", "::1"),
        verifying_options: str = "",
        extra: str = "",
        workers: int = 2,
        authserv_id: str = AUTHSERV_ID,
    ) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="pdkim-daemon-"))
        self.base.chmod(0o755)
        self.port = free_port()
        self.milter = f"inet:127.0.0.1:{self.port}"
        """As ``smtpd_milters`` takes it."""
        self.address = f"inet:{self.port}@127.0.0.1"
        """As the milter client takes it."""
        zone = self.base / "zone"
        zone.write_text("".join(key.zone_line for key in [*signing, *published]))
        lines = [
            "[milter]",
            f'socket = "{self.address}"',
            f"workers = {workers}",
            "[process]",
            'user = "nobody"',
            "[log]",
            'destination = "stderr"',
            "[control]",
            f'socket = "{self.base}/control.sock"',
            "[signing]",
            f"enabled = {'true' if signing else 'false'}",
            f"trusted = {json.dumps(list(trusted))}",
            signing_options,
        ]
        for domain in dict.fromkeys(key.domain for key in signing):
            names = ", ".join(f'"{key.selector}-{key.domain}"' for key in signing if key.domain == domain)
            lines += ["[[signing.rules]]", f'from = "*@{domain}"', f"keys = [{names}]"]
        for key in signing:
            path = self.base / f"{key.selector}.{key.domain}.pem"
            path.touch(mode=0o600)
            path.write_bytes(key.pem)
            lines += [f'[keys."{key.selector}-{key.domain}"]', f'domain = "{key.domain}"']
            lines += [f'selector = "{key.selector}"', f'file = "{path}"']
        lines += [
            "[verifying]",
            f'authserv_id = "{authserv_id}"',
            verifying_options,
            "[dns]",
            f'zone = "{zone}"',
            extra,
        ]
        self.config = self.base / "phoenixdkim.toml"
        self.config.write_text("\n".join(lines) + "\n")
        self._log = self.base / "log"
        self.wrapper: list[str] = []
        """A command that executes what follows it, as env(1) does."""
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, timeout: float = 30.0) -> None:
        """Start it and wait until it accepts connections."""
        program = Path(sys.executable).with_name("phoenixdkim")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, program, "run", "-c", self.config], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + timeout
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the daemon does not run ({self.process.poll()}):\n{self.log()}") from error
                time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL for the supervisor; what it leaves behind has to go by itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def children(self) -> list[int]:
        """Process ids of all that descend from the supervisor."""
        assert self.process is not None
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    # It ended meanwhile.
                    continue
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
        found: list[int] = []
        todo = [self.process.pid]
        while todo:
            children = parents.get(todo.pop(), [])
            found += children
            todo += children
        return found

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def close(self) -> None:
        """Stop it, if need be by force, and remove its files."""
        if self.process is not None and self.process.poll() is None:
            left = self.children()
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
                for pid in left:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
        shutil.rmtree(self.base, ignore_errors=True)
