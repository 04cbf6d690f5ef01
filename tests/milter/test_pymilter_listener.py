"""The listener, in a process of its own for each way and family: libmilter can be brought to listen once a process."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from phoenixdkim.milter.pymilter_listener import ListenWay
from phoenixdkim.testing.milter_client import MilterClient
from phoenixdkim.testing.milter_protocol import Disposition

FILTER = """\
import socket, sys, threading, time
import milter
from phoenixdkim.milter.pymilter_listener import Listener, ListenWay

shared = socket.socket(fileno=int(sys.argv[1]))
milter.set_eom_callback(lambda context: milter.ACCEPT)
milter.register("test")
listener = Listener(shared, ListenWay(sys.argv[2]))
assert listener.way == sys.argv[2]
thread = threading.Thread(target=milter.main, daemon=True)
thread.start()
listener.serve(thread)
print("serves", flush=True)
for line in sys.stdin:
    if line == "pause\\n":
        listener.pause()
    elif line == "resume\\n":
        listener.resume()
    elif line == "rouse\\n":
        for _ in range(100_000):
            listener.rouse()
    print(listener.accepted(), flush=True)
"""

FAMILIES = {
    "unix": (socket.AF_UNIX, ""),
    "inet": (socket.AF_INET, ("127.0.0.1", 0)),
    "inet6": (socket.AF_INET6, ("::1", 0)),
}


class Filter:
    """The process, and the address of its socket."""

    def __init__(self, family: str, way: ListenWay) -> None:
        with socket.socket(FAMILIES[family][0]) as shared:
            if family == "unix":
                shared.bind("")
            else:
                shared.bind(FAMILIES[family][1])
            shared.listen(16)
            self.name = shared.getsockname()
            self.family = FAMILIES[family][0]
            self.process = subprocess.Popen(
                [sys.executable, "-c", FILTER, str(shared.fileno()), way],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=[shared.fileno()],
            )
        assert self.read() == "serves"

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def accepted(self, command: str = "count") -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return int(self.read())

    def client(self) -> MilterClient:
        if self.family == socket.AF_UNIX:
            return MilterClient("unix:\0" + self.name[1:].decode(), timeout=10)
        return MilterClient(f"inet:{self.name[1]}@{self.name[0]}", timeout=10)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(params=ListenWay)
def filter_(request, family):
    made = Filter(family, request.param)
    yield made
    made.close()


def send(client):
    return client.send_message([(b"From", b" a@example.com")], b"Hello\r\n").disposition


def test_it_serves_its_socket_and_counts_what_it_accepted(filter_):
    assert filter_.accepted() == 0, "the connection that rouses is not an MTA's"
    with filter_.client() as first, filter_.client() as second:
        assert send(first) is send(second) is Disposition.ACCEPT
        assert filter_.accepted() == 2


def test_it_is_roused_more_often_than_it_reads(filter_):
    with filter_.client() as client:
        assert send(client) is Disposition.ACCEPT
        assert filter_.accepted("rouse") == 1
        assert send(client) is Disposition.ACCEPT


def test_paused_it_takes_no_more_and_goes_on_with_what_is_open_until_it_resumes(filter_):
    with filter_.client() as client:
        assert send(client) is Disposition.ACCEPT
        assert filter_.accepted("pause") == 1
        assert send(client) is Disposition.ACCEPT
        with filter_.client() as late:
            late.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                late.negotiate()
        assert filter_.accepted() == 1
        with filter_.client() as waiting:
            filter_.accepted("resume")
            assert send(waiting) is Disposition.ACCEPT
