"""One question on the wire: what is forged, interrupted or mangled (N3, R10)."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from asking import KEY, LATE, NAME, TEXT, one, record
from phoenixdkim.dkim.keys import KeyOutcome
from phoenixdkim.dns.answers import ChainError, is_bogus, is_referral, read_answer
from phoenixdkim.dns.exchange import MAX_STRAYS, AnswerTooLargeError, ExchangeError, _parse, ask
from phoenixdkim.dns.options import Nameserver
from phoenixdkim.testing.dns_server import Behaviour, Fault, txt

QUESTION = dns.name.from_text(TEXT)


def wrong(fault: Fault, seconds: float = 0.05) -> Behaviour:
    return Behaviour(records=(txt(KEY),), fault=fault, right_answer_after=seconds)


@pytest.mark.parametrize(
    "fault",
    [Fault.WRONG_ID, Fault.WRONG_QUESTION, Fault.NO_QUESTION, Fault.WRONG_SOURCE, Fault.NOT_A_RESPONSE, Fault.SHORT],
)
def test_n3_what_may_be_forged_is_passed_over_and_the_right_answer_taken(server, make, fault):
    server.set(TEXT, wrong(fault))
    answer, _ = one(make(server.address, query_timeout=30, message_timeout=60))
    assert answer.outcome is KeyOutcome.FOUND
    assert len(server.questions()) == 1


def test_n3_no_forged_record_is_ever_believed_or_kept(server, make):
    """All of it at once: other ids, questions and sources bring another key, for this name and for others."""
    forged = record()

    def lies(query: dns.message.Message) -> list[bytes]:
        made = dns.message.make_response(query)
        made.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "TXT", f'"{forged.decode()}"'))
        made.id = query.id ^ 1
        other = dns.message.make_response(query)
        other.question = [dns.rrset.RRset(dns.name.from_text("victim.example."), 1, dns.rdatatype.TXT)]
        other.answer = list(made.answer)
        return [made.to_wire(), other.to_wire()]

    def answer(query: dns.message.Message) -> bytes:
        # The question's own answer has another name's records besides.
        made = dns.message.make_response(query)
        made.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "TXT", f'"{KEY.decode()}"'))
        made.answer.append(dns.rrset.from_text("victim.example.", 300, "IN", "TXT", f'"{forged.decode()}"'))
        made.additional.append(dns.rrset.from_text("victim.example.", 300, "IN", "TXT", f'"{forged.decode()}"'))
        return made.to_wire()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as liar:
        liar.bind(("127.0.0.1", 0))

        def serve() -> None:
            wire, client = liar.recvfrom(65535)
            query = dns.message.from_wire(wire)
            for lie in lies(query) * 3:
                liar.sendto(lie, client)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                made = dns.message.make_response(query)
                text = f'"{forged.decode()}"'
                made.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "TXT", text))
                stranger.sendto(made.to_wire(), client)
            liar.sendto(answer(query), client)

        thread = threading.Thread(target=serve)
        thread.start()
        resolver = make(f"127.0.0.1:{liar.getsockname()[1]}", query_timeout=30, message_timeout=60)
        found, _ = one(resolver)
        thread.join()
    right, _ = key_of(server, make)
    assert found.keys == right.keys
    assert resolver.cached(NAME) == found
    assert resolver.cached(b"victim.example") is None


def key_of(server, make):
    """What an honest server has."""
    server.set_txt(TEXT, KEY)
    return one(make(server.address, query_timeout=30, message_timeout=60))


def test_n3_guesses_at_one_port_come_to_an_end(server):
    """Who knows the port must not have the time to try each id on it: the next attempt has another port."""
    sent = 0

    def guess(query: dns.message.Message) -> bytes:
        made = dns.message.make_response(query)
        made.id = query.id ^ 1
        return made.to_wire()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as guesser:
        guesser.bind(("127.0.0.1", 0))

        def serve() -> None:
            nonlocal sent
            wire, client = guesser.recvfrom(65535)
            lie = guess(dns.message.from_wire(wire))
            for _ in range(MAX_STRAYS):
                guesser.sendto(lie, client)
                sent += 1

        thread = threading.Thread(target=serve)
        thread.start()
        until = time.monotonic() + 60
        nameserver = Nameserver("127.0.0.1", guesser.getsockname()[1])
        with pytest.raises(ExchangeError, match="too many packets"):
            ask(nameserver, QUESTION, dns.rdatatype.TXT, until, time.monotonic)
        thread.join()
    assert sent == MAX_STRAYS


def test_each_attempt_has_a_port_and_an_id_of_its_own(server, make):
    server.set_default(Behaviour(rcode=dns.rcode.SERVFAIL))
    resolver = make(server.address, query_timeout=30, message_timeout=60)
    for number in range(20):
        one(resolver, b"s%d.example.com" % number)
    asked = server.questions()
    assert len(asked) == 40
    assert len({question.source_port for question in asked}) > 30
    assert len({question.id for question in asked}) > 35


def test_r10_signals_neither_end_nor_lengthen_a_wait(server, make):
    """Handlers run in the middle of each wait, over UDP and TCP; the answer comes, or the deadline does."""
    ran = 0

    def handler(_number, _frame) -> None:
        nonlocal ran
        ran += 1

    server.set(TEXT, Behaviour(records=(txt(KEY),), delay=0.3, truncate=True))
    server.set("gone.example.com", Behaviour(fault=Fault.DROP))
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        answer, events = one(make(server.address, query_timeout=30, message_timeout=60))
        gone, late = one(make(server.address), b"gone.example.com")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ran > 50
    assert answer.outcome is KeyOutcome.FOUND
    assert events.seconds[0] >= 0.6
    assert gone.outcome is KeyOutcome.UNAVAILABLE
    assert 0.9 <= late.seconds[0] < 1.2 + LATE


def test_r10_signals_to_the_threads_that_wait(server, make):
    names = [b"s%d.example.com" % number for number in range(6)]
    gate = threading.Event()
    server.set_default(Behaviour(records=(txt(KEY),), gate=gate))
    resolver = make(server.address, query_timeout=30, message_timeout=60)
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    answers = {}
    asking = threading.Thread(target=lambda: answers.update(resolver.look_up(names, lambda *_: None)))
    try:
        asking.start()
        server.wait_for_questions(len(names))
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("dns_")]
        assert len(threads) == len(names) - 1
        for _ in range(50):
            for thread in threads:
                signal.pthread_kill(thread.ident, signal.SIGUSR1)
        gate.set()
        asking.join(60)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert {answer.outcome for answer in answers.values()} == {KeyOutcome.FOUND}
    assert len(answers) == len(server.questions()) == len(names)


def _seeds() -> list[bytes]:
    query = dns.message.make_query(QUESTION, dns.rdatatype.TXT, use_edns=0)
    query.id = 4711
    full = dns.message.make_response(query)
    full.answer = [
        dns.rrset.from_text(QUESTION, 300, "IN", "CNAME", "a.example.net."),
        dns.rrset.from_text("example.org.", 300, "IN", "DNAME", "x.example.org."),
        dns.rrset.from_text("a.example.net.", 300, "IN", "TXT", f'"{KEY.decode()}"', '"b" ""'),
    ]
    full.authority = [dns.rrset.from_text("example.net.", 300, "IN", "SOA", "a. b. 1 2 3 4 5")]
    full.additional = [
        dns.rrset.from_text("x.example.net.", 300, "IN", "LOC", "51 30 12 N 0 7 39 W 0m"),
        dns.rrset.from_text("y.example.net.", 300, "IN", "SVCB", '1 . alpn="h2"'),
    ]
    full.use_edns(0, options=[dns.edns.EDEOption(6, "text"), dns.edns.GenericOption(10, b"12345678")])
    loop = dns.message.make_response(query)
    loop.answer = [dns.rrset.from_text(QUESTION, 300, "IN", "CNAME", TEXT + ".")]
    return [full.to_wire(), loop.to_wire(), dns.message.make_response(query).to_wire()]


def test_n3_mangled_answers_are_refused_and_nothing_else():
    """Whatever the octets, an answer is read or refused by the one exception for it."""
    seeds = _seeds()
    chance = random.Random(7)
    refused = loops = 0
    for _ in range(20_000):
        wire = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(2, len(wire))
            match chance.randrange(4):
                case 0:
                    wire[at] = chance.randrange(256)
                case 1:
                    del wire[at]
                case 2:
                    wire.insert(at, chance.randrange(256))
                case 3:
                    wire[at:] = wire[at : chance.randint(at, len(wire))] + bytes(chance.choice([0, 1, 30]))
            if len(wire) < 13:
                wire += bytes(20)
        try:
            message = _parse(bytes(wire), question_only=False)
        except ExchangeError:
            refused += 1
            continue
        is_bogus(message), is_referral(message)
        try:
            records = read_answer(message, QUESTION)
        except ChainError:
            loops += 1
            continue
        assert all(isinstance(text, bytes) for text in records.texts)
        assert records.ttl is None or 0 <= records.ttl < 2**31
    assert 1000 < refused < 19_000
    assert loops


def test_an_answer_that_is_too_large_tells_whether_it_was_vouched_for(server):
    server.set(TEXT, Behaviour(records=tuple((b"%d" % n,) for n in range(200)), authentic=True))
    nameserver = Nameserver("127.0.0.1", server.port)
    with pytest.raises(AnswerTooLargeError) as caught:
        ask(nameserver, QUESTION, dns.rdatatype.TXT, time.monotonic() + 60, time.monotonic)
    assert caught.value.authentic
