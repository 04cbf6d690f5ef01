"""The DKIM-Signature field: its tags read and checked before anything is looked up or computed (RFC 6376 3.5)."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import idna

from phoenixdkim.dkim.canonical import Canonicalization
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.limits import Limits
from phoenixdkim.dkim.results import Algorithm, Reason
from phoenixdkim.dkim.tags import TagListError, base64_octets, parse_tag_list, without_white_space

_REQUIRED: Final = (b"v", b"a", b"b", b"bh", b"d", b"h", b"s")
_ALGORITHMS: Final = {algorithm.value.encode(): algorithm for algorithm in Algorithm if algorithm != "other"}
_LABEL: Final = frozenset((string.ascii_letters + string.digits + "-_").encode())
_FIELD_NAME: Final = bytes(octet for octet in range(33, 127) if octet != ord(":"))
_MAX_DIGITS: Final = 76
_NEVER: Final = 10**12


class SignatureError(ValueError):
    """A signature that is refused by its own text.

    Attributes:
        reason: why.
        tags: its tags as far as they could be read, for reporting.
    """

    def __init__(self, reason: Reason, detail: str = "", tags: Mapping[bytes, bytes] | None = None) -> None:
        super().__init__(detail or reason.value)
        self.reason = reason
        self.detail = detail
        self.tags = dict(tags or {})


@dataclass(frozen=True, slots=True)
class Signature:
    """A DKIM-Signature whose text is in order.

    Attributes:
        field: the field itself, which is hashed last.
        algorithm: a=.
        header_canon, body_canon: c=.
        domain, selector: d= and s= as found.
        identity: i=, or ``@`` and d=.
        strict_identity: the domain of i= equals d=.
        signed: names of h= in order, lower-case.
        length: l=, None when absent.
        body_hash: bh= decoded.
        signature: b= decoded.
        b: b= in base64 without white space, for reporting.
        key_name: DNS name of the key record, lower-case A-labels.
    """

    field: HeaderField
    algorithm: Algorithm
    header_canon: Canonicalization
    body_canon: Canonicalization
    domain: bytes
    selector: bytes
    identity: bytes
    strict_identity: bool
    signed: tuple[bytes, ...]
    length: int | None
    body_hash: bytes
    signature: bytes
    b: bytes
    key_name: bytes
    tags: Mapping[bytes, bytes] = dataclasses.field(repr=False, compare=False, hash=False)


def parse_signature(header: HeaderField, limits: Limits, now: int, eai: bool = False) -> Signature:
    """Read a DKIM-Signature field.

    Args:
        header: the field.
        limits: bounds that hold before any work.
        now: Unix time in seconds, for t= and x=.
        eai: the message is an internationalised one, so U-labels may stand in d=, s= and i= (RFC 8616 section 5).

    Raises:
        SignatureError: the signature can't verify whatever the key; with its reason.
    """
    if len(header.value) > limits.max_signature_octets:
        raise SignatureError(Reason.SIGNATURE_TOO_LARGE)
    # What stands in folds is no white space elsewhere: readers that end a line there would see another field.
    if not header.value.count(b"\r") == header.value.count(b"\n") == header.value.count(b"\r\n"):
        raise SignatureError(Reason.TAG_LIST_SYNTAX, "a bare CR or LF", _salvage(header.value))
    try:
        tags = parse_tag_list(header.value, limits.max_tags)
    except TagListError as error:
        raise SignatureError(error.reason, str(error), _salvage(header.value)) from error
    try:
        return _checked(header, tags, limits, now, eai)
    except SignatureError as error:
        error.tags = tags
        raise


def _salvage(value: bytes) -> dict[bytes, bytes]:
    """Tags of a list that can't be read, the first of each name, for reporting only."""
    found: dict[bytes, bytes] = {}
    for part in value[:4096].split(b";")[:64]:
        name, _, text = part.partition(b"=")
        found.setdefault(name.strip(b" \t\r\n"), text.strip(b" \t\r\n"))
    return found


def _checked(header: HeaderField, tags: dict[bytes, bytes], limits: Limits, now: int, eai: bool) -> Signature:
    for name in _REQUIRED:
        if name not in tags:
            raise SignatureError(Reason.MISSING_TAG, f"no {name.decode()}=")
    if tags[b"v"] != b"1":
        raise SignatureError(Reason.BAD_VERSION)
    # Values are told apart by case (RFC 6376 section 3.2), but for names of DNS and of header fields.
    algorithm = _ALGORITHMS.get(tags[b"a"])
    if algorithm is None:
        raise SignatureError(Reason.UNKNOWN_ALGORITHM)
    if algorithm is Algorithm.RSA_SHA1:
        raise SignatureError(Reason.WEAK_ALGORITHM)
    header_canon, body_canon = _canonicalization(tags.get(b"c", b"simple/simple"))
    # No white space is taken out of names: the name that is looked up and reported is the one that was written.
    domain = tags[b"d"]
    selector = tags[b"s"]
    a_domain = _a_labels(domain, eai)
    if a_domain is None or b"." not in a_domain:
        raise SignatureError(Reason.BAD_DOMAIN)
    a_selector = _a_labels(selector, eai)
    if a_selector is None or len(a_selector) + len(a_domain) + 12 > 253:
        raise SignatureError(Reason.BAD_SELECTOR)
    signed = _signed_fields(tags[b"h"], limits)
    identity, strict = _identity(tags.get(b"i"), a_domain, domain, eai)
    _query_methods(tags.get(b"q"))
    _times(tags, limits, now)
    length = _length(tags.get(b"l"))
    encoded = without_white_space(tags[b"b"])
    return Signature(
        header,
        algorithm,
        header_canon,
        body_canon,
        domain,
        selector,
        identity,
        strict,
        signed,
        length,
        _base64(without_white_space(tags[b"bh"]), "bh"),
        _base64(encoded, "b"),
        encoded,
        a_selector + b"._domainkey." + a_domain,
        tags,
    )


