"""Verifying all signatures of a message (RFC 6376 section 6), without I/O.

A ``Verifier`` is given the header, says which key records it needs, takes the body in pieces, and with the answers
gives a verdict for each signature. It hashes the body once for each distinct canonicalization and length.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from phoenixdkim.dkim.canonical import BodyDigests
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.keys import KeyAnswer, KeyOutcome, KeyRecord, KeyType
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import REASONS, Algorithm, DnssecStatus, Reason, Result
from phoenixdkim.dkim.selection import HeaderIndex, without_b
from phoenixdkim.dkim.signature import Signature, SignatureError, parse_signature
from phoenixdkim.dkim.tags import without_white_space

_SIGNATURE: Final = b"dkim-signature"
_REPORTED_BEYOND: Final = 1
"""Signatures over the limit that still get a row of their own: one tells that there were more."""
_PADDING: Final = PKCS1v15()
_PREHASHED: Final = Prehashed(SHA256())
_KEY_TYPES: Final = {Algorithm.RSA_SHA256: KeyType.RSA, Algorithm.ED25519_SHA256: KeyType.ED25519}
_ED25519_ORDER: Final = 2**252 + 27742317777372353535851937790883648493


PRECEDENCE: Final = (
    Result.PASS,
    Result.TEMPERROR,
    Result.FAIL,
    Result.POLICY,
    Result.PERMERROR,
    Result.NEUTRAL,
    Result.NONE,
)
"""Results in the order in which they stand for a message with several signatures."""


class LengthPolicy(StrEnum):
    """What to make of text after the part of the body that l= covers (RFC 6376 section 8.2)."""

    POLICY = "policy"
    ACCEPT = "accept"
    REPORT = "report"


class FromPolicy(StrEnum):
    """What to make of several From fields (RFC 6376 section 8.15): RFC 5322 allows one, and readers show any."""

    POLICY = "policy"
    PERMERROR = "permerror"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """What one signature is worth.

    Attributes:
        result: the verdict.
        reason: why.
        algorithm: a=, as it is counted.
        domain, selector, identity: d=, s= and i= as found; empty where they can't be told safely.
        b: b= in base64 without white space.
        key_bits: size of the key, None when none was used.
        dnssec: how far DNSSEC vouches for the key record, or why it could not be had; None when there is none.
        testing: the key record has t=y.
        detail: more words, for the log.
    """

    result: Result
    reason: Reason
    algorithm: Algorithm = Algorithm.OTHER
    domain: bytes = b""
    selector: bytes = b""
    identity: bytes = b""
    b: bytes = b""
    key_bits: int | None = None
    dnssec: DnssecStatus | None = None
    testing: bool = False
    detail: str = ""


class Verifier:
    """All signatures of one message."""

    def __init__(
        self,
        fields: Sequence[HeaderField],
        limits: Limits,
        now: int,
        *,
        length_policy: LengthPolicy = LengthPolicy.POLICY,
        from_policy: FromPolicy = FromPolicy.POLICY,
        hidden_name: bool = False,
        cut_short: bool = False,
    ) -> None:
        """Read the signatures.

        Args:
            fields: the header, from the top.
            limits: bounds on work.
            now: Unix time in seconds.
            length_policy: what unsigned text after l= means.
            from_policy: what several From fields mean.
            hidden_name: the header had a field whose name is not ASCII.
            cut_short: ``fields`` is not all of the header, which is over a limit.
        """
        self._limits = limits
        self._length_policy = length_policy
        self._from_policy = from_policy
        self._several_from = False
        self._rows: list[Signature | SignatureVerdict] = []
        self._index = HeaderIndex(fields)
        self._finished = False
        self.key_names: tuple[bytes, ...] = ()
        self.doubtful: tuple[bytes, ...] = ()
        """Of ``key_names``, after ``finish``: keys that did not verify a signature whose body hash is right. Such a key
        may be older than the signature; one that is absent, revoked or unusable says itself that it is not."""
        signatures = [field for field in fields if field.name.rstrip(b" \t").lower() == _SIGNATURE]
        if signatures:
            self._read(signatures, now, self._whole_message(fields, hidden_name, cut_short), _internationalised(fields))
        usable = [row for row in self._rows if isinstance(row, Signature)]
        self.key_names = tuple(dict.fromkeys(row.key_name for row in usable))
        self._digests = BodyDigests((row.body_canon, row.length) for row in usable) if usable else None

    def _read(self, signatures: Sequence[HeaderField], now: int, whole: Reason | None, eai: bool) -> None:
        limit = self._limits.max_signatures
        for number, field in enumerate(signatures):
            if number >= limit:
                if number < limit + _REPORTED_BEYOND:
                    self._rows.append(SignatureVerdict(Result.POLICY, Reason.TOO_MANY_SIGNATURES))
                continue
            try:
                signature = parse_signature(field, self._limits, now, eai)
            except SignatureError as error:
                self._rows.append(_refused(error))
                continue
            if whole is None:
                self._rows.append(signature)
            else:
                self._rows.append(_verdict(signature, whole, result=self._result_of(whole)))

    def _whole_message(self, fields: Sequence[HeaderField], hidden_name: bool, cut_short: bool) -> Reason | None:
        """A reason that holds for every signature of the message."""
        limits = self._limits
        if len(fields) > limits.max_header_fields:
            return Reason.TOO_MANY_HEADER_FIELDS
        octets = sum(len(field.name) + len(field.value) + 3 for field in fields)
        if cut_short or octets > limits.max_header_octets:
            return Reason.HEADER_TOO_LARGE
        if hidden_name:
            return Reason.HIDDEN_HEADER_NAME
        authors = self._index.count(b"from")
        if not authors:
            return Reason.NO_FROM
        if authors > 1:
            self._several_from = self._from_policy is FromPolicy.REPORT
            return None if self._several_from else Reason.MULTIPLE_FROM
        return None

    def _result_of(self, reason: Reason) -> Result | None:
        """The result that an option gives to a reason; None for its own."""
        if reason is Reason.MULTIPLE_FROM and self._from_policy is FromPolicy.PERMERROR:
            return Result.PERMERROR
        return None

    @property
    def needs_body(self) -> bool:
        """Whether the body makes a difference."""
        return self._digests is not None

    def body(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        if self._digests is not None:
            self._digests.update(chunk)

    def finish(self, answers: Mapping[bytes, KeyAnswer]) -> tuple[SignatureVerdict, ...]:
        """The verdicts, in the order of the signatures; none for a message without signatures.

        May be called again with other answers.

        Args:
            answers: what DNS said for each of ``key_names``.
        """
        if self._digests is not None and not self._finished:
            self._finished = True
            self._digests.finish()
        verdicts: list[SignatureVerdict] = []
        doubtful: dict[bytes, None] = {}
        for row in self._rows:
            verdict = row if isinstance(row, SignatureVerdict) else self._judge(row, answers)
            verdicts.append(verdict)
            if isinstance(row, Signature) and verdict.reason is Reason.SIGNATURE_MISMATCH:
                doubtful[row.key_name] = None
        self.doubtful = tuple(doubtful)
        return tuple(verdicts)

    def _judge(self, signature: Signature, answers: Mapping[bytes, KeyAnswer]) -> SignatureVerdict:
        answer = answers.get(signature.key_name)
        if answer is None or answer.outcome is KeyOutcome.UNAVAILABLE:
            reason = Reason.DNS_UNAVAILABLE if answer is None else answer.reason or Reason.DNS_UNAVAILABLE
            return _verdict(signature, reason, answer)
        if answer.outcome is KeyOutcome.ABSENT:
            return _verdict(signature, Reason.NO_KEY, answer)
        if (tail := self._body_reason(signature)) is not None and tail is not Reason.UNSIGNED_TAIL:
            # The key's own faults are told first: with them the body says nothing.
            return self._first_key_fault(signature, answer) or _verdict(signature, tail, answer)
        failed: SignatureVerdict | None = None
        for record in answer.keys:
            if isinstance(record, Reason):
                return _verdict(signature, record, answer)
            reason = self._try_key(signature, record)
            if reason is Reason.VERIFIED:
                told = [REASONS[Reason.MULTIPLE_FROM].text] if self._several_from else []
                if tail is not None and self._length_policy is not LengthPolicy.ACCEPT:
                    told.append(REASONS[tail].text)
                    if self._length_policy is LengthPolicy.POLICY:
                        reason = tail
                return _verdict(signature, reason, answer, record, ", ".join(told))
            # A key that was tried says more than one that did not suit.
            if failed is None or reason is Reason.SIGNATURE_MISMATCH:
                failed = _verdict(signature, reason, answer, record)
        return failed or _verdict(signature, Reason.NO_KEY, answer)

    def _first_key_fault(self, signature: Signature, answer: KeyAnswer) -> SignatureVerdict | None:
        fault = None
        for record in answer.keys:
            fault = record if isinstance(record, Reason) else _key_fault(signature, record)
            if fault is None:
                return None
        return None if fault is None else _verdict(signature, fault, answer)

    def _body_reason(self, signature: Signature) -> Reason | None:
        assert self._digests is not None
        octets = self._digests.octets(signature.body_canon)
        if signature.length is not None and signature.length > octets:
            return Reason.LENGTH_EXCEEDS_BODY
        digest = self._digests.digest(signature.body_canon, signature.length)
        if not hmac.compare_digest(digest, signature.body_hash):
            return Reason.BODY_HASH_MISMATCH
        if signature.length is not None and signature.length < octets:
            return Reason.UNSIGNED_TAIL
        return None

    def _try_key(self, signature: Signature, record: KeyRecord) -> Reason:
        fault = _key_fault(signature, record)
        if fault is not None:
            return fault
        digest = self._index.digest(
            signature.signed, signature.header_canon, without_b(signature.field), signature.field
        )
        key = record.key
        try:
            if isinstance(key, Ed25519PublicKey):
                # RFC 8463 section 3: PureEdDSA over the SHA-256 of the header. RFC 8032 section 5.1.7: S < L.
                if len(signature.signature) != 64:
                    return Reason.SIGNATURE_MISMATCH
                if int.from_bytes(signature.signature[32:], "little") >= _ED25519_ORDER:
                    return Reason.SIGNATURE_MISMATCH
                key.verify(signature.signature, digest)
            else:
                if len(signature.signature) != (record.bits + 7) // 8:
                    return Reason.SIGNATURE_MISMATCH
                key.verify(signature.signature, digest, _PADDING, _PREHASHED)
        except InvalidSignature:
            return Reason.SIGNATURE_MISMATCH
        return Reason.VERIFIED


def _key_fault(signature: Signature, record: KeyRecord) -> Reason | None:
    if record.type is not _KEY_TYPES[signature.algorithm]:
        return Reason.KEY_TYPE_MISMATCH
    if record.hashes is not None and b"sha256" not in record.hashes:
        return Reason.KEY_HASH_NOT_ALLOWED
    if record.strict and not signature.strict_identity:
        return Reason.KEY_SUBDOMAIN_FORBIDDEN
    return None


def _internationalised(fields: Sequence[HeaderField]) -> bool:
    """Whether the header has UTF-8 (RFC 6532): then U-labels may stand in a signature.

    Signatures don't count: one that a plain message got must not vouch for its own U-labels.
    """
    for field in fields:
        if not field.value.isascii() and field.lname != _SIGNATURE:
            try:
                field.value.decode("utf-8")
            except UnicodeDecodeError:
                continue
            return True
    return False


def _verdict(
    signature: Signature,
    reason: Reason,
    answer: KeyAnswer | None = None,
    record: KeyRecord | Reason | None = None,
    detail: str = "",
    result: Result | None = None,
) -> SignatureVerdict:
    key = record if isinstance(record, KeyRecord) else None
    return SignatureVerdict(
        result or REASONS[reason].result,
        reason,
        signature.algorithm,
        signature.domain,
        signature.selector,
        signature.identity,
        signature.b,
        None if key is None else key.bits,
        None if answer is None or answer.outcome is KeyOutcome.ABSENT else answer.dnssec,
        key is not None and key.testing,
        detail,
    )


def _refused(error: SignatureError) -> SignatureVerdict:
    tags = error.tags
    try:
        algorithm = Algorithm(tags.get(b"a", b"").decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        algorithm = Algorithm.OTHER
    # As found: with white space taken out, or cut short, a value could name another domain.
    domain = _reportable(tags.get(b"d", b""), 253)
    local, at, under = tags.get(b"i", b"@" + domain).rpartition(b"@")
    return SignatureVerdict(
        REASONS[error.reason].result,
        error.reason,
        algorithm,
        domain,
        _reportable(tags.get(b"s", b""), 253),
        _reportable((without_white_space(local) if at else local) + at + under, 1024),
        without_white_space(tags.get(b"b", b""))[:1024],
        detail=error.detail,
    )


def _reportable(value: bytes, most: int) -> bytes:
    return value if len(value) <= most else b""


def determinative(verdicts: Sequence[SignatureVerdict]) -> SignatureVerdict | None:
    """The verdict that stands for the message.

    The first in the order of ``PRECEDENCE``, and of the signatures from the top among equals. One that passed says who
    answers for the message (RFC 6376 section 6.1). ``temperror`` comes next, because it might still pass when tried
    again; of the others, what was evaluated furthest says most.
    """
    return min(verdicts, key=lambda verdict: PRECEDENCE.index(verdict.result), default=None)
