"""Authentication-Results fields of a message that claim our name and are removed (RFC 8601 section 5)."""

from __future__ import annotations

from typing import Final

from phoenixdkim import authres
from phoenixdkim.dkim_clauses import may_have_dkim_clause
from phoenixdkim.milter.outcome import DeleteField
from phoenixdkim.policy import Policy, RemoveForged

AUTHENTICATION_RESULTS: Final = b"authentication-results"
"""Name of the fields, lower-case."""
_MAX_DOUBTFUL: Final = 100
"""Fields of a message that are read in more than one way; further ones are removed without being read."""


class Removals:
    """The fields of one message that must be removed, whatever else becomes of the message."""

    __slots__ = ("_count", "_doubtful", "_found", "_ids", "_off", "_own")

    def __init__(self, policy: Policy, address: str | None, authserv_id: bytes) -> None:
        """Begin a message.

        Args:
            policy: which fields are removed.
            address: IP address of the client as text; None if unknown.
            authserv_id: our name on this connection.
        """
        self._off = policy.keeps_results(address)
        ours = dict.fromkeys((authserv_id, policy.authserv_id))
        self._ids = tuple(ours | dict.fromkeys(policy.removed_ids))
        own = policy.remove_forged is RemoveForged.OWN
        self._own = tuple(name for name in ours if own and name not in policy.removed_ids)
        self._count = 0
        self._doubtful = 0
        self._found: list[DeleteField] = []

    def field(self, name: bytes, value: bytes, *, read: bool) -> None:
        """Take one Authentication-Results field, in the order of the message.

        Args:
            name: as found; it equals ``AUTHENTICATION_RESULTS`` but for case and white space behind it.
            value: all after the colon.
            read: False past the limits of a header: the field is removed without being read.
        """
        if self._off:
            return
        self._count += 1
        if read and authres.plain_id(value) is None:
            self._doubtful += 1
            read = self._doubtful <= _MAX_DOUBTFUL
        if not read or (authres.forged(value, *self._ids) and may_have_dkim_clause(value, *self._own)):
            self._found.append(DeleteField(name.rstrip(b" \t"), self._count))

    @property
    def edits(self) -> tuple[DeleteField, ...]:
        """The deletions, last field first: each would move the ordinals of the fields behind it."""
        return tuple(reversed(self._found))
