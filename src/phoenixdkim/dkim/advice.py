"""What to do about each reason: the next step, for the manual and for ``phoenixdkim verify --json``."""

from __future__ import annotations

from typing import Final

from phoenixdkim.dkim.results import Reason, UnsignedReason

_SIGNER: Final = "The signer's software makes it; tell the postmaster of the signing domain."
_RECORD: Final = "The signing domain's key record has to be corrected; tell its postmaster."
_CLOCKS: Final = "Compare the clocks of both hosts; limits.clock_drift allows for a difference."
_LIMIT: Final = "No honest mail is known to need more; raise {} if yours does."

ADVICE: Final[dict[Reason, str]] = {
    Reason.VERIFIED: "Nothing.",
    Reason.NO_SIGNATURE: "Nothing; if it should have been signed, look into the sender's log for unsigned=.",
    Reason.BODY_HASH_MISMATCH: "Something between signer and here changed the body: a mailing list, a disclaimer, a"
    " content filter, a relay that breaks long lines. Sign after the last of them.",
    Reason.SIGNATURE_MISMATCH: "A signed header field was changed on the way, or the published key is another than the"
    " one that signed. Compare the key record with the private key.",
    Reason.TAG_LIST_SYNTAX: _SIGNER,
    Reason.DUPLICATE_TAG: _SIGNER,
    Reason.TOO_MANY_TAGS: _LIMIT.format("limits.max_tags"),
    Reason.MISSING_TAG: _SIGNER,
    Reason.BAD_VERSION: _SIGNER,
    Reason.BAD_BASE64: _SIGNER,
    Reason.UNKNOWN_ALGORITHM: "Nothing: a signature of an algorithm that is not known here counts as none.",
    Reason.WEAK_ALGORITHM: "The signer has to use rsa-sha256 or ed25519-sha256; no option accepts rsa-sha1.",
    Reason.UNKNOWN_CANONICALIZATION: _SIGNER,
    Reason.BAD_DOMAIN: _SIGNER,
    Reason.BAD_SELECTOR: _SIGNER,
    Reason.BAD_HEADER_LIST: _SIGNER,
    Reason.TOO_MANY_SIGNED_FIELDS: _LIMIT.format("limits.max_signed_fields"),
    Reason.FROM_NOT_SIGNED: "Somebody can put any author above such a signature; the signer has to name From in h=.",
    Reason.BAD_IDENTITY: _SIGNER,
    Reason.IDENTITY_MISMATCH: "The signer's identity (i=) must lie in the signing domain (d=).",
    Reason.BAD_LENGTH: _SIGNER,
    Reason.LENGTH_EXCEEDS_BODY: "The body was cut short on the way, or l= is wrong.",
    Reason.UNSIGNED_TAIL: "Text was added after the part of the body that is signed. verifying.length_policy says what"
    " that is worth; the signer should leave out l=.",
    Reason.UNKNOWN_QUERY_METHOD: "Nothing: a signature whose key can't be asked for counts as none.",
    Reason.BAD_TIMESTAMP: _SIGNER,
    Reason.FUTURE_TIMESTAMP: _CLOCKS,
    Reason.BAD_EXPIRATION: _SIGNER,
    Reason.EXPIRED: "The message was long on its way, is sent again by somebody, or a clock is wrong. " + _CLOCKS,
    Reason.NO_KEY: "The selector has no key record in DNS: not published yet, mistyped, or removed too soon.",
    Reason.DNS_UNAVAILABLE: "Ask your name servers for the key's name; if they fail for others too, mend them.",
    Reason.DNS_TIMEOUT: "Look at phoenixdkim_dns_duration_seconds, and at dns.query_timeout and the name servers.",
    Reason.MESSAGE_TIMEOUT: "The keys of the message took longer than dns.message_timeout; see how fast your name"
    " servers are.",
    Reason.DNSSEC_BOGUS: "The name server validates, and the signing domain's DNSSEC signatures are wrong or too old:"
    " the domain has to mend them. If it is so for every domain, the name server's clock or trust anchor is wrong.",
    Reason.DNS_ANSWER_TOO_LARGE: "Look at what is published at the key's name; a key record has no need of so much.",
    Reason.LOOKUP_LIMIT: "The name servers are slow or many messages came at once; see dns.max_concurrent.",
    Reason.MULTIPLE_KEY_RECORDS: "The signing domain has to remove all but one TXT record at the key's name.",
    Reason.KEY_RECORD_TOO_LARGE: _LIMIT.format("limits.max_key_record_octets"),
    Reason.KEY_RECORD_SYNTAX: _RECORD,
    Reason.KEY_VERSION: _RECORD,
    Reason.KEY_REVOKED: "The signing domain withdrew the key; what it signed is not to be believed any more.",
    Reason.KEY_TYPE_UNKNOWN: _RECORD,
    Reason.KEY_TYPE_MISMATCH: "The selector's key is of another kind than a= says: a selector for each key.",
    Reason.KEY_HASH_NOT_ALLOWED: "The key record's h= leaves out sha256; the signing domain has to add it.",
    Reason.KEY_SERVICE_MISMATCH: "The key record's s= leaves out email; the signing domain has to add it.",
    Reason.KEY_SUBDOMAIN_FORBIDDEN: "The key record has t=s; the signer has to use the signing domain itself in i=.",
    Reason.KEY_MALFORMED: "The published key was damaged, often cut at 255 characters when it was entered in DNS.",
    Reason.KEY_TOO_SMALL: "The signing domain has to make a key of 2048 bits; a smaller one can be broken.",
    Reason.KEY_TOO_LARGE: "Keys above limits.max_rsa_bits cost too much to compute with; 2048 bits are advised.",
    Reason.KEY_EXPONENT: "The signing domain has to make another key; 65537 is the usual public exponent.",
    Reason.TOO_MANY_SIGNATURES: _LIMIT.format("limits.max_signatures"),
    Reason.TOO_MANY_HEADER_FIELDS: _LIMIT.format("limits.max_header_fields"),
    Reason.HEADER_TOO_LARGE: _LIMIT.format("limits.max_header_octets"),
    Reason.SIGNATURE_TOO_LARGE: _LIMIT.format("limits.max_signature_octets"),
    Reason.MULTIPLE_FROM: "No honest program writes several From fields, and readers may show any of them;"
    " verifying.multiple_from says what that is worth.",
    Reason.NO_FROM: "The message is no proper one; its sender's program has to write a From field.",
    Reason.HIDDEN_HEADER_NAME: "No honest program writes a field name that is not ASCII; some may take it for another.",
    Reason.INTERNAL_ERROR: "Look for 'internal error' in the log, and report it with the message if you can.",
}

