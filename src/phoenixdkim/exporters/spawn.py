"""Start an exporter's process: fork, limits, exec.

The new process gets a control socket, the ledger read-only and its own page. It gets no listening socket, no key,
no notify socket and no credential of the daemon, and runs only when nothing else wants the processor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import socket
import sys
from typing import Final

from phoenixdkim.exporters.users import Identity
from phoenixdkim.prctl import end_with_parent, refuse_new_privileges

_MAX_DESCRIPTORS: Final = 1024
"""Descriptors that an exporter may have open; the system's limit is another matter for one that leaks them."""
_MAX_TASKS: Final = 256
"""Processes and threads that an exporter's user may have, when it has a user of its own."""
_GROUP_SIGNALS: Final = frozenset(
    {
        *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
        *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
    }
)
"""Signals that a terminal or an administrator sends to the whole group: the supervisor's to act on."""
EXIT_NOT_STARTED: Final = 127
"""Exit status of a process that could not be executed."""
_KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


def spawn(
    ledger: int,
    page: int,
    run_as: Identity | None,
    module: str = "phoenixdkim.exporters.process",
    idle: bool = True,
    observed: bool = False,
    output: int = 2,
) -> tuple[int, socket.socket]:
    """Start an exporter's process; returns its pid and our end of the control socket.

    Args:
        ledger: read-only descriptor of the ledger.
        page: descriptor of the exporter's page.
        run_as: user to run as, None to stay who we are.
        module: what to run; tests put theirs here.
        idle: run only when nothing else wants the processor. A check must end, and tests measure the exporter and not
            the machine.
        observed: for tests: let the process's user look at it.
        output: descriptor for what it writes to stdout and stderr.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    try:
        _become_exporter(parent, {theirs.fileno(): 3, ledger: 4, page: 5}, output, run_as, idle)
        arguments = ["-I", "-u", "-m", module, "--control", "3", "--ledger", "4", "--page", "5"]
        arguments += ["--observed"] * observed
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606 - no shell is the point
    except OSError as error:
        who = f"user {run_as.name}" if run_as is not None else f"user id {os.geteuid()}"
        advice = "install phoenixdkim where that user can read it"
        if error.errno == errno.EAGAIN:
            advice = f"the user has {_MAX_TASKS} processes and threads already; give the exporter a user of its own"
        text = f"phoenixdkim: cannot start an exporter as {who}: {sys.executable}: {error.strerror}; {advice}\n"
        os.write(2, text.encode())
    finally:
        os._exit(EXIT_NOT_STARTED)


def _become_exporter(
    parent: int, descriptors: dict[int, int], output: int, run_as: Identity | None, idle: bool
) -> None:
    # What a plugin starts is in this session too, unless it takes pains, and ends with it.
    os.setsid()
    # Ctrl-C and a TERM to the group are the supervisor's to act on.
    for number in _GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    # The daemon ignores all others; a plugin may need timers, and a program that it starts SIGPIPE.
    for number in signal.valid_signals() - _GROUP_SIGNALS - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    # stdout and stderr are never the daemon's own: what a plugin can open again, it can truncate.
    sources = {0: null, 1: output, 2: output} | {target: source for source, target in descriptors.items()}
    # A source may have the number of a target: copies of all come first, where there is no target.
    copies = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, len(sources)) for target, source in sources.items()}
    for target, copy in copies.items():
        os.dup2(copy, target, inheritable=True)
    os.closerange(3 + len(descriptors), os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 65536 else 65536)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_MAX_DESCRIPTORS, hard), min(_MAX_DESCRIPTORS, hard)))
    if idle:
        os.nice(19)
        try:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        except OSError:
            # A container may forbid it; nice 19 is what is left.
            pass
    if run_as is not None:
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        tasks = _MAX_TASKS if hard == resource.RLIM_INFINITY else min(_MAX_TASKS, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (tasks, tasks))
        os.setgroups([])
        os.setresgid(run_as.gid, run_as.gid, run_as.gid)
        os.setresuid(run_as.uid, run_as.uid, run_as.uid)
        os.chdir("/")
    refuse_new_privileges()
    # After the change of user, which clears it. A plugin that spins can't notice that the supervisor is gone.
    end_with_parent()
    if os.getppid() != parent:
        os._exit(0)
