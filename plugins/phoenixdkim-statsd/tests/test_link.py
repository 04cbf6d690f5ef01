"""The way to the server: names, refusals, and sockets that stay (X10)."""

import socket
import threading
import time

import pytest

from phoenixdkim_statsd.link import PATIENCE, Link


@pytest.fixture
def servers():
    made = []
    for host in ("127.0.0.1", "127.0.0.2"):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.append(server)
        server.settimeout(5)
        server.bind((host, made[0].getsockname()[1] if len(made) > 1 else 0))
    yield made
    for server in made:
        server.close()


@pytest.fixture
def resolver(monkeypatch):
    """Answers from ``resolver.hosts``, once ``resolver.gate`` is open."""

    class Resolver:
        hosts = ("127.0.0.1",)
        asked = 0
        gate = threading.Event()

        def __call__(self, _host, port, **_more):
            Resolver.asked += 1
            assert self.gate.wait(10)
            if not self.hosts:
                raise socket.gaierror(-2, "Name or service not known")
            return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (host, port)) for host in self.hosts]

    Resolver.gate.clear()
    Resolver.asked = 0
    made = Resolver()
    made.gate.set()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    return made


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def look_up(link):
    link.resolve(wait=10)


def test_an_address_is_never_looked_up(servers, resolver):
    link = Link(f"127.0.0.1:{servers[0].getsockname()[1]}", 1)
    look_up(link)
    assert link.send(b"x") == ""
    assert servers[0].recv(9) == b"x"
    assert resolver.asked == 0
    link.close()


def test_a_name_is_looked_up_again_in_time_and_the_socket_stays(servers, resolver):
    clock = Clock()
    link = Link(f"statsd.example:{servers[0].getsockname()[1]}", 300, clock)
    look_up(link)
    senders = set()

    def send_to(server):
        assert link.send(b"x") == ""
        senders.add(server.recvfrom(9)[1])

    send_to(servers[0])
    clock.now = 299
    look_up(link)
    assert resolver.asked == 1
    # The same two addresses in another order are no change; nor is a resolver that fails.
    for now, hosts in ((300, ("127.0.0.2", "127.0.0.1")), (700, ()), (1100, ("127.0.0.1",))):
        clock.now, resolver.hosts = now, hosts
        look_up(link)
        send_to(servers[0])
    assert resolver.asked == 4
    assert len(senders) == 1, "one socket for all of it"
    clock.now, resolver.hosts = 1500, ("127.0.0.2",)
    look_up(link)
    send_to(servers[1])
    link.close()


def test_a_resolver_that_hangs_holds_nothing_up_and_is_asked_once(servers, resolver):
    resolver.gate.clear()
    clock = Clock()
    link = Link(f"statsd.example:{servers[0].getsockname()[1]}", 1, clock)
    for _ in range(50):
        clock.now += 1
        link.resolve()
        assert link.send(b"x") == "its name is not resolved yet"
    assert resolver.asked == 1
    resolver.gate.set()
    for thread in threading.enumerate():
        if thread.name == "resolve":
            thread.join(10)
    assert link.send(b"x") == ""
    link.close()


def test_a_name_that_does_not_exist_is_tried_again_sooner(servers, resolver):
    clock = Clock()
    resolver.hosts = ()
    link = Link(f"statsd.example:{servers[0].getsockname()[1]}", 300, clock)
    look_up(link)
    assert link.send(b"x") == "its name can't be resolved: Name or service not known"
    clock.now, resolver.hosts = 5.0, ("127.0.0.1",)
    look_up(link)
    assert link.send(b"x") == ""
    link.close()


def test_each_refused_packet_is_told_of_once(servers):
    port = servers[0].getsockname()[1]
    link = Link(f"127.0.0.1:{port}", 1)
    assert link.send(b"x") == ""
    servers[0].close()
    told = sum((link.send(b"x") == "connection refused") + link.refused() for _ in range(10))
    assert told + link.refused() == 10
    link.close()


@pytest.fixture
def local(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.settimeout(5)
        server.bind(str(tmp_path / "s"))
        link = Link(f"unix:{tmp_path}/s", 1)
        yield server, link
        link.close()


def fill(link):
    """Send until no more is taken; returns how many were, and how long it took."""
    begun = time.monotonic()
    sent = 0
    while not link.send(b"x"):
        sent += 1
    return sent, time.monotonic() - begun


def test_a_server_that_is_a_moment_late_is_waited_for(local, monkeypatch):
    server, link = local
    sent, _ = fill(link)
    packets = 3 * sent
    taken = []
    server.setblocking(False)
    for _ in range(sent):
        server.recv(9)
    link.send(b"x")
    # However late the thread below is on a busy machine.
    monkeypatch.setattr("phoenixdkim_statsd.link.PATIENCE", 30.0)
    link.ticked()

    def read():
        # As many at a time as the buffer holds, so that it is full once and again.
        server.settimeout(5)
        while len(taken) <= packets:
            if len(taken) % sent == 0:
                time.sleep(0.01)
            taken.append(server.recv(9))

    reader = threading.Thread(target=read)
    reader.start()
    assert {link.send(b"%d" % number) for number in range(packets)} == {""}
    reader.join()
    assert taken == [b"x", *(b"%d" % number for number in range(packets))]


def test_a_server_that_takes_nothing_is_waited_for_once(local, monkeypatch):
    _, link = local
    sent, took = fill(link)
    assert sent > 0
    assert took > PATIENCE * 0.9
    # Waiting again would take longer than a busy machine does.
    monkeypatch.setattr("phoenixdkim_statsd.link.PATIENCE", 30.0)
    for _ in range(3):
        link.ticked()
        begun = time.monotonic()
        assert link.send(b"x") == "its socket buffer is full"
        assert time.monotonic() - begun < 30.0
