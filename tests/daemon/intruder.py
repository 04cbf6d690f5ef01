"""An exporter that attacks the daemon and its siblings. Installed by the tests for as long as they need it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.options import Options

_libc = ctypes.CDLL(None, use_errno=True)
_RT_SIGQUEUEINFO, _TGKILL, _KCMP = 129, 234, 312
_PIDFD_SEND_SIGNAL, _PIDFD_OPEN, _PIDFD_GETFD, _PROCESS_MADVISE = 424, 434, 438, 440
_PTRACE_ATTACH, _PTRACE_SEIZE = 16, 0x4206


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _call(number: int, *arguments: object) -> int:
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments))


def _memory(function: str, pid: int) -> int:
    here = ctypes.create_string_buffer(8)
    local = _Vector(ctypes.addressof(here), 8)
    remote = _Vector(ctypes.addressof(here), 8)
    return _checked(getattr(_libc, function)(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))


def _read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def _through_pidfd(pid: int, number: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        _call(_PIDFD_GETFD, pidfd, number, 0)
    finally:
        os.close(pidfd)


def _by_pidfd(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        _call(_PIDFD_SEND_SIGNAL, pidfd, int(signal.SIGTERM), None, 0)
    finally:
        os.close(pidfd)


def _queued(pid: int) -> None:
    info = (ctypes.c_int * 32)(int(signal.SIGTERM), 0, -1)
    _call(_RT_SIGQUEUEINFO, pid, int(signal.SIGTERM), ctypes.byref(info))


ATTACKS: dict[str, Callable[[int], object]] = {
    "kill 0": lambda pid: os.kill(pid, 0),
    "kill": lambda pid: os.kill(pid, signal.SIGKILL),
    "stop": lambda pid: os.kill(pid, signal.SIGSTOP),
    "real-time signal": lambda pid: os.kill(pid, 40),
    "kill a group": lambda pid: os.killpg(pid, signal.SIGKILL),
    "rt_sigqueueinfo": _queued,
    "tgkill": lambda pid: _call(_TGKILL, pid, pid, int(signal.SIGKILL)),
    "pidfd_send_signal": _by_pidfd,
    "pidfd_getfd 0": lambda pid: _through_pidfd(pid, 0),
    "pidfd_getfd 3": lambda pid: _through_pidfd(pid, 3),
    "prlimit": lambda pid: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)),
    "prlimit, read": lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE),
    "ptrace attach": lambda pid: _checked(_libc.ptrace(_PTRACE_ATTACH, pid, None, None)),
    "ptrace seize": lambda pid: _checked(_libc.ptrace(_PTRACE_SEIZE, pid, None, None)),
    "process_vm_readv": lambda pid: _memory("process_vm_readv", pid),
    "process_vm_writev": lambda pid: _memory("process_vm_writev", pid),
    "kcmp": lambda pid: _call(_KCMP, pid, os.getpid(), 0, 0, 0),
    "priority": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
    "affinity": lambda pid: os.sched_setaffinity(pid, {0}),
    "scheduler": lambda pid: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
    "mem": lambda pid: _read(f"/proc/{pid}/mem"),
    "mem, write": lambda pid: os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR)),
    "environ": lambda pid: _read(f"/proc/{pid}/environ"),
    "maps": lambda pid: _read(f"/proc/{pid}/maps"),
    "fd": lambda pid: os.listdir(f"/proc/{pid}/fd"),
    "fd 0": lambda pid: os.close(os.open(f"/proc/{pid}/fd/0", os.O_RDONLY)),
    "exe": lambda pid: os.readlink(f"/proc/{pid}/exe"),
    "cwd": lambda pid: os.listdir(f"/proc/{pid}/cwd/"),
    "oom_score_adj": lambda pid: Path(f"/proc/{pid}/oom_score_adj").write_text("1000"),
}


def _attack_memory() -> list[list[object]]:
    """What can be done with each memory that this process has a descriptor of, its own page left out."""
    succeeded: list[list[object]] = []
    for number in sorted(int(name) for name in os.listdir("/proc/self/fd")):
        link = ""
        with contextlib.suppress(OSError):
            link = os.readlink(f"/proc/self/fd/{number}")
        if "phoenixdkim-ledger" not in link:
            continue
        descriptors = {"given": number}
        with contextlib.suppress(OSError):
            descriptors["reopened"] = os.open(f"/proc/self/fd/{number}", os.O_RDWR)
        for how, descriptor in descriptors.items():
            for name, attack in {
                "grow": lambda fd: os.ftruncate(fd, os.fstat(fd).st_size + 4096),
                "shrink": lambda fd: os.ftruncate(fd, 0),
                "write": lambda fd: os.pwrite(fd, b"\xff" * 8, 4096),
                "map": lambda fd: mmap.mmap(fd, 4096),
                "punch a hole": lambda fd: _checked(_libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(4096))),
            }.items():
                with contextlib.suppress(OSError):
                    attack(descriptor)
                    succeeded.append([f"{name} the ledger, {how}", number])
    return succeeded


class IntruderOptions(Options):
    interval: float = 0.2
    attack: str = ""
    """File with the pids and files to attack; another one beside it, named by our user id, gets what succeeded."""


class Intruder:
    """Tries each attack on each process, and to open each file; also before it is started."""

    api_version = 1

    @hookimpl
    def phoenixdkim_options(self) -> type[Options]:
        return IntruderOptions

    @hookimpl
    def phoenixdkim_start(self, context: object) -> None:
        self.context = context

    @hookimpl
    def phoenixdkim_tick(self) -> None:
        target = Path(self.context.options.attack)  # type: ignore[attr-defined]
        report = target.with_name(f"report-{os.getuid()}")
        if not target.exists() or report.exists():
            return
        wanted = json.loads(target.read_text())
        attacks = wanted.get("attacks", list(ATTACKS))
        succeeded = []
        for pid in wanted["pids"]:
            if pid == os.getpid():
                continue
            for name in attacks:
                with contextlib.suppress(OSError):
                    ATTACKS[name](pid)
                    succeeded.append([name, pid])
        for path in wanted["files"]:
            for flags in (os.O_RDONLY, os.O_WRONLY):
                with contextlib.suppress(OSError):
                    os.close(os.open(path, flags))
                    succeeded.append([path, flags])
        succeeded += _attack_memory()
        draft = report.with_suffix(".draft")
        draft.write_text(json.dumps({"tried": len(attacks) * len(wanted["pids"]), "succeeded": succeeded}))
        draft.rename(report)
