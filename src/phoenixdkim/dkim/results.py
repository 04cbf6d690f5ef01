"""The closed sets of answers that DKIM work can have.

Every verdict, algorithm and reason is a member of an enum here. Authentication-Results, the summary line and
the counters are all fed from these members, so that the three cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Result(StrEnum):
    """A DKIM verdict (RFC 8601 section 2.7.1)."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    NONE = "none"
    NEUTRAL = "neutral"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class Algorithm(StrEnum):
    """A signing algorithm as it is counted (RFC 6376 section 3.3, RFC 8463 section 3).

    ``RSA_SHA1`` is recognised so that it can be counted and refused (RFC 8301 section 3.1); ``OTHER`` stands for
    each ``a=`` value that is not known.
    """

    RSA_SHA256 = "rsa-sha256"
    ED25519_SHA256 = "ed25519-sha256"
    RSA_SHA1 = "rsa-sha1"
    OTHER = "other"


class SignResult(StrEnum):
    """What became of one signature that was to be made."""

    OK = "ok"
    ERROR = "error"


class DnssecStatus(StrEnum):
    """How far DNSSEC vouches for a key record (RFC 4035 section 4.3; ``UNKNOWN`` where it was not evaluated)."""

    SECURE = "secure"
    INSECURE = "insecure"
    BOGUS = "bogus"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why a signature got its verdict. ``REASONS`` has the result, the words and the source of each."""

    VERIFIED = "verified"
    NO_SIGNATURE = "no-signature"
    BODY_HASH_MISMATCH = "body-hash-mismatch"
    SIGNATURE_MISMATCH = "signature-mismatch"
    TAG_LIST_SYNTAX = "tag-list-syntax"
    DUPLICATE_TAG = "duplicate-tag"
    TOO_MANY_TAGS = "too-many-tags"
    MISSING_TAG = "missing-tag"
    BAD_VERSION = "bad-version"
    BAD_BASE64 = "bad-base64"
    UNKNOWN_ALGORITHM = "unknown-algorithm"
    WEAK_ALGORITHM = "weak-algorithm"
    UNKNOWN_CANONICALIZATION = "unknown-canonicalization"
    BAD_DOMAIN = "bad-domain"
    BAD_SELECTOR = "bad-selector"
    BAD_HEADER_LIST = "bad-header-list"
    TOO_MANY_SIGNED_FIELDS = "too-many-signed-fields"
    FROM_NOT_SIGNED = "from-not-signed"
    BAD_IDENTITY = "bad-identity"
    IDENTITY_MISMATCH = "identity-mismatch"
    BAD_LENGTH = "bad-length"
    LENGTH_EXCEEDS_BODY = "length-exceeds-body"
    UNSIGNED_TAIL = "unsigned-tail"
    UNKNOWN_QUERY_METHOD = "unknown-query-method"
    BAD_TIMESTAMP = "bad-timestamp"
    FUTURE_TIMESTAMP = "future-timestamp"
    BAD_EXPIRATION = "bad-expiration"
    EXPIRED = "expired"
    NO_KEY = "no-key"
    DNS_UNAVAILABLE = "dns-unavailable"
    DNS_TIMEOUT = "dns-timeout"
    MESSAGE_TIMEOUT = "message-timeout"
    DNSSEC_BOGUS = "dnssec-bogus"
    DNS_ANSWER_TOO_LARGE = "dns-answer-too-large"
    LOOKUP_LIMIT = "lookup-limit"
    MULTIPLE_KEY_RECORDS = "multiple-key-records"
    KEY_RECORD_TOO_LARGE = "key-record-too-large"
    KEY_RECORD_SYNTAX = "key-record-syntax"
    KEY_VERSION = "key-version"
    KEY_REVOKED = "key-revoked"
    KEY_TYPE_UNKNOWN = "key-type-unknown"
    KEY_TYPE_MISMATCH = "key-type-mismatch"
    KEY_HASH_NOT_ALLOWED = "key-hash-not-allowed"
    KEY_SERVICE_MISMATCH = "key-service-mismatch"
    KEY_SUBDOMAIN_FORBIDDEN = "key-subdomain-forbidden"
    KEY_MALFORMED = "key-malformed"
    KEY_TOO_SMALL = "key-too-small"
    KEY_TOO_LARGE = "key-too-large"
    KEY_EXPONENT = "key-exponent"
    TOO_MANY_SIGNATURES = "too-many-signatures"
    TOO_MANY_HEADER_FIELDS = "too-many-header-fields"
    HEADER_TOO_LARGE = "header-too-large"
    SIGNATURE_TOO_LARGE = "signature-too-large"
    MULTIPLE_FROM = "multiple-from"
    NO_FROM = "no-from"
    HIDDEN_HEADER_NAME = "hidden-header-name"
    INTERNAL_ERROR = "internal-error"


@dataclass(frozen=True, slots=True)
class ReasonEntry:
    """One row of the table of reasons.

    Attributes:
        result: the verdict that goes with the reason, unless an option gives it another.
        text: the words in Authentication-Results and in the manual; ASCII, no quotes, no semicolon.
        source: the document that asks for it.
    """

    result: Result
    text: str
    source: str


_P = Result.PERMERROR

REASONS: Final[dict[Reason, ReasonEntry]] = {
    Reason.VERIFIED: ReasonEntry(Result.PASS, "signature verified", "RFC 6376 section 6.1.3"),
    Reason.NO_SIGNATURE: ReasonEntry(Result.NONE, "message not signed", "RFC 8601 section 2.7.1"),
    Reason.BODY_HASH_MISMATCH: ReasonEntry(Result.FAIL, "body hash did not verify", "RFC 6376 section 6.1.3"),
    Reason.SIGNATURE_MISMATCH: ReasonEntry(Result.FAIL, "signature did not verify", "RFC 6376 section 6.1.3"),
    Reason.TAG_LIST_SYNTAX: ReasonEntry(_P, "signature syntax error", "RFC 6376 section 3.2"),
    Reason.DUPLICATE_TAG: ReasonEntry(_P, "duplicate tag in signature", "RFC 6376 section 3.2"),
    Reason.TOO_MANY_TAGS: ReasonEntry(_P, "too many tags", "RFC 6376 section 8.4"),
    Reason.MISSING_TAG: ReasonEntry(_P, "signature missing required tag", "RFC 6376 section 6.1.1"),
    Reason.BAD_VERSION: ReasonEntry(_P, "incompatible version", "RFC 6376 section 6.1.1"),
    Reason.BAD_BASE64: ReasonEntry(_P, "invalid base64 in signature", "RFC 6376 section 3.5"),
    Reason.UNKNOWN_ALGORITHM: ReasonEntry(Result.NEUTRAL, "unknown signing algorithm", "RFC 6376 section 3.3.4"),
    Reason.WEAK_ALGORITHM: ReasonEntry(_P, "deprecated algorithm rsa-sha1", "RFC 8301 section 3.1"),
    Reason.UNKNOWN_CANONICALIZATION: ReasonEntry(_P, "unknown canonicalization", "RFC 6376 section 3.5"),
    Reason.BAD_DOMAIN: ReasonEntry(_P, "invalid signing domain", "RFC 6376 section 3.5"),
    Reason.BAD_SELECTOR: ReasonEntry(_P, "invalid selector", "RFC 6376 section 3.1"),
    Reason.BAD_HEADER_LIST: ReasonEntry(_P, "invalid list of signed header fields", "RFC 6376 section 3.5"),
    Reason.TOO_MANY_SIGNED_FIELDS: ReasonEntry(_P, "too many signed header fields", "RFC 6376 section 8.4"),
    Reason.FROM_NOT_SIGNED: ReasonEntry(_P, "From field not signed", "RFC 6376 section 6.1.1"),
    Reason.BAD_IDENTITY: ReasonEntry(_P, "invalid identity", "RFC 6376 section 3.5"),
    Reason.IDENTITY_MISMATCH: ReasonEntry(_P, "domain mismatch", "RFC 6376 section 6.1.1"),
    Reason.BAD_LENGTH: ReasonEntry(_P, "invalid body length", "RFC 6376 section 3.5"),
    Reason.LENGTH_EXCEEDS_BODY: ReasonEntry(_P, "signed length exceeds body", "RFC 6376 section 3.5"),
    Reason.UNSIGNED_TAIL: ReasonEntry(Result.POLICY, "unsigned text after signed body", "RFC 6376 section 8.2"),
    Reason.UNKNOWN_QUERY_METHOD: ReasonEntry(Result.NEUTRAL, "unknown query method", "RFC 6376 section 3.5"),
    Reason.BAD_TIMESTAMP: ReasonEntry(_P, "invalid timestamp", "RFC 6376 section 3.5"),
    Reason.FUTURE_TIMESTAMP: ReasonEntry(_P, "signature timestamp in the future", "RFC 6376 section 3.5"),
    Reason.BAD_EXPIRATION: ReasonEntry(_P, "invalid expiration", "RFC 6376 section 3.5"),
    Reason.EXPIRED: ReasonEntry(_P, "signature expired", "RFC 6376 section 6.1.1"),
    Reason.NO_KEY: ReasonEntry(_P, "no key for signature", "RFC 6376 section 6.1.2"),
    Reason.DNS_UNAVAILABLE: ReasonEntry(Result.TEMPERROR, "key unavailable", "RFC 6376 section 6.1.2"),
    Reason.DNS_TIMEOUT: ReasonEntry(Result.TEMPERROR, "no name server answered in time", "RFC 6376 section 6.1.2"),
    Reason.MESSAGE_TIMEOUT: ReasonEntry(
        Result.TEMPERROR, "time for the keys of the message is over", "RFC 6376 section 8.4"
    ),
    Reason.DNSSEC_BOGUS: ReasonEntry(Result.TEMPERROR, "key record failed DNSSEC validation", "RFC 4035 section 5.5"),
    Reason.DNS_ANSWER_TOO_LARGE: ReasonEntry(_P, "answer of the name server too large", "RFC 6376 section 8.4"),
    Reason.LOOKUP_LIMIT: ReasonEntry(Result.TEMPERROR, "too many look-ups under way", "RFC 6376 section 8.4"),
    Reason.MULTIPLE_KEY_RECORDS: ReasonEntry(_P, "several key records", "RFC 6376 section 3.6.2.2"),
    Reason.KEY_RECORD_TOO_LARGE: ReasonEntry(_P, "key record too large", "RFC 6376 section 8.8"),
    Reason.KEY_RECORD_SYNTAX: ReasonEntry(_P, "key syntax error", "RFC 6376 section 6.1.2"),
    Reason.KEY_VERSION: ReasonEntry(_P, "unknown key record version", "RFC 6376 section 3.6.1"),
    Reason.KEY_REVOKED: ReasonEntry(_P, "key revoked", "RFC 6376 section 6.1.2"),
    Reason.KEY_TYPE_UNKNOWN: ReasonEntry(_P, "unknown key type", "RFC 6376 section 3.6.1"),
    Reason.KEY_TYPE_MISMATCH: ReasonEntry(_P, "inappropriate key algorithm", "RFC 6376 section 6.1.2"),
    Reason.KEY_HASH_NOT_ALLOWED: ReasonEntry(_P, "inappropriate hash algorithm", "RFC 6376 section 6.1.2"),
    Reason.KEY_SERVICE_MISMATCH: ReasonEntry(_P, "key not for email", "RFC 6376 section 3.6.1"),
    Reason.KEY_SUBDOMAIN_FORBIDDEN: ReasonEntry(_P, "key forbids subdomains", "RFC 6376 section 3.6.1"),
    Reason.KEY_MALFORMED: ReasonEntry(_P, "malformed public key", "RFC 6376 section 6.1.2"),
    Reason.KEY_TOO_SMALL: ReasonEntry(
        _P, "key too small, 1024 bits is the least and 2048 advised", "RFC 8301 section 3.2"
    ),
    Reason.KEY_TOO_LARGE: ReasonEntry(_P, "key too large", "RFC 6376 section 8.4"),
    Reason.KEY_EXPONENT: ReasonEntry(_P, "unusable public exponent", "RFC 8017 section 3.1"),
    Reason.TOO_MANY_SIGNATURES: ReasonEntry(Result.POLICY, "signature not evaluated, too many", "RFC 6376 section 6.1"),
    Reason.TOO_MANY_HEADER_FIELDS: ReasonEntry(Result.POLICY, "too many header fields", "RFC 6376 section 8.4"),
    Reason.HEADER_TOO_LARGE: ReasonEntry(Result.POLICY, "message header too large", "RFC 6376 section 8.4"),
    Reason.SIGNATURE_TOO_LARGE: ReasonEntry(_P, "signature field too large", "RFC 6376 section 8.4"),
    Reason.MULTIPLE_FROM: ReasonEntry(Result.POLICY, "several From fields", "RFC 6376 section 8.15"),
    Reason.NO_FROM: ReasonEntry(_P, "no From field", "RFC 6376 section 3.8"),
    Reason.HIDDEN_HEADER_NAME: ReasonEntry(Result.NEUTRAL, "a header field name is not ASCII", "RFC 5322 section 2.2"),
    Reason.INTERNAL_ERROR: ReasonEntry(Result.TEMPERROR, "internal error", "RFC 8601 section 2.7.1"),
}


class UnsignedReason(StrEnum):
    """Why a message was not signed. ``UNSIGNED_REASONS`` has the words of each."""

    NOT_TRUSTED = "not_trusted"
    NO_RULE = "no_rule"
    NO_FROM = "no_from"
    MULTIPLE_FROM = "multiple_from"
    INVALID_FROM = "invalid_from"
    BARE_CR_OR_LF = "bare_cr_or_lf"
    LINE_TOO_LONG = "line_too_long"
    EIGHT_BIT = "eight_bit"
    HIDDEN_HEADER_NAME = "hidden_header_name"
    HEADER_TOO_LARGE = "header_too_large"
    KEY_MISSING = "key_missing"
    SIGNING_ERROR = "signing_error"
    SIGNING_OFF = "signing_off"
    OVERLOADED = "overloaded"
    CLOSING = "closing"
    INTERNAL_ERROR = "internal_error"


UNSIGNED_REASONS: Final[dict[UnsignedReason, str]] = {
    UnsignedReason.NOT_TRUSTED: "the client is not trusted by network, authentication or macro, or a required macro"
    " does not match",
    UnsignedReason.NO_RULE: "no signing rule matches the From address",
    UnsignedReason.NO_FROM: "the message has no From field",
    UnsignedReason.MULTIPLE_FROM: "the message has several From fields, or authors with different signing keys",
    UnsignedReason.INVALID_FROM: "the From field holds no usable address",
    UnsignedReason.BARE_CR_OR_LF: "the body or a signed field has a bare CR or LF, which a relay would change",
    UnsignedReason.LINE_TOO_LONG: "a line of the body or of a signed field is longer than signing.max_line; the MTA"
    " would break it",
    UnsignedReason.EIGHT_BIT: "the body has octets above 127, and signing.eight_bit is 'leave'",
    UnsignedReason.HIDDEN_HEADER_NAME: "a header field name is not ASCII, so the header could not be seen whole",
    UnsignedReason.HEADER_TOO_LARGE: "the header has more fields or octets than the limits allow",
    UnsignedReason.KEY_MISSING: "no key of the signing rule can be used; the message is deferred",
    UnsignedReason.SIGNING_ERROR: "every key that should sign failed",
    UnsignedReason.SIGNING_OFF: "no signing rule is configured",
    UnsignedReason.OVERLOADED: "the worker has more sessions than milter.max_sessions; the client is to come again",
    UnsignedReason.CLOSING: "the worker is ending and told the client to come again",
    UnsignedReason.INTERNAL_ERROR: "an internal error, see the log",
}
