"""Making signatures (RFC 6376 section 5), without I/O: several keys over one body hash."""

from __future__ import annotations

import base64
import dataclasses
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from phoenixdkim.dkim.canonical import BodyDigests, Canonicalization
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.dkim.selection import HeaderIndex
from phoenixdkim.dkim.signed_fields import Coverage, default_names

_PADDING: Final = PKCS1v15()
_PREHASHED: Final = Prehashed(SHA256())
_LINE: Final = 76
_FIRST_LINE: Final = 78 - len("DKIM-Signature: ")
MIN_RSA_BITS: Final = 1024
_NAME: Final = frozenset((string.ascii_letters + string.digits + "-_.").encode()) | frozenset(range(128, 256))
_PLAIN: Final = frozenset(range(33, 127)) - frozenset(b";=@")
MAX_LINE: Final = 998
"""Octets of a line that every MTA must pass on (RFC 5321 section 4.5.3.1.6, without CRLF)."""


class EightBit(StrEnum):
    """What to make of octets above 127 in the body (RFC 6376 section 5.3): a relay that encodes them breaks what was
    signed; every one that knows 8BITMIME (RFC 6152) passes them on."""

    SIGN = "sign"
    LEAVE = "leave"


class FirstSignature:
    """Whether a signature of a private key has been verified in this process.

    Attributes:
        private: the key that was; until then each signature is verified before it leaves (28 microseconds for RSA with
            2048 bits).
    """

    __slots__ = ("private",)

    def __init__(self) -> None:
        self.private: RSAPrivateKey | Ed25519PrivateKey | None = None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key to sign with.

    Attributes:
        name: its name in the configuration.
        domain, selector: d= and s=.
        algorithm: a=.
        private: the decoded key.
        identity: i=; empty to leave it out.
        first: shared by all that sign with the same private key.
    """

    name: str
    domain: bytes
    selector: bytes
    algorithm: Algorithm
    private: RSAPrivateKey | Ed25519PrivateKey
    identity: bytes = b""
    first: FirstSignature = dataclasses.field(default_factory=FirstSignature, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SignOptions:
    """How to sign.

    Attributes:
        header_canon, body_canon: c=.
        signed: fields signed when present.
        oversigned: fields named once more than they occur, absent ones too; From always is.
        oversigned_if_present: fields named once more than they occur, absent ones not at all.
        ttl: seconds after which the signature expires (x=); None for never.
        eight_bit: what is made of octets above 127 in the body.
    """

    header_canon: Canonicalization = Canonicalization.RELAXED
    body_canon: Canonicalization = Canonicalization.RELAXED
    signed: tuple[bytes, ...] = default_names(Coverage.SIGNED)
    oversigned: tuple[bytes, ...] = default_names(Coverage.OVERSIGNED)
    oversigned_if_present: tuple[bytes, ...] = default_names(Coverage.OVERSIGNED_IF_PRESENT)
    ttl: int | None = None
    eight_bit: EightBit = EightBit.SIGN

    plan: tuple[tuple[bytes, bytes, bool, bool], ...] = field(init=False, repr=False, compare=False)
    """Each name once, in the order of h=: as written, in lower case, and whether it is oversigned when it is absent,
    and when it is present."""

    def __post_init__(self) -> None:
        always = {name.lower() for name in (b"From", *self.oversigned)}
        present = {name.lower() for name in self.oversigned_if_present} | always
        plan: dict[bytes, tuple[bytes, bytes, bool, bool]] = {}
        for name in (b"From", *self.signed, *self.oversigned, *self.oversigned_if_present):
            lowered = name.lower()
            plan.setdefault(lowered, (name, lowered, lowered in always, lowered in present))
        object.__setattr__(self, "plan", tuple(plan.values()))


class _LineCheck:
    """Watches body and signed fields for what a relay would change after signing (RFC 6376 section 5.3)."""

    __slots__ = ("bare", "last", "limit", "long", "open")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bare = False
        self.long = False
        self.open = 0  # octets of the line that is not ended yet
        self.last = b""

    def check_field(self, entry: HeaderField) -> None:
        value = entry.value
        if b"\n" in value or b"\r" in value:
            unfolded = value.replace(b"\r\n ", b"").replace(b"\r\n\t", b"")
            self.bare = self.bare or b"\n" in unfolded or b"\r" in unfolded
        whole = len(entry.name) + 1 + len(value)
        if whole > self.limit and max(map(len, (entry.name + b":" + value).split(b"\r\n"))) > self.limit:
            self.long = True

    def update(self, chunk: bytes) -> None:
        if not chunk:
            return
        pairs = chunk.count(b"\r\n")
        joined = self.last == b"\r" and chunk[:1] == b"\n"
        if self.last == b"\r" and not joined:
            self.bare = True
        # Every CR must be half of a pair, and every LF; a CR at the end may yet become one.
        loose_cr = chunk.count(b"\r") - pairs - (chunk[-1:] == b"\r")
        loose_lf = chunk.count(b"\n") - pairs - joined
        if loose_cr or loose_lf:
            self.bare = True
        self.last = chunk[-1:]
        if not self.long:
            self._measure(chunk)

    def _measure(self, chunk: bytes) -> None:
        # From line end to line end, in strides: a stretch of ``limit`` octets with a line end in it is fine.
        position = 0
        size = len(chunk)
        start = -self.open
        while True:
            reach = start + self.limit + 2
            if reach >= size:
                end = chunk.rfind(b"\n", max(position, 0), size)
                if end >= 0:
                    start = end + 1
                break
            end = chunk.rfind(b"\n", max(position, 0), max(reach, 0))
            if end < 0:
                self.long = True
                return
            position = start = end + 1
        self.open = size - start

    def finish(self) -> None:
        if self.last == b"\r":
            self.bare = True
        if self.open > self.limit + (self.last == b"\r"):
            self.long = True


class Signer:
    """Makes one signature a key for one message."""

    def __init__(
        self,
        fields: Sequence[HeaderField],
        keys: Sequence[SigningKey],
        options: SignOptions,
        now: int,
        max_line: int = MAX_LINE,
    ) -> None:
        """Prepare.

        Args:
            fields: the header, from the top.
            keys: keys to sign with.
            options: how to sign.
            now: Unix time in seconds, for t= and x=; before 1970 neither is written.
            max_line: octets of a line, without CRLF, that the MTA passes on unbroken.
        """
        self._keys = keys
        self._options = options
        self._now = now
        self._index = HeaderIndex(fields)
        self._digests = BodyDigests([(options.body_canon, None)])
        self._lines = _LineCheck(max_line)
        names = {lowered for _, lowered, _, _ in options.plan}
        for entry in fields:
            if entry.lname in names:
                self._lines.check_field(entry)
        self.bare_cr_or_lf = False
        """The body or a signed field has a CR or LF that is not part of a line end; known after ``finish``."""
        self.long_line = False
        """A line of the body or of a signed field is over ``max_line`` octets; known after ``finish``."""
        self.eight_bit = False
        """The body has octets above 127 and is not to be signed for it; known after ``finish``."""
        self._ascii_only = options.eight_bit is EightBit.LEAVE

    def body(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        self._digests.update(chunk)
        self._lines.update(chunk)
        if self._ascii_only and not chunk.isascii():
            self.eight_bit = True

    def finish(self) -> list[tuple[SigningKey, bytes | None]]:
        """The values of the DKIM-Signature fields, one a key: leading space, folds as CRLF and tab.

        None stands for a key that failed. Nothing is signed when the message would not arrive as it is.
        """
        self._digests.finish()
        self._lines.finish()
        self.bare_cr_or_lf = self._lines.bare
        self.long_line = self._lines.long
        if self.bare_cr_or_lf or self.long_line or self.eight_bit:
            return [(key, None) for key in self._keys]
        names = self._names()
        body_hash = base64.b64encode(self._digests.digest(self._options.body_canon, None))
        return [(key, self._sign(key, names, body_hash)) for key in self._keys]

    def _names(self) -> list[bytes]:
        names: list[bytes] = []
        for name, lowered, absent, present in self._options.plan:
            count = self._index.count(lowered)
            names += [name] * (count + present if count else absent)
        return names

    def _sign(self, key: SigningKey, names: Sequence[bytes], body_hash: bytes) -> bytes | None:
        if not _usable(key):
            return None
        unsigned = self._template(key, names, body_hash)
        digest = self._index.digest(
            [name.lower() for name in names],
            self._options.header_canon,
            HeaderField(b"DKIM-Signature", unsigned),
            None,
        )
        try:
            if isinstance(key.private, Ed25519PrivateKey):
                signature = key.private.sign(digest)
            else:
                signature = key.private.sign(digest, _PADDING, _PREHASHED)
        except (ValueError, UnsupportedAlgorithm):
            # Such as a modulus too small for the padding: this key fails, the others sign.
            return None
        if key.first.private is not key.private:
            # Loading proves a key by arithmetic only: a composite "prime" shows here, and a fault of the library too.
            if not _verifies(key.private, signature, digest):
                return None
            key.first.private = key.private
        encoded = base64.b64encode(signature)
        lines = [encoded[at : at + _LINE - 1] for at in range(0, len(encoded), _LINE - 1)]
        return unsigned + b"\r\n\t" + b"\r\n\t".join(lines)

    def _template(self, key: SigningKey, names: Sequence[bytes], body_hash: bytes) -> bytes:
        options = self._options
        tags = [
            b"v=1",
            b"a=" + key.algorithm.value.encode(),
            b"c=" + options.header_canon.encode() + b"/" + options.body_canon.encode(),
            b"d=" + key.domain,
            b"s=" + key.selector,
        ]
        if self._now >= 0:
            # A clock that is before 1970 is wrong, and RFC 6376 section 3.5 has no way to write what it says.
            tags.append(b"t=%d" % self._now)
            if options.ttl is not None:
                tags.append(b"x=%d" % (self._now + options.ttl))
        if key.identity:
            local, at, domain = key.identity.rpartition(b"@")
            tags.append(b"i=" + _quoted_printable(local) + at + domain)
        lines = _fold([tag + b";" for tag in tags], b" ", _FIRST_LINE)
        first, *rest = names
        lines += _fold([b"h=" + first, *(b":" + name for name in rest), b";"], b"")
        lines += _fold([b"bh=" + body_hash + b";", b"b="], b" ")
        return b" " + b"\r\n\t".join(lines)


def _verifies(private: RSAPrivateKey | Ed25519PrivateKey, signature: bytes, digest: bytes) -> bool:
    try:
        if isinstance(private, Ed25519PrivateKey):
            private.public_key().verify(signature, digest)
        else:
            private.public_key().verify(signature, digest, _PADDING, _PREHASHED)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _usable(key: SigningKey) -> bool:
    """Whether a signature by this key may and can be made: RFC 8301 section 3, and names that fit in their tags."""
    if isinstance(key.private, Ed25519PrivateKey):
        suits = key.algorithm is Algorithm.ED25519_SHA256
    else:
        suits = key.algorithm is Algorithm.RSA_SHA256 and key.private.key_size >= MIN_RSA_BITS
    under = key.identity.rpartition(b"@")[2] or key.domain
    return suits and all(name and _NAME.issuperset(name) for name in (key.domain, key.selector, under))


def _quoted_printable(text: bytes) -> bytes:
    """Text that can stand in a tag whatever it holds (dkim-quoted-printable, RFC 6376 section 2.11)."""
    return b"".join(bytes((octet,)) if octet in _PLAIN else b"=%02X" % octet for octet in text)


def _fold(words: Sequence[bytes], gap: bytes, first: int = _LINE) -> list[bytes]:
    """Words in lines of at most ``_LINE`` octets, the first of at most ``first``."""
    lines: list[bytes] = []
    line = b""
    for word in words:
        if line and len(line) + len(gap) + len(word) > (_LINE if lines else first):
            lines.append(line)
            line = word
        else:
            line = line + gap + word if line else word
    lines.append(line)
    return lines
