"""Why each bound on work is there, and the reason that tells it was reached. The limits page is made of this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from phoenixdkim.dkim.results import Reason, UnsignedReason


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound.

    Attributes:
        reasons: what a message over it is told; no other bound or fault has them.
        why: why it is there, and why its default is what it is.
    """

    reasons: tuple[Reason | UnsignedReason, ...]
    why: str


BOUNDS: Final[Mapping[str, Bound]] = {
    "limits.max_signatures": Bound(
        (Reason.TOO_MANY_SIGNATURES,),
        "Each signature costs a look-up and a verification (RFC 6376 section 6.1 lets a verifier limit them)."
        " Real mail has one to five.",
    ),
    "limits.max_header_fields": Bound(
        (Reason.TOO_MANY_HEADER_FIELDS,),
        "Each field is kept until the header has ended. Long routes and lists stay under 200.",
    ),
    "limits.max_header_octets": Bound(
        (Reason.HEADER_TOO_LARGE,),
        "The header is kept in memory, the body never is. Postfix cuts a single field at 102,400.",
    ),
    "limits.max_signature_octets": Bound(
        (Reason.SIGNATURE_TOO_LARGE,),
        "A signature is taken apart in several passes. One with 4,096 bits and a long h= has 2,000 octets.",
    ),
    "limits.max_tags": Bound((Reason.TOO_MANY_TAGS,), "Each tag costs an entry and a comparison. Fifteen are defined."),
    "limits.max_signed_fields": Bound(
        (Reason.TOO_MANY_SIGNED_FIELDS,),
        "Each name in h= is looked up in the header, and what it finds is hashed: names times fields is the cost.",
    ),
    "limits.max_key_records": Bound(
        (Reason.MULTIPLE_KEY_RECORDS,),
        "Each record at the name is read, and each key of the right type may be tried. There should be one.",
    ),
    "limits.max_key_record_octets": Bound(
        (Reason.KEY_RECORD_TOO_LARGE,),
        "Whoever signs chooses what we decode. A 8,192-bit RSA key has 1,400 octets in base64.",
    ),
    "limits.min_rsa_bits": Bound(
        (Reason.KEY_TOO_SMALL,),
        "A 512-bit key is broken for a few dollars; RFC 8301 section 3.2 refuses less than 1,024 and advises 2,048.",
    ),
    "limits.max_rsa_bits": Bound(
        (Reason.KEY_TOO_LARGE,),
        "The cost of a verification grows with the square of the bits at least. RFC 8301 asks for up to 4,096.",
    ),
    "limits.max_exponent_bits": Bound(
        (Reason.KEY_EXPONENT,), "The cost grows with each bit of the exponent. Nearly all keys have 65537, of 17."
    ),
    "limits.clock_drift": Bound(
        (Reason.FUTURE_TIMESTAMP, Reason.EXPIRED), "Clocks differ; mail is delivered within minutes of its signature."
    ),
    "dns.query_timeout": Bound(
        (Reason.DNS_TIMEOUT,), "A server that is dead must leave time for the next one. Healthy ones take 0.1 s."
    ),
    "dns.message_timeout": Bound(
        (Reason.MESSAGE_TIMEOUT,),
        "Whatever a message brings, its client waits no longer; MTAs wait 300 s for a filter, clients 600 s.",
    ),
    "dns.max_answer_octets": Bound(
        (Reason.DNS_ANSWER_TOO_LARGE,),
        "An answer over TCP may have 65,535 octets; parsing as many that are made to hurt takes more than a second of"
        " processor time. One that is larger, or has more than 100 records, is not parsed. Asked for again it would be"
        " as large, so this is no temporary error. A key with aliases has less than 4,000.",
    ),
    "dns.max_concurrent": Bound(
        (Reason.LOOKUP_LIMIT,), "Each question takes a thread and a socket, and strangers decide how many there are."
    ),
    "milter.max_sessions": Bound(
        (UnsignedReason.OVERLOADED,),
        "libmilter takes a thread for each session that waits, without a limit of its own.",
    ),
}
