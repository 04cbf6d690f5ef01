"""An exporter that abuses the descriptors it has. Installed by the tests for as long as they need it."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

from phoenixdkim.exporters.messages import CODEC, Checked, Log, Severity, Started, Stopped
from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.options import Options

CONTROL = 3
FORGED = "4AAAA: summary action=sign d=example.com a=rsa-sha256 sigs=1"


def send(data: bytes, descriptors: list[int] | None = None) -> None:
    with socket.socket(fileno=os.dup(CONTROL)) as control:
        control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        if descriptors:
            socket.send_fds(control, [data], descriptors)
        else:
            control.send(data)


def flood_messages() -> None:
    while True:
        send(CODEC.encode(Log(Severity.ERROR, f"{time.monotonic()}\n{FORGED}")))


def descriptors() -> None:
    try:
        send(CODEC.encode(Log(Severity.INFO, "x")), [0, 1, 2])
    except PermissionError:
        # Refused by the kernel (Linux 6.16); sent as a violation of another kind then.
        send(b"descriptors")


def flood_output() -> None:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        os.write(1, (FORGED + "\n").encode() * 100)


def endless_line() -> None:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        os.write(2, b"x" * 65536)


def forge() -> None:
    print(FORGED)
    print("\r\n" + FORGED + "\x1b[2K", file=sys.stderr)
    os.system(f"echo '{FORGED}'; echo '{FORGED}' >&2")
    print("\N{LINE SEPARATOR}" + FORGED + "\x00\u202e", end="")


def truncate() -> None:
    for fd in (1, 2):
        for attempt in (
            lambda fd=fd: os.ftruncate(fd, 0),
            lambda fd=fd: os.close(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC)),
            lambda fd=fd: os.lseek(fd, 0, os.SEEK_SET),
        ):
            try:
                attempt()
            except OSError:
                continue
    print("truncated")


def leave_behind() -> None:
    if os.fork() == 0:
        os.setsid()
        while True:
            try:
                os.write(1, b"left behind\n")
            except OSError:
                time.sleep(0.1)
    os._exit(7)


def exchange_descriptors() -> None:
    with open("/dev/zero", "r+b", buffering=0) as zero:
        for fd in (3, 4, 5):
            os.dup2(zero.fileno(), fd)


def be_traced() -> None:
    """Have a process that outlives us trace us: until it ends, nobody can reap us."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(4, 1, 0, 0, 0)
    libc.prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
    traced = os.getpid()
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        libc.ptrace(0x4206, traced, 0, 0)
        os.write(writing, b".")
        while True:
            time.sleep(1000)
    os.read(reading, 1)
    print("traced", flush=True)
    time.sleep(10_000)


def kill_itself(number: int) -> None:
    os.kill(os.getpid(), number)


ACTS = {
    "text": lambda: send(b"hello"),
    "list": lambda: send(b"[]"),
    "number": lambda: send(b"1"),
    "deep": lambda: send(b"[" * 100_000),
    "old": lambda: send(b'{"log": [20, "x"]}'),
    "checked": lambda: send(CODEC.encode(Checked(False, "x", "[]"))),
    "started": lambda: send(CODEC.encode(Started())),
    "stopped": lambda: send(CODEC.encode(Stopped())),
    "stop_timeout": lambda: send(b'{"version": 1, "kind": "stopped", "stop_timeout": 1e308}'),
    "empty": lambda: send(b""),
    "long": lambda: send(b" " * 300_000),
    "descriptors": descriptors,
    "messages": flood_messages,
    "close": lambda: (os.close(CONTROL), time.sleep(3600)),
    "shut": lambda: socket.socket(fileno=CONTROL).shutdown(socket.SHUT_RDWR),
    "output": flood_output,
    "line": endless_line,
    "forge": forge,
    "truncate": truncate,
    "left": leave_behind,
    "traced": be_traced,
    "exchange": exchange_descriptors,
    "functions": lambda: setattr(time, "monotonic", None),
    "version": lambda: send(b'{"version": 2, "kind": "mismatch"}'),
    "rtmin": lambda: kill_itself(34 + 7),
    "nothing": lambda: None,
    "slow": lambda: None,
}


class RogueOptions(Options):
    """What to do, and when."""

    interval: float = 0.5
    act: str = "nothing"
    """What to do."""
    report: str = ""
    """File for a report."""


class Rogue:
    api_version = 1

    @hookimpl
    def phoenixdkim_options(self):
        if Path(__file__).with_name("rogue_import").exists():
            ACTS[Path(__file__).with_name("rogue_import").read_text()]()
        return RogueOptions

    @hookimpl
    def phoenixdkim_start(self, context):
        self.context = context

    @hookimpl
    def phoenixdkim_tick(self):
        options = self.context.options
        if options.report:
            self.report(Path(options.report))
        ACTS[options.act]()

    @hookimpl
    def phoenixdkim_stop(self):
        if self.context.options.act == "slow":
            time.sleep(10_000)

    def report(self, path):
        """Let programs that are started in every way say what descriptors they have."""
        if path.exists():
            return
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        script = "for f in /proc/self/fd/*; do readlink $f; done"
        found = subprocess.run(["/bin/sh", "-c", script], close_fds=False, capture_output=True, text=True).stdout
        file = path.with_suffix(".part")
        os.system(f"({script}) >> {file}")
        pid = os.fork()
        if pid == 0:
            os.execv("/bin/sh", ["/bin/sh", "-c", f"({script}) >> {file}"])
        os.waitpid(pid, 0)
        pid = os.posix_spawn("/bin/sh", ["/bin/sh", "-c", f"({script}) >> {file}"], os.environ)
        os.waitpid(pid, 0)
        with file.open("a") as report:
            report.write(f"{found}limit {soft}\n")
        file.rename(path)
