"""Whether an Authentication-Results field that claims our name holds, or may hold, a result of DKIM.

For ``verifying.remove_forged = "own"``: other filters of this host write fields under the same name, and only what
could be taken for ours is removed. A field is kept if it follows the syntax, bears our name as it is, and has clauses
of other methods only. If a reader could see anything else in it, it counts as a result of DKIM.
"""

from __future__ import annotations

import re
from typing import Final

from phoenixdkim import authres, encoded_words
from phoenixdkim.loose_reading import shown

_MAX: Final = 16384
"""Octets of a field that is read; no filter writes a longer one."""
_METHOD: Final = re.compile(rb"[a-z][a-z0-9-]*")
_PROPERTY: Final = re.compile(rb"[a-z][a-z0-9-]*\.[a-z0-9][a-z0-9._-]*")
"""ptype "." property (RFC 8601 section 2.2). A name without a dot would be the method of a clause that lacks its
semicolon."""
_ARC_COMMENT: Final = re.compile(r"\barc\s*=\s*[a-z]+\s*\([^()\";\\]*\)")
"""A result of ARC may list those of its chain in a plain comment, as in "arc=pass (i=1 spf=pass dkim=pass)"."""
_ANYWHERE: Final = re.compile(r"""dkim[\w-]*(?:\s|\([^()]*\)|["'\\])*[=/]""")
"""A result of DKIM for a reader that searches the field, comments and quoted strings too."""


def may_have_dkim_clause(value: bytes, *authserv_ids: bytes) -> bool:
    """Whether to count the field as a result of DKIM.

    True for the methods ``dkim`` and those whose names contain it (``dkim-adsp``, ``dkim-atps``), which are derived
    from it; true without any clause; false for all other methods, also unknown ones.

    Args:
        value: the field's value.
        authserv_ids: names whose fields are read; of all others the answer is true.
    """
    if not authserv_ids or len(value) > _MAX or encoded_words.START in value:
        return True
    try:
        found = authres.parse(value)
    except authres.AuthResSyntaxError:
        return True
    if not found.results or found.authserv_id.lower() not in [name.lower() for name in authserv_ids]:
        return True
    if found.version is not None and not found.version.isdigit():
        return True
    for result in found.results:
        method = result.method.lower()
        if not _METHOD.fullmatch(method) or b"dkim" in method:
            return True
        if not all(_PROPERTY.fullmatch(name) for name, _ in result.properties):
            return True
    return any(_ANYWHERE.search(_ARC_COMMENT.sub("", text.lower())) for text in shown(value))
