"""Events: a class whose fields are no closed enums can't be defined, and nothing else can be recorded."""

from __future__ import annotations

import dataclasses
from enum import Enum, Flag, StrEnum
from typing import Annotated, Any, ClassVar

import pytest

from phoenixdkim import events
from phoenixdkim.dkim.results import Algorithm, Result, SignResult
from phoenixdkim.events import (
    Action,
    DnsQuery,
    DnsResult,
    Event,
    LabelError,
    MessageProcessed,
    MessageSigned,
    MessageVerified,
    event,
    event_types,
)
from phoenixdkim.ledger import LAYOUT, Batch

Large = Enum("Large", {f"M{n}": f"v{n}" for n in range(500)})
Twenty = Enum("Twenty", {f"M{n}": f"v{n}" for n in range(20)})


class Bits(Flag):
    A = 1


class OnDemand(StrEnum):
    A = "a"

    @classmethod
    def _missing_(cls, value):
        return None


FIELDS = {
    "text": ({"domain": str}, "domain' is of type str"),
    "number": ({"size": int}, "size' is of type int"),
    "octets": ({"selector": bytes}, "selector' is of type bytes"),
    "anything": ({"x": Any}, "a label must be an Enum"),
    "optional": ({"x": Result | None}, "a label must be an Enum"),
    "annotated": ({"x": Annotated[Result, "really"]}, "a label must be an Enum"),
    "class variable": ({"x": ClassVar[Result]}, "a label must be an Enum"),
    "keywords": ({"_": dataclasses.KW_ONLY, "x": Result}, "a label must be an Enum"),
    "initial": ({"x": dataclasses.InitVar[str]}, "a label must be an Enum"),
    "a measure that is text": ({"measure": str}, "measure' is of type str"),
    "500 members": ({"x": Large}, "500 members; 64 is the most"),
    "too many together": ({"a": Twenty, "b": Twenty}, "400 label combinations; 200 is the most"),
    "flag": ({"x": Bits}, "Bits is a Flag"),
    "on demand": ({"x": OnDemand}, "has a _missing_ method"),
    "a good one among others": ({"result": Result, "domain": str}, "domain' is of type str"),
}


@pytest.fixture
def registry_open(monkeypatch):
    monkeypatch.setattr(events, "_closed", False)
    before = dict(events._LABELS)
    yield
    events._LABELS.clear()
    events._LABELS.update(before)


def make(fields, base=Event):
    return type(base)("Mine", (base,), {"__annotations__": fields, "__module__": __name__})


@pytest.mark.parametrize(("fields", "message"), FIELDS.values(), ids=FIELDS)
def test_fields_that_are_no_closed_enums(registry_open, fields, message):
    with pytest.raises(LabelError, match=r"^Mine: ") as caught:
        event()(make(fields))
    assert message in str(caught.value)


def test_a_good_class_can_be_defined_while_the_registry_is_open(registry_open):
    made = event()(make({"result": Result}))
    assert len(made.combinations()) == len(Result)


def test_labels_are_not_inherited(registry_open):
    with pytest.raises(LabelError, match="it inherits none"):
        event()(make({"result": Result}, MessageProcessed))


def test_the_registry_is_closed():
    before = event_types()
    with pytest.raises(LabelError, match="Mine: events belong to the core; a plugin can't define one"):
        event()(make({"result": Result}))
    assert event_types() == before


def test_who_opens_the_registry_gains_nothing(registry_open):
    """What can be recorded was laid out when the ledger was imported, before any plugin."""
    made = event()(make({"result": Result}))
    assert all(one not in LAYOUT.slot_of for one in made.combinations())
    with pytest.raises(TypeError, match="is no registered event"):
        Batch().add(made(Result.PASS))


class Undecorated(Event):
    def __init__(self, domain):
        object.__setattr__(self, "domain", domain)


class Lookalike(StrEnum):
    PASS = "pass"


@pytest.mark.parametrize(
    "wrong",
    [
        MessageVerified("pass"),
        MessageVerified(Lookalike.PASS),
        MessageVerified("example.com"),
        MessageVerified(None),
        MessageProcessed(SignResult.ERROR),
        MessageSigned(DnsResult.ERROR, Algorithm.OTHER),
        MessageSigned(SignResult.OK, "rsa-sha256"),
        Undecorated("example.com"),
        "MessageVerified",
        MessageVerified,
    ],
)
def test_only_registered_events_with_members_of_their_enums_are_recorded(wrong):
    batch = Batch()
    with pytest.raises(TypeError, match="is no registered event with members of its enums"):
        batch.add(wrong, 0.1 if isinstance(wrong, MessageProcessed) else None)
    assert batch.slots == []


def test_events_are_equal_when_their_members_are_the_same():
    assert MessageVerified(Result.PASS) == MessageVerified(Result.PASS)
    assert hash(MessageVerified(Result.PASS)) == hash(MessageVerified(Result.PASS))
    assert MessageVerified(Result.PASS) != MessageVerified(Result.FAIL)
    assert MessageVerified(Result.PASS) != MessageVerified("pass")
    assert DnsQuery() == DnsQuery()
    assert DnsQuery() != 3
    assert len(LAYOUT.slot_of) == len(LAYOUT.events) == sum(len(kind.combinations()) for kind in event_types())


def test_events_can_not_be_changed():
    made = MessageProcessed(Action.SIGN)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.action = Action.PASS
    with pytest.raises((AttributeError, TypeError)):
        made.domain = "example.com"
