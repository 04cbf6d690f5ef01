"""The rows of the tables: a valid message, one change to it, and what must come of it.

Rows are plain data, for every test that puts messages through the product in some way: the session, the command
``verify``, the milter. What each must show is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from phoenixdkim.dkim.results import REASONS, Reason, Result
from tables.by_hand import NAME, NOW
from tables.keys import ED

AUTHSERV_ID: Final = b"mx.example.org"
"""The authserv-id of every row."""

Record = bytes | tuple[bytes, ...]
"""A TXT record; a tuple is one of several character-strings, bytes are cut into strings of at most 255 octets."""


class NoRecord(Enum):
    """Answers that hold no record."""

    ABSENT = "absent"
    """NXDOMAIN, or a name without TXT records; so is a name that a row's zone does not have."""
    UNAVAILABLE = "unavailable"
    """No usable answer: a server that is silent, SERVFAIL, REFUSED."""


Answer = tuple[Record, ...] | NoRecord
Zone = Mapping[bytes, Answer]

ZONE: Final[Zone] = {NAME: (ED.record,)}


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: what was changed; unique in all tables.
        ids: the requirements that it proves.
        reason: why the message has its result.
        message: on the wire, with CRLF.
        zone: DNS names, in lower case, and what a look-up of each brings.
        result: the message's result; that of the reason unless told otherwise.
        now: Unix time of the verification.
        options: options that are not at their default, by their name in the configuration file, as in
            ``{"limits.max_tags": 20}``.
        verdicts: result and reason of each signature, from the top, where there are several or none.
        properties: for each clause of Authentication-Results what its properties must be; None: it must not be there.
        text: words that the field as a whole must contain, folds taken as single spaces.
        removed: ordinals of the Authentication-Results fields that must be removed; all others must stay.
        dialogue: False where the milter protocol can't carry the message as it is (an octet above 127 in a field's
            name, NUL in a field, CR or LF there that are no fold): only the session and the command see such a row.
    """

    name: str
    ids: tuple[str, ...]
    reason: Reason
    message: bytes
    zone: Zone = field(default_factory=lambda: ZONE)
    result: Result | None = None
    now: int = NOW
    options: Mapping[str, object] = field(default_factory=dict)
    verdicts: tuple[tuple[Result, Reason], ...] | None = None
    properties: tuple[Mapping[bytes, bytes | None], ...] = ()
    text: tuple[bytes, ...] = ()
    removed: tuple[int, ...] = ()
    dialogue: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def expected(self) -> Result:
        """The message's result."""
        return REASONS[self.reason].result if self.result is None else self.result

    @property
    def expected_verdicts(self) -> tuple[tuple[Result, Reason], ...]:
        """Result and reason of each signature."""
        if self.verdicts is not None:
            return self.verdicts
        return () if self.reason is Reason.NO_SIGNATURE else ((self.expected, self.reason),)
