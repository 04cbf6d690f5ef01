"""StatsD servers that are gone, come back, don't read or can't be found (X6, X10): mail goes on, losses are told."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from daemon.house import House, Load
from phoenixdkim.cli import main
from phoenixdkim.metrics import CATALOGUE, EXPORTER_LOST, Kind
from receivers.programs import eventually, fetch, free_port
from receivers.truth import scrape, snapshot_of

INTERVAL = 0.2


class Server(threading.Thread):
    """Reads all datagrams of a socket and adds up the counters, until it is closed."""

    def __init__(self, made, counters):
        super().__init__(daemon=True)
        self.socket, self.counters, self.sizes = made, counters, []
        self.socket.settimeout(0.1)
        self._ending = False
        self.start()

    def run(self):
        while True:
            try:
                packet = self.socket.recv(65536)
            except TimeoutError:
                if self._ending:
                    return
                continue
            self.sizes.append(len(packet))
            for line in packet.decode().split("\n"):
                name, _, rest = line.partition(":")
                value, kind = rest.split("|")[:2]
                if kind == "c":
                    self.counters[name] = self.counters.get(name, 0) + int(value)

    def close(self):
        self._ending = True
        self.join()
        self.socket.close()


def udp(port):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind(("127.0.0.1", port))
    return made


EVENT_NAMES = {
    "phoenixdkim." + spec.dotted_name({name: event.labels()[name] for name in spec.labels})
    for spec in CATALOGUE
    if spec.kind is Kind.COUNTER and spec.event is not None
    for event in spec.event.combinations()
}


def events(counters):
    """How many events these counters count; each kind of event has one counter."""
    return sum(value for name, value in counters.items() if name in EVENT_NAMES)


def happened(house):
    """How many events the ledger has."""
    return sum(
        sample.value
        for family in snapshot_of(house).families
        if family.spec.kind is Kind.COUNTER and family.spec.event is not None
        for sample in family.samples
    )


def house_of(key, port, address):
    table = f'[exporters.statsd]\naddress = "{address}"\ninterval = {INTERVAL}\n[exporters.http]\n'
    return House(key, exporters=f'{table}listen = "127.0.0.1:{port}"\ninterval = 1\n')


def shown(port, name, labels=""):
    for line in scrape(port).decode().splitlines():
        if line.startswith(f"{name}{labels} "):
            return float(line.split()[-1])
    raise AssertionError(f"no {name}")


def lost(port):
    return shown(port, EXPORTER_LOST.name, '{exporter="statsd"}')


def send(house, messages=30):
    with Load(house, 3, messages=messages) as load:
        load.join()
    assert (load.good, load.bad) == (messages, [])


def test_a_server_that_comes_and_goes_has_what_is_not_lost(key):
    port, http = free_port(socket.SOCK_DGRAM), free_port()
    counters = {}
    with house_of(key, http, f"127.0.0.1:{port}") as house:
        eventually("the port", lambda: fetch(f"http://127.0.0.1:{http}/metrics"))
        for _ in range(3):
            before = lost(http)
            send(house)
            eventually("what is gone is lost", lambda before=before: lost(http) > before)
            eventually("all told", lambda: lost(http) + events(counters) == happened(house))
            server = Server(udp(port), counters)
            before = events(counters)
            send(house)
            eventually("what arrives", lambda before=before: events(counters) > before)
            eventually("all arrived", lambda: lost(http) + events(counters) == happened(house))
            server.close()
        assert house.log().count("connection refused; what can't be sent is counted as lost") == 1
        assert "hangs" not in house.log()
        total = happened(house)
        # Nobody is there for the last tick.
        assert house.stop() == 0
        assert events(counters) < total


def test_a_server_that_does_not_read_has_what_is_not_lost(key):
    http = free_port()
    house = house_of(key, http, "unix:{base}/statsd.sock")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(house.base / "statsd.sock"))
    (house.base / "statsd.sock").chmod(0o777)
    with contextlib.closing(made), house:
        # The kernel keeps few datagrams that nobody reads; each tick sends some.
        eventually("the port", lambda: fetch(f"http://127.0.0.1:{http}/metrics"))
        while not lost(http):
            send(house, 10)
        house.wait_for("its socket buffer is full; what can't be sent is counted as lost")
        counters = {}
        server = Server(made, counters)
        eventually("all told", lambda: lost(http) + events(counters) == happened(house))
        send(house)
        eventually("all arrived", lambda: lost(http) + events(counters) == happened(house))
        house.wait_for("takes datagrams again")
        # Its own counters are told again when it could not tell them: in the end the server has their true values.
        key_ = "phoenixdkim.exporter.lost.statsd"
        eventually("the loss itself is told", lambda: counters.get(key_, 0) == lost(http))
        server.close()


MUTE_RESOLVER = """\
import ctypes, fcntl, socket, struct, sys
assert ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0, "a network of its own needs root"
with socket.socket() as control:
    fcntl.ioctl(control, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("bound", flush=True)
while server.recv(4096):
    print("asked", flush=True)
"""


@pytest.fixture
def mute_resolver(tmp_path):
    """A command that executes another in a network whose name server takes questions and never answers."""
    for program in ("nsenter", "unshare"):
        assert shutil.which(program), f"{program} is missing; it is part of util-linux"
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:5 attempts:2\n")
    with subprocess.Popen([sys.executable, "-c", MUTE_RESOLVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline() == "bound\n"
            mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
            unshare = ["unshare", "--mount", "sh", "-c", mount, str(tmp_path / "resolv.conf")]
            yield ["nsenter", f"--net=/proc/{server.pid}/ns/net", *unshare], server.stdout
        finally:
            server.kill()


def test_a_resolver_that_does_not_answer_holds_nothing_up(key, mute_resolver):
    table = f'[exporters.statsd]\naddress = "statsd.example.net:8125"\ninterval = {INTERVAL}\n'
    house = House(key, exporters=table + '[exporters.textfile]\npath = "{metrics}/x.prom"\ninterval = 0.2\n')
    house.wrapper, questions = mute_resolver

    def lost_here():
        for line in (house.metrics / "x.prom").read_text().splitlines():
            if line.startswith('phoenixdkim_exporter_lost_total{exporter="statsd"} '):
                return float(line.split()[-1])
        return 0.0

    with house:
        eventually("the file", (house.metrics / "x.prom").exists)
        assert questions.readline() == "asked\n"
        exporters = {pid for pid, line in house.descendants().items() if "exporters.process" in line}
        for _ in range(3):
            send(house)
            eventually("all lost, and told", lambda: lost_here() == happened(house))
        assert "its name is not resolved yet; what can't be sent is counted as lost" in house.log()
        assert exporters == {pid for pid, line in house.descendants().items() if "exporters.process" in line}
        # A look-up under way does not keep the process from its end.
        assert house.stop() == 0
        assert "hangs" not in house.log()


def cpu_of_workers(house, messages):
    """CPU seconds of the workers for so many messages."""
    tick = os.sysconf("SC_CLK_TCK")

    def used():
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in house.workers()]
        return sum(int(entry[11]) + int(entry[12]) for entry in fields) / tick

    send(house, 50)
    before = used()
    send(house, messages)
    return used() - before


def test_exporters_that_fail_cost_mail_nothing(key):
    port = free_port()
    with contextlib.closing(socket.create_server(("127.0.0.1", port))):
        failing = (
            '[exporters.textfile]\npath = "/nonexistent/x.prom"\ninterval = 0.1\n'
            f'[exporters.http]\nlisten = "127.0.0.1:{port}"\ninterval = 0.1\n'
            f'[exporters.statsd]\naddress = "127.0.0.1:{free_port(socket.SOCK_DGRAM)}"\ninterval = 0.1\n'
        )
        with House(key) as plain, House(key, exporters=failing) as house:
            house.wait_for("can't be listened on")
            house.wait_for("can't be written")
            # In turns, and the least of three: CPU time grows with what else the machine does.
            pairs = [(cpu_of_workers(plain, 300), cpu_of_workers(house, 300)) for _ in range(3)]
            without, beside = (min(column) for column in zip(*pairs, strict=True))
            assert beside < without * 1.5, pairs


@pytest.mark.parametrize("prefix", ["a:b", "a|c", "a\\nb", "a@0.1", "a#b", "a,b=c", "a;b=c", "a b", "a.", "a\\u0000"])
def test_a_prefix_that_could_forge_a_line_is_refused_by_check(tmp_path, capsys, prefix):
    file = tmp_path / "phoenixdkim.toml"
    file.write_text(f'[exporters.statsd]\naddress = "127.0.0.1:8125"\nprefix = "{prefix}"\n')
    assert main(["check", "-c", str(file)]) == 78
    (line,) = [text for text in capsys.readouterr().err.splitlines() if ".prefix: " in text]
    assert line.startswith(f"{file}:3: exporters.statsd.prefix: ")
    assert "a prefix has letters, digits, '_', '-' and inner dots" in line


FRAMES = """\
import ctypes, fcntl, socket, struct, sys
assert ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0, "a network of its own needs root"
from phoenixdkim.events import event_types
from phoenixdkim.testing.exporter import FakeContext
from phoenixdkim_statsd.statsd import StatsdExporter, StatsdOptions
with socket.socket() as control:
    fcntl.ioctl(control, 0x8922, struct.pack("16si", b"lo", 1500))  # SIOCSIFMTU
    fcntl.ioctl(control, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running
def fragments(host):
    if host == "::1":
        return int(dict(l.split() for l in open("/proc/net/snmp6"))["Ip6FragCreates"])
    names, values = (l.split() for l in open("/proc/net/snmp") if l.startswith("Ip:"))
    return int(dict(zip(names, values))["FragCreates"])
for family, host, shown in ((socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "[::1]")):
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    server.bind((host, 0))
    server.setblocking(False)
    for size in (None, 8932):
        options = {} if size is None else {"packet_size": size}
        exporter = StatsdExporter()
        address = f"{shown}:{server.getsockname()[1]}"
        context = FakeContext(StatsdOptions(address=address, **options), declared=exporter.phoenixdkim_metrics())
        exporter.phoenixdkim_start(context)
        for kind in event_types():
            for event in kind.combinations():
                context.happened(event, 99, [0.001234567] * 99 if event.measure else [])
        before = fragments(host)
        context.deliver(exporter)
        sizes = []
        while True:
            try:
                sizes.append(len(server.recv(65536)))
            except BlockingIOError:
                break
        print(host, size or "default", len(sizes), max(sizes), fragments(host) - before, context.lost_events)
"""


def test_datagrams_fit_into_a_frame():
    done = subprocess.run([sys.executable, "-c", FRAMES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows] == [[h, s] for h in ("127.0.0.1", "::1") for s in ("default", "8932")]
    for _, size, packets, largest, fragments, lost_events in rows:
        limit = 1432 if size == "default" else 8932
        assert limit - 200 < int(largest) <= limit, "packets are filled, and never beyond the option"
        assert int(packets) >= 1
        # That frames of 8,932 octets are cut shows that the count of fragments tells.
        assert (int(fragments) > 0) == (size != "default")
        assert int(lost_events) == 0