def _canonicalization(value: bytes) -> tuple[Canonicalization, Canonicalization]:
    head, slash, body = value.partition(b"/")
    try:
        return (
            Canonicalization(head.decode("ascii")),
            Canonicalization(body.decode("ascii")) if slash else Canonicalization.SIMPLE,
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise SignatureError(Reason.UNKNOWN_CANONICALIZATION) from error


def _a_labels(name: bytes, eai: bool) -> bytes | None:
    """The name in lower-case A-labels, or None when it is no domain name (RFC 5321 section 4.1.2, RFC 8616)."""
    if not name or len(name) > 253:
        return None
    if not name.isascii():
        if not eai:
            return None
        try:
            labels = [
                label if label.isascii() else idna.encode(label, uts46=True).decode("ascii")
                for label in name.decode("utf-8").split(".")
            ]
        except (UnicodeError, idna.IDNAError):
            return None
        # A mapping can bring dots of its own, as from an ideographic full stop, which is none in a domain name.
        if any("." in label for label in labels):
            return None
        name = ".".join(labels).encode()
    for label in name.split(b"."):
        if not 0 < len(label) < 64 or not _LABEL.issuperset(label) or label[:1] == b"-" or label[-1:] == b"-":
            return None
    return name.lower() if len(name) <= 253 else None


def _signed_fields(value: bytes, limits: Limits) -> tuple[bytes, ...]:
    if value.count(b":") >= limits.max_signed_fields:
        raise SignatureError(Reason.TOO_MANY_SIGNED_FIELDS, f"more than {limits.max_signed_fields} names")
    names = tuple([name.strip(b" \t\r\n") for name in value.lower().split(b":")])
    if b"" in names or b"".join(names).translate(None, _FIELD_NAME):
        raise SignatureError(Reason.BAD_HEADER_LIST)
    if b"from" not in names:
        raise SignatureError(Reason.FROM_NOT_SIGNED)
    return names


def _identity(value: bytes | None, a_domain: bytes, domain: bytes, eai: bool) -> tuple[bytes, bool]:
    if value is None:
        return b"@" + domain, True
    local, at, own_domain = value.rpartition(b"@")
    # dkim-quoted-printable lets white space stand in the local part, the domain has none.
    local = without_white_space(local)
    value = local + at + own_domain
    own = _a_labels(own_domain, eai) if at else None
    if own is None or len(value) > 1024 or not all(32 < octet != 127 for octet in value):
        raise SignatureError(Reason.BAD_IDENTITY)
    if not value.isascii() and not (eai and _is_utf8(value)):
        raise SignatureError(Reason.BAD_IDENTITY)
    # Outside of a quoted string another reader could take the first of two '@' for the one before the domain.
    quoted = len(local) > 1 and local[:1] == local[-1:] == b'"' and b'"' not in local[1:-1]
    if b"@" in local and not quoted:
        raise SignatureError(Reason.BAD_IDENTITY)
    if own != a_domain and not own.endswith(b"." + a_domain):
        raise SignatureError(Reason.IDENTITY_MISMATCH)
    return value, own == a_domain


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _query_methods(value: bytes | None) -> None:
    if value is None:
        return
    if b"dns/txt" not in [method.strip(b" \t\r\n") for method in value.split(b":")]:
        raise SignatureError(Reason.UNKNOWN_QUERY_METHOD)


def _number(value: bytes, reason: Reason) -> int:
    if not value or len(value) > _MAX_DIGITS or not value.isdigit():
        raise SignatureError(reason)
    return int(value)


def _times(tags: Mapping[bytes, bytes], limits: Limits, now: int) -> None:
    signed = _number(tags[b"t"], Reason.BAD_TIMESTAMP) if b"t" in tags else None
    if signed is not None and signed > now + limits.clock_drift:
        raise SignatureError(Reason.FUTURE_TIMESTAMP)
    if b"x" not in tags:
        return
    # Over twelve digits means never (RFC 6376 section 3.5, x=).
    expires = min(_number(tags[b"x"], Reason.BAD_EXPIRATION), _NEVER)
    if signed is not None and expires <= signed:
        raise SignatureError(Reason.BAD_EXPIRATION, "x= is not after t=")
    if expires < now - limits.clock_drift:
        raise SignatureError(Reason.EXPIRED)


def _length(value: bytes | None) -> int | None:
    return None if value is None else _number(value, Reason.BAD_LENGTH)


def _base64(value: bytes, name: str) -> bytes:
    try:
        decoded = base64_octets(value)
    except ValueError as error:
        raise SignatureError(Reason.BAD_BASE64, f"{name}= is no base64") from error
    if not decoded:
        raise SignatureError(Reason.BAD_BASE64, f"{name}= is empty")
    return decoded
