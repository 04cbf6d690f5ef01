"""No output of the log waits for its reader, whoever opened it, and no flag of a shared file is changed."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from phoenixdkim.log import Destination, Log
from phoenixdkim.log_output import FileOutput, PipeOutput, TerminalOutput, open_output

pytestmark = pytest.mark.usefixtures("unmeasured")

LINES = 5000
WRITE = f"""
import fcntl, os, sys, time
from phoenixdkim.log import *
before = fcntl.fcntl(2, fcntl.F_GETFL)
lost = []
log = Log(Destination.STDERR)
log.on_lost = lambda: lost.append(1)
begun = time.monotonic()
for n in range({LINES}): log.info(f"{{n:04}} " + "x" * 95)
took = time.monotonic() - begun
assert fcntl.fcntl(2, fcntl.F_GETFL) == before, "its flags are shared"
print(type(log._output).__name__, took, flush=True)
sys.stdin.read()
log.info("last")
log.give_up()
print(len(lost))
"""
OTHER = 65534


def pipe() -> tuple[int, int]:
    return os.pipe()


def stream_socket() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def terminal() -> tuple[int, int]:
    return pty.openpty()


KINDS: dict[str, tuple[Callable[[], tuple[int, int]], bool, str]] = {
    "pipe": (pipe, False, "FileOutput"),
    "pipe of another user": (pipe, True, "PipeOutput"),
    "socket": (stream_socket, False, "SocketOutput"),
    "socket of another user": (stream_socket, True, "SocketOutput"),
    "terminal": (terminal, False, "FileOutput"),
    "terminal of another user": (terminal, True, "TerminalOutput"),
}


@contextmanager
def writer(descriptor: int, other: bool) -> Iterator[subprocess.Popen[str]]:
    """A process that logs to ``descriptor``, as another user if wanted."""
    if other and os.geteuid() != 0:
        pytest.skip("only root can run a process as another user")
    user = {"user": OTHER, "group": OTHER, "extra_groups": []} if other else {}
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE],
        stderr=descriptor,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **user,  # type: ignore[call-overload]
    )
    os.close(descriptor)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


class Reader(threading.Thread):
    """Reads all there is."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(daemon=True)
        self._descriptor = descriptor
        self.data = b""

    def run(self) -> None:
        try:
            while chunk := os.read(self._descriptor, 1 << 16):
                self.data += chunk
        except OSError:
            # A terminal whose last user has gone.
            return


@pytest.mark.parametrize("kind", KINDS)
def test_a_stalled_reader_costs_no_time_and_lines_are_lost_or_whole(kind):
    make, other, output = KINDS[kind]
    reading, writing = make()
    with writer(writing, other) as process:
        name, took = process.stdout.readline().split()
        assert name == output
        assert float(took) < 10, "five thousand lines"
        reader = Reader(reading)
        reader.start()
        process.stdin.close()
        lost = int(process.stdout.readline())
        process.wait()
        reader.join(60)
    os.close(reading)
    lines = reader.data.decode().splitlines()
    assert lost > 1000
    # The last line that is counted as lost may have left its first half.
    assert LINES + 1 <= len(lines) + lost <= LINES + 2


def test_the_controlling_terminal_is_opened_by_its_other_name():
    if os.geteuid() != 0:
        pytest.skip("only root can run a process as another user")
    master, slave = pty.openpty()
    code = (
        "import fcntl, os, termios\n"
        "fcntl.ioctl(2, termios.TIOCSCTTY, 0)\nos.setgroups([])\nos.setresgid(65534, 65534, 65534)\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "from phoenixdkim.log_output import open_output\n"
        "output = open_output()\nprint(type(output).__name__, os.readlink(f'/proc/self/fd/{output._descriptor}'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        stderr=slave,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        check=True,
    )
    os.close(master)
    os.close(slave)
    assert done.stdout == "FileOutput /dev/tty\n"


FORKS = """
import os, time
from phoenixdkim.log_output import PipeOutput
output = PipeOutput(2)
assert output.write(b"parent\\n") == 7
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        for n in range(500):
            while True:
                try:
                    assert output.write(f"{child} {n} {'x' * 200}\\n".encode()) > 200
                    break
                except BlockingIOError:
                    time.sleep(0.001)
        os._exit(0)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
"""


def test_lines_of_several_processes_stay_whole_in_a_pipe_of_another_user():
    reading, writing = os.pipe()
    reader = Reader(reading)
    reader.start()
    subprocess.run([sys.executable, "-c", FORKS], stderr=writing, check=True)
    os.close(writing)
    reader.join(30)
    os.close(reading)
    lines = reader.data.decode().splitlines()
    assert sorted(lines) == sorted(["parent", *(f"{c} {n} {'x' * 200}" for c in range(4) for n in range(500))])


def test_a_pipe_without_reader_fails_and_nothing_is_left_over():
    reading, writing = os.pipe()
    output = PipeOutput(writing)
    os.close(reading)
    for _ in range(3):
        with pytest.raises(BrokenPipeError):
            output.write(b"x\n")
    os.close(writing)


def test_long_lines_are_written_in_part():
    reading, writing = os.pipe()
    output = PipeOutput(writing)
    data = b"x" * 60_000
    total = 0
    with pytest.raises(BlockingIOError):
        while True:
            total += output.write(data)
    got = b""
    while len(got) < total:
        got += os.read(reading, 1 << 20)
    assert len(got) == total >= 60_000
    os.close(reading)
    os.close(writing)


def test_kinds_of_descriptors(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        assert isinstance(open_output(file.fileno()), FileOutput)
    with open("/dev/null", "wb") as null:
        assert isinstance(open_output(null.fileno()), FileOutput)
    master, slave = pty.openpty()
    assert TerminalOutput(slave).write(b"x" * 1000) == 1000
    os.close(master)
    os.close(slave)


def test_a_full_disk_loses_lines_and_breaks_none(tmp_path):
    """A file that may not grow stands for the disk; Python ignores the signal."""
    path = tmp_path / "log"
    code = (
        "import resource\nfrom phoenixdkim.log import *\nlost = []\n"
        "log = Log(Destination.STDERR)\nlog.on_lost = lambda: lost.append(1)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1050, resource.RLIM_INFINITY))\n"
        "for n in range(20): log.info(f'{n:03} ' + 'x' * 95)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "log.info('after')\nlog.give_up()\nprint(len(lost))\n"
    )
    with path.open("ab") as file:
        done = subprocess.run([sys.executable, "-c", code], stderr=file, stdout=subprocess.PIPE, text=True, check=True)
    lines = path.read_text().splitlines()
    assert len([line for line in lines if len(line) == 99]) == 10
    assert lines[-1] == "after"
    assert 10 + 1 + int(done.stdout) == 21


@pytest.mark.parametrize("path", ["/dev/full"])
def test_a_device_that_is_full(path):
    with open(path, "wb") as full:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from phoenixdkim.log import *\nlost = []\nlog = Log(Destination.STDERR)\n"
                "log.on_lost = lambda: lost.append(1)\nfor _ in range(50): log.info('x')\nprint(len(lost))\n",
            ],
            stderr=full,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    assert done.stdout == "50\n"


def test_flags_of_this_process_stay(capfd):
    before = fcntl.fcntl(2, fcntl.F_GETFL)
    Log(Destination.STDERR).info("x")
    assert fcntl.fcntl(2, fcntl.F_GETFL) == before
