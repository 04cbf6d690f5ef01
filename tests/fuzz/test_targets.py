"""The targets themselves: seeds run as they should, and each oracle sees what it is there to see."""

from __future__ import annotations

import importlib
import itertools
import random
import re
from collections.abc import Iterable
from types import SimpleNamespace

import pytest

from fuzz.plain import mutate
from fuzz.run import TARGETS
from fuzz.target import Target
from fuzz.targets.verifying import SEPARATOR, signed_messages, written
from phoenixdkim.dkim.results import Reason

MANY = 6000


def target(name: str) -> Target:
    return importlib.import_module(f"fuzz.targets.{name}").TARGET  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_run_as_they_should(name: str) -> None:
    seeds = list(target(name).seeds())
    assert len(seeds) >= 3
    for data in seeds:
        assert len(data) <= target(name).max_octets
        target(name).execute(data)


def test_the_signed_seeds_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """An oracle for what passes is worth nothing where nothing does."""
    passed = []
    monkeypatch.setattr("fuzz.targets.verifying._check_pass", lambda *_: passed.append(1))
    for message in signed_messages():
        target("verifying").execute(b"\1\7" + SEPARATOR + written(message))
    assert len(passed) == len(signed_messages())


def _once(data: bytes) -> bytes:
    return data.replace(b"  ", b" ")


_turns = itertools.count()


def _other_way_each_time(records: Iterable[bytes]) -> list[bytes]:
    """What order by arrival may come to, without the luck of a set's own order."""
    return sorted(records, reverse=next(_turns) % 2 == 1)


BROKEN = [
    ("tags", "dkim.tags._NAME", frozenset(range(33, 127)) - {ord("=")}),
    ("signatures", "dkim.signature._a_labels", lambda name, _eai: name.lower()),
    ("signatures", "dkim.signature._signed_fields", lambda value, _limits: (value,)),
    ("keys", "dkim.keys._small_order", lambda _: False),
    ("keys", "dkim.keys.sorted", _other_way_each_time),
    ("authres_parse", "authres._SPACE", re.compile(rb"[ ]+")),
    ("authres_forged", "authres._folded_id", lambda name: name),
    ("authres_build", "authres._clean", lambda value: value),
    ("addresses", "dkim.addresses._bracketed", lambda tokens: []),
    ("addresses", "dkim.addresses._NOTHING", (b"atom", b"x")),
    ("canonical", "dkim.canonical._squeeze", _once),
    ("canonical", "dkim.sign._LineCheck._measure", lambda *_: None),
    ("verifying", "dkim.verify.hmac", SimpleNamespace(compare_digest=lambda *_: True)),
    ("verifying", "dkim.verify.Verifier._try_key", lambda *_: Reason.VERIFIED),
    ("verifying", "authres.forged", lambda *_: False),
    ("signing", "dkim.canonical.relaxed_value", lambda value: value),
    ("signing", "dkim.sign._LineCheck.update", lambda *_: None),
    ("dns_answers", "dns.exchange._is_response", lambda *_: True),
    ("dns_answers", "dns.question.ChainError", KeyError),
    ("zone", "dns.zone.ZoneError", KeyError),
    ("config", "config.load.ValidationError", KeyError),
]


@pytest.mark.parametrize(("name", "place", "instead"), BROKEN, ids=[f"{b[0]}-{b[1]}" for b in BROKEN])
def test_what_is_broken_is_noticed(name: str, place: str, instead: object, monkeypatch: pytest.MonkeyPatch) -> None:
    tested = target(name)
    seeds = list(tested.seeds())
    chance = random.Random(7)
    monkeypatch.setattr(f"phoenixdkim.{place}", instead, raising=place != "dkim.keys.sorted")
    with pytest.raises(Exception):  # noqa: B017 - whatever it is, no engine lets it pass
        for _ in range(MANY):
            tested.execute(mutate(chance, seeds, tested.words)[: tested.max_octets])
