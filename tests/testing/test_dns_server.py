"""The scripted DNS server does what it is told, asked by dnspython's own client."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from phoenixdkim.testing.dns_server import Behaviour, Fault, ScriptedDnsServer, Tcp, txt

NAME = "s._domainkey.example.com"
FOUND = Behaviour((txt(b"v=DKIM1; p="),))


@pytest.fixture
def server():
    with ScriptedDnsServer() as running:
        running.set(NAME, FOUND)
        yield running


def query(name=NAME, **options) -> dns.message.Message:
    return dns.message.make_query(name, "TXT", use_edns=0, payload=1232, **options)


def udp(server, asked=None, timeout=30.0, **options) -> dns.message.Message:
    return dns.query.udp(asked or query(), server.host, timeout, server.port, **options)


def tcp(server, timeout=30.0) -> dns.message.Message:
    return dns.query.tcp(query(), server.host, timeout, server.port)


def strings(answer: dns.message.Message) -> list[tuple[bytes, ...]]:
    return [rdata.strings for rrset in answer.answer if rrset.rdtype == dns.rdatatype.TXT for rdata in rrset]


@pytest.mark.parametrize("ask", [udp, tcp])
def test_answers_as_told_over_udp_and_tcp(server, ask):
    assert strings(ask(server)) == [(b"v=DKIM1; p=",)]
    server.set(NAME.upper() + ".", Behaviour((txt(b"x" * 300), (b"a", b"", b"b")), ttl=7, authentic=True))
    answer = ask(server)
    assert sorted(strings(answer)) == [(b"a", b"", b"b"), (b"x" * 255, b"x" * 45)]
    assert answer.answer[0].ttl == 7
    assert answer.flags & dns.flags.AD
    server.remove(NAME)
    assert ask(server).rcode() == dns.rcode.NXDOMAIN
    assert [question.transport for question in server.questions(NAME)] == [ask.__name__] * 3


def test_what_was_asked_is_noted(server):
    udp(server)
    udp(server, query(".", flags=dns.flags.RD | dns.flags.AD | dns.flags.CD))
    first, second = server.questions()
    assert (first.name, first.kind, first.transport, first.edns) == (NAME, "TXT", "udp", 1232)
    assert (first.authentic_wanted, first.checking_disabled) == (False, False)
    assert (second.name, second.authentic_wanted, second.checking_disabled) == ("", True, True)
    assert server.questions("") == [second]


def test_aliases_whole_or_by_steps(server):
    server.set("a.example", Behaviour(cname=NAME))
    assert strings(udp(server, query("a.example"))) == [(b"v=DKIM1; p=",)]
    server.set("a.example", Behaviour(cname=NAME, whole_chain=False))
    answer = udp(server, query("a.example"))
    assert (len(answer.answer), strings(answer)) == (1, [])
    server.set("loop.example", Behaviour(cname="loop.example"))
    assert udp(server, query("loop.example")).answer


def test_failures_come_first(server):
    server.set(NAME, Behaviour(FOUND.records, failures=2))
    assert [udp(server).rcode() for _ in range(3)] == [dns.rcode.SERVFAIL, dns.rcode.SERVFAIL, dns.rcode.NOERROR]


def test_without_validation_it_may_answer_otherwise(server):
    server.set(NAME, Behaviour(rcode=dns.rcode.SERVFAIL, extended_error=6, unvalidated=FOUND))
    answer = udp(server)
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert [int(option.code) for option in answer.options] == [6]
    assert strings(udp(server, query(flags=dns.flags.RD | dns.flags.CD)))


def test_answers_wait_for_their_gate(server):
    gate = threading.Event()
    server.set_default(Behaviour(FOUND.records, gate=gate))
    answers = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(udp(server, query(f"s{n}.example")))) for n in range(5)
    ]
    for thread in threads:
        thread.start()
    assert len(server.wait_for_questions(5)) == 5
    assert answers == []
    gate.set()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 5
    with pytest.raises(TimeoutError, match="5 questions in"):
        server.wait_for_questions(6, timeout=0.1)


def test_delay(server):
    server.set(NAME, Behaviour(FOUND.records, delay=0.2))
    started = time.monotonic()
    udp(server)
    assert time.monotonic() - started >= 0.2


def test_an_answer_made_by_hand(server):
    server.set(NAME, Behaviour(wire=lambda asked: dns.message.make_response(asked).to_wire()))
    assert udp(server).answer == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.WRONG_ID, dns.query.BadResponse),
        (Fault.WRONG_QUESTION, dns.query.BadResponse),
        (Fault.NOT_A_RESPONSE, dns.query.BadResponse),
        (Fault.WRONG_SOURCE, dns.query.UnexpectedSource),
        (Fault.COMPRESSION_LOOP, dns.exception.DNSException),
        (Fault.SHORT, dns.exception.DNSException),
        (Fault.GARBAGE, dns.exception.DNSException),
        (Fault.DROP, dns.exception.Timeout),
    ],
)
def test_faults_are_what_they_say(server, fault, error):
    server.set(NAME, Behaviour(FOUND.records, fault=fault))
    with pytest.raises(error):
        udp(server, timeout=0.3 if fault is Fault.DROP else 30.0)


def test_faults_that_leave_a_whole_message(server):
    server.set(NAME, Behaviour(FOUND.records, fault=Fault.WRONG_TYPE))
    assert strings(udp(server)) == []
    server.set(NAME, Behaviour(fault=Fault.REFERRAL))
    answer = udp(server)
    assert (answer.answer, answer.authority[0].rdtype) == ([], dns.rdatatype.NS)
    assert not answer.flags & dns.flags.RA
    server.set(NAME, Behaviour(FOUND.records, fault=Fault.NO_QUESTION))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(30)
        client.sendto(query().to_wire(), (server.host, server.port))
        assert dns.message.from_wire(client.recv(4096)).question == []


def test_the_right_answer_may_follow(server):
    server.set(NAME, Behaviour(FOUND.records, fault=Fault.WRONG_ID, right_answer_after=0.0))
    assert strings(udp(server, ignore_errors=True)) == [(b"v=DKIM1; p=",)]
    server.set(NAME, Behaviour(FOUND.records, fault=Fault.WRONG_ID, right_answer_after=0.0, right_answer=Behaviour()))
    assert strings(udp(server, ignore_errors=True)) == []


def test_truncated_answers_have_no_records(server):
    server.set(NAME, Behaviour(FOUND.records, truncate=True))
    answer = udp(server)
    assert answer.flags & dns.flags.TC
    assert strings(answer) == []
    assert strings(tcp(server)) == [(b"v=DKIM1; p=",)]


def _conversation(server: ScriptedDnsServer) -> tuple[int | None, int, bool]:
    """Announced length, octets that came after it, and whether the server ended the connection."""
    with socket.create_connection((server.host, server.port), 30) as client:
        wire = query().to_wire()
        client.sendall(len(wire).to_bytes(2, "big") + wire)
        data = b""
        client.settimeout(0.5)
        try:
            while chunk := client.recv(65535):
                data += chunk
        except TimeoutError:
            return (int.from_bytes(data[:2], "big") if data else None), max(len(data) - 2, 0), False
        return (int.from_bytes(data[:2], "big") if data else None), max(len(data) - 2, 0), True


@pytest.mark.parametrize("how", list(Tcp))
def test_tcp_as_told(server, how):
    server.set(NAME, Behaviour(FOUND.records, tcp=how))
    announced, came, ended = _conversation(server)
    size = len(tcp_wire())
    assert (announced, came, ended) == {
        Tcp.ANSWER: (size, size, True),
        Tcp.CLOSE: (None, 0, True),
        Tcp.SILENT: (None, 0, False),
        Tcp.CUT: (size, size // 2, True),
        Tcp.HANG: (size, size // 2, False),
        Tcp.LONG_LENGTH: (size * 2, size, False),
        Tcp.LONG_LENGTH_CLOSED: (size * 2, size, True),
        Tcp.SHORT_LENGTH: (size // 2, size, True),
        Tcp.NO_LENGTH: (0, size, True),
    }[how]


def tcp_wire() -> bytes:
    """What an honest server says."""
    with ScriptedDnsServer() as honest:
        honest.set(NAME, FOUND)
        return tcp(honest).to_wire()


def test_tcp_may_be_refused_and_the_port_is_taken_nevertheless():
    with ScriptedDnsServer(tcp=False) as server:
        server.set(NAME, FOUND)
        assert strings(udp(server))
        with pytest.raises(ConnectionRefusedError):
            tcp(server)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((server.host, server.port))


def test_ipv6():
    with ScriptedDnsServer("::1") as server:
        server.set(NAME, FOUND)
        assert server.address == f"[::1]:{server.port}"
        assert strings(udp(server)) == strings(tcp(server)) == [(b"v=DKIM1; p=",)]


def test_it_ends_whole_and_can_be_started_anew_on_its_port():
    # The client's own socket may hang on its exception until it is collected.
    gc.collect()
    threads, before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    gate = threading.Event()
    with ScriptedDnsServer() as first:
        first.set(NAME, Behaviour(FOUND.records, gate=gate, tcp=Tcp.HANG))
        asking = threading.Thread(target=_ignore, args=(first,))
        asking.start()
        first.wait_for_questions(1)
    asking.join(30)
    gc.collect()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, before)
    with ScriptedDnsServer(port=first.port) as second:
        second.set(NAME, FOUND)
        assert strings(udp(second)) == strings(tcp(second)) == [(b"v=DKIM1; p=",)]
        with pytest.raises(OSError, match="in use"):
            ScriptedDnsServer(port=first.port)


def _ignore(server: ScriptedDnsServer) -> None:
    with pytest.raises((EOFError, OSError, dns.exception.DNSException)):
        tcp(server)
