"""A virtual machine of its own systemd: the units of contrib, booted by systemd-nspawn from an image of this release.

Commands run in it by nsenter, and clients reach its unix sockets through /proc/PID/root. It has a private network.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

ROOT: Final = Path(__file__).parents[2]
UNITS: Final = ROOT / "contrib" / "systemd"
PACKAGES: Final = ("systemd", "systemd-sysv", "passwd", "python3")
PATIENCE: Final = 240.0
"""Seconds that anything may take; nothing here is expected to be fast."""


def eventually(condition: Callable[[], bool], what: str, report: Callable[[], str] = str) -> None:
    """Wait until ``condition`` holds; ``report`` is added to the failure."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:.0f} s\n{report()}"
        time.sleep(0.05)


def libmilter() -> str:
    """Return the name of this release's package of libmilter."""
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package}\n", "libmilter1.0.1*"], check=True, stdout=subprocess.PIPE, text=True
    )
    return found.stdout.split()[0]


class Machine:
    """One booted machine with the project in /opt/phoenixdkim and its units installed."""

    def __init__(self) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="phoenixdkim-machine-"))
        self.root = self._base / "root"
        self._console = self._base / "console"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._cursor = ""

    def __enter__(self) -> Self:
        try:
            self._make()
            self._boot()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _make(self) -> None:
        suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
        image = subprocess.run(
            [ROOT / "scripts/image", suite, *PACKAGES, libmilter()], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
        self.root.mkdir()
        subprocess.run(["tar", "-C", self.root, "-xf", image], check=True)
        subprocess.run(
            [ROOT / "scripts/standalone", self.root / "opt/phoenixdkim"],
            check=True,
            env=os.environ | {"PHOENIXDKIM_PYTHON": "/usr/bin/python3"},
        )
        (self.root / "usr/bin/phoenixdkim").symlink_to("/opt/phoenixdkim/bin/phoenixdkim")
        for unit in UNITS.iterdir():
            shutil.copy(unit, self.root / "etc/systemd/system")
        for name in ("postfix", "phoenixdkim", "phoenixdkim-textfile", "phoenixdkim-http"):
            subprocess.run(["chroot", self.root, "useradd", "--system", "--user-group", name], check=True)

    def _boot(self) -> None:
        command = ["systemd-nspawn", "--boot", "--quiet", "--private-network", "--register=no", "--keep-unit"]
        command += ["--console=pipe", f"--machine=phoenixdkim-{os.getpid()}", f"--directory={self.root}"]
        with self._console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                # Debian 13's systemd runs below control groups of version 2 only.
                env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )
        eventually(self._is_up, "the machine did not boot", lambda: self._console.read_text(errors="replace"))

    def _is_up(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, self._console.read_text(errors="replace")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        self._leader = int(children[0]) if children else 0
        return bool(children) and self.try_run("systemctl", "is-system-running").stdout.strip() == "running"

    def _end(self) -> None:
        if self._nspawn is not None and self._nspawn.poll() is None:
            if self._leader:
                # The end of its first process ends all others.
                os.kill(self._leader, signal.SIGKILL)
            try:
                self._nspawn.wait(30)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        shutil.rmtree(self._base, ignore_errors=True)

    # Commands.

    def try_run(self, *command: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, as root or as another user; its status and output."""
        prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        return subprocess.run(
            ["nsenter", f"--target={self._leader}", "--all", "--root", "--wd", *prefix, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )

    def run(self, *command: str, user: str = "") -> str:
        """Run a command that must succeed; its output."""
        done = self.try_run(*command, user=user)
        assert done.returncode == 0, f"{' '.join(command)}: status {done.returncode}\n{done.stdout}\n{self.journal()}"
        return done.stdout

    def systemctl(self, *arguments: str) -> str:
        """Run systemctl, which must succeed."""
        return self.run("systemctl", *arguments)

    def show(self, name: str, unit: str = "phoenixdkim.service") -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def begin_journal(self) -> None:
        """Forget what was logged until now."""
        shown = self.run("journalctl", "--no-pager", "--lines=0", "--show-cursor")
        self._cursor = shown.partition("-- cursor: ")[2].strip()

    def journal(self) -> str:
        """Return what systemd and the daemon have logged since the test began."""
        arguments = ("--no-pager", "--output=cat", "--unit=phoenixdkim*", f"--after-cursor={self._cursor}")
        return self.try_run("journalctl", *arguments).stdout

    def path(self, name: str) -> Path:
        """Return the path here of one in the machine, what is mounted there included."""
        return Path(f"/proc/{self._leader}/root") / name.lstrip("/")

    # The service.

    def kill(self, number: signal.Signals) -> int:
        """Send a signal to the supervisor only; its pid in the machine."""
        pid = int(self.show("MainPID"))
        assert pid > 0
        self.systemctl("kill", "--kill-who=main", f"--signal={number.name}", "phoenixdkim.service")
        return pid

    def await_replacement(self, pid: int) -> None:
        """Wait until the service is active with another supervisor than ``pid``."""

        def replaced() -> bool:
            return self.show("ActiveState") == "active" and self.show("MainPID") not in ("0", str(pid))

        eventually(replaced, f"no new supervisor in place of {pid}", self.journal)