UNSIGNED_ADVICE: Final[dict[UnsignedReason, str]] = {
    UnsignedReason.NOT_TRUSTED: "Right for incoming mail. If it is yours: add the client's network to signing.trusted"
    " or the MTA's service to signing.trusted_macros, or let it authenticate; look at signing.required_macros.",
    UnsignedReason.NO_RULE: "Add a rule to signing.rules whose from matches the author's address.",
    UnsignedReason.NO_FROM: "The program that sends it has to write a From field.",
    UnsignedReason.MULTIPLE_FROM: "The program that sends it has to write one From field, with authors of one domain.",
    UnsignedReason.INVALID_FROM: "The summary line has the fault (`from=`); the sending program must write an address"
    " of the form 'Name <user@example.com>' into From.",
    UnsignedReason.BARE_CR_OR_LF: "The program that sends it has to end lines with CR and LF.",
    UnsignedReason.LINE_TOO_LONG: "The sending program must keep lines at 998 octets or less, or encode the body; if"
    " the MTA passes longer lines on, raise signing.max_line.",
    UnsignedReason.EIGHT_BIT: "The program that sends it has to encode the body; or set signing.eight_bit to sign.",
    UnsignedReason.HIDDEN_HEADER_NAME: "The program that sends it has to use ASCII in names of header fields.",
    UnsignedReason.HEADER_TOO_LARGE: "Raise limits.max_header_fields or limits.max_header_octets if it is honest mail.",
    UnsignedReason.KEY_MISSING: "Run phoenixdkim check, which names the key, its file and the error; correct it and"
    " reload. Only with signing.on_missing_key 'tempfail'.",
    UnsignedReason.SIGNING_ERROR: "Look into the log, and run phoenixdkim check.",
    UnsignedReason.SIGNING_OFF: "Add signing.rules if this host is to sign.",
    UnsignedReason.OVERLOADED: "Add workers (milter.workers) or raise milter.max_sessions.",
    UnsignedReason.CLOSING: "Nothing: the client comes again.",
    UnsignedReason.INTERNAL_ERROR: "Look for 'internal error' in the log, and report it with the message if you can.",
}
