"""The end of a message: the look-ups that its session needs, and the one that it may need then.

A session does no I/O. It says which key records it needs, and, when it has judged, which of them did not verify a
signature that nothing else is wrong with. Such a key may have been replaced while we kept it, so it is asked for once
more, if it has been kept for a while, and the session judges again.
"""

from __future__ import annotations

from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome
from phoenixdkim.dns.resolver import Record, Resolver
from phoenixdkim.events import CacheResult, DnsCacheLookup
from phoenixdkim.milter.outcome import Outcome
from phoenixdkim.milter.session import MessageSession


def conclude(session: MessageSession, resolver: Resolver, record: Record) -> Outcome:
    """Finish a session, whose headers have ended, with the keys that it asks for.

    All look-ups together end within the resolver's ``message_timeout``.

    Args:
        record: takes the events of the look-ups.
    """
    names = session.key_names
    if not names:
        return session.end_of_message({})
    deadline = resolver.deadline()
    answers = _kept(names, resolver, record) or resolver.look_up(names, record, deadline)
    outcome = session.end_of_message(answers)
    if session.doubtful and (fresh := resolver.recheck(session.doubtful, record, deadline)):
        outcome = session.end_of_message({**answers, **fresh})
    return outcome


def _kept(names: tuple[bytes, ...], resolver: Resolver, record: Record) -> dict[bytes, KeyAnswer] | None:
    """The answers when all are kept: the usual case, and the short way."""
    answers: dict[bytes, KeyAnswer] = {}
    for name in names:
        answer = resolver.cached(name)
        if answer is None:
            return None
        answers[name] = answer
    for answer in answers.values():
        found = answer.outcome is KeyOutcome.FOUND
        record(DnsCacheLookup(CacheResult.HIT if found else CacheResult.NEGATIVE_HIT), None)
    return answers
