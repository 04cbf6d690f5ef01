"""Names in the head of an Authentication-Results field, as readers find them that do not follow its syntax.

Such readers split at the first semicolon, take the first thing that looks like a host name, and may drop characters
that are not shown: controls, zero-width characters, backslashes, octets that are not UTF-8.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

import idna

_MAX_RUNS: Final = 64
_MAX_HOST: Final = 1024
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffd\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\udc80-\udcff\\\\]"
)
"""Characters that readers drop: controls, default ignorable code points (Unicode, DerivedCoreProperties), octets that
are not UTF-8, and backslashes."""
_DOTS: Final = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})
"""Full stops of UTS #46 section 2.3."""
_EDGES: Final = "._"
_BETWEEN: Final = re.compile(r"[\W_]+")
_FLAT_COMMENT: Final = re.compile(r"\([^)]*\)?")
_BRACKET: Final = re.compile(r"[()]")
_FLAT: Final = re.compile(r"""\([^)]*\)?|("[^"]*"?|'[^']*'?)|([;=])|[^("';=]+""")


class HostName:
    """An authserv-id, and what equals it."""

    def __init__(self, name: str, fold: Callable[[bytes], bytes]) -> None:
        """Prepare the comparison.

        Args:
            name: folded: lower case, A-labels.
            fold: folds another name.
        """
        self._fold = fold
        self._name = name.strip(_EDGES) or name
        try:
            self._unicode = idna.decode(name) if "xn--" in name else name
        except (UnicodeError, idna.IDNAError):
            self._unicode = name
        odd = re.escape("".join(sorted({c for c in name if not c.isalnum() and c not in ".-"})))
        self._run = re.compile(rf"[\w.\-{odd}]+")
        self._host_run = re.compile(rf"[A-Za-z0-9.\-{odd}]+")
        self._skeletons = {_skeleton(self._name), _skeleton(self._unicode)}

    def within(self, text: bytes) -> bool:
        """Whether the name's letters and digits stand in the text in their order, whatever stands between."""
        if not text.isascii() and "xn--" in self._name:
            # A name may mix both forms of its labels.
            return True
        plain = text.decode("utf-8", "ignore")
        readings = [plain] if "(" not in plain else [plain, _without_comments(plain), _FLAT_COMMENT.sub("", plain)]
        found = [_skeleton(reading) for reading in readings]
        return any(skeleton in reading for reading in found for skeleton in self._skeletons)

    def runs(self, text: bytes | str) -> Iterator[str]:
        """Return what looks like a host name in the text, from its start; a bounded number."""
        for match in islice(self._run.finditer(text if isinstance(text, str) else shown(text)[1]), _MAX_RUNS):
            if name := match[0].strip(_EDGES):
                yield name

    def first(self, text: str) -> Iterator[str]:
        """Return the first of the runs, and the first for a reader that expects the letters of a host name (ASCII)."""
        for pattern in (self._run, self._host_run):
            match = pattern.search(text)
            if match is not None:
                yield match[0]

    def equals(self, name: str) -> bool:
        """Whether this is the name, in any of its forms."""
        name = name.strip(_EDGES).lower()
        if name in (self._name, self._unicode):
            return True
        if name.isascii() or len(name) > _MAX_HOST:
            return False
        if "xn--" not in self._name and _skeleton(name) not in self._skeletons:
            return False
        return self._fold(name.encode("utf-8", "replace")).strip(_EDGES.encode()) == self._name.encode()


@functools.lru_cache(maxsize=64)
def host_name(name: bytes, fold: Callable[[bytes], bytes]) -> HostName:
    """Return the comparison for a folded name; each is prepared once."""
    return HostName(name.decode("utf-8", "replace"), fold)


def shown(text: bytes) -> tuple[str, str]:
    """Return the text as readers may show it: without the characters that some drop, and with all."""
    plain = text.decode("utf-8", "surrogateescape")
    if not plain.isascii():
        # Surrogates stand for octets that are not UTF-8.
        plain = unicodedata.normalize("NFKC", plain).translate(_DOTS)
    return _UNSEEN.sub("", plain), plain


def loose_claim(text: bytes, ours: HostName) -> bool:
    """Whether a reader that does not follow the syntax finds our name in the place of the authserv-id.

    Args:
        text: the value of the field, or what encoded words in it decode to; the caller bounds its length.
        ours: our name.
    """
    if not ours.within(text):
        return False
    for reading in dict.fromkeys((*shown(text), text.decode("utf-8", "surrogateescape"))):
        head = _without_comments(reading).partition(";")[0]
        if any(map(ours.equals, (*ours.first(head), "".join(head.split()), _flat_id(reading)))):
            return True
    return False


def _skeleton(text: str) -> str:
    if not text.isascii():
        text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text)).casefold()
    return _BETWEEN.sub("", text.lower())


def _without_comments(text: str) -> str:
    """Drop comments, nested ones too; a backslash does not escape."""
    kept = []
    depth = done = 0
    for match in _BRACKET.finditer(text):
        if match[0] == "(":
            if depth == 0:
                kept.append(text[done : match.start()])
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                done = match.end()
    if depth == 0:
        kept.append(text[done:])
    return " ".join(kept)


def _flat_id(text: str) -> str:
    """Return the authserv-id as mailauth reads it: the first clause without "=", comments not nested."""
    clause = ""
    pair = False
    for match in _FLAT.finditer(text):
        if match[2] == ";":
            if clause.strip() and not pair:
                break
            clause, pair = "", False
        elif match[2]:
            pair = True
        elif not match[0].startswith("("):
            clause += match[0]
    return "" if pair else clause.strip().strip("\"'")
