"""Messages on the control socket: what ``phoenixdkim reload`` and ``check`` ask the running daemon."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Final

from phoenixdkim.config.summary import Summary
from phoenixdkim.messages import Codec, Items, Message, Range, Text

_PROTOCOL: Final = 1
MAX_LINES: Final = 500
_Lines = Annotated[tuple[Annotated[str, Text(2000)], ...], Items(MAX_LINES)]


class Verdict(enum.Enum):
    """How a reload ended."""

    RELOADED = "reloaded"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ReloadRequest(Message):
    """Read the configuration file again."""

    accept_shrink: bool


@dataclass(frozen=True, slots=True)
class ReloadResult(Message):
    """The end of a reload: what changed, or why it was refused."""

    verdict: Verdict
    lines: _Lines


@dataclass(frozen=True, slots=True)
class StatusRequest(Message):
    """Report the configuration in force."""


@dataclass(frozen=True, slots=True)
class Status(Message):
    """The configuration in force."""

    pid: Annotated[int, Range(1, 2**31)]
    release: Annotated[str, Text(100)]
    path: Annotated[str, Text(4096)]
    summary: Summary


CODEC: Final = Codec(_PROTOCOL, [ReloadRequest, ReloadResult, StatusRequest, Status])
REQUESTS: Final = (ReloadRequest, StatusRequest)
