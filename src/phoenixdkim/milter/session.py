"""One message, without I/O.

A session is fed what the MTA says of a message (client, envelope, header, body), says which key records it needs,
and ends with an ``Outcome``. It opens nothing, waits for nothing and knows no milter library: an engine, the
``sign`` and ``verify`` commands and the tests drive the same object.

    session = MessageSession(policy, client, now)
    session.header(name, value)        for each field, in order
    names = session.end_of_headers()   key records that will be needed
    session.body(chunk)                any number of times
    outcome = session.end_of_message(answers)

Signing or verifying. A message is signed when its client is trusted (by network, authentication or macro) and a signing
rule has keys for the author of its one From field. While none of the rule's keys can be used
(``signing.on_missing_key``), such a message is deferred. Every other message is verified. Either way, fields that
claim our name in Authentication-Results are removed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from phoenixdkim import authres
from phoenixdkim.dkim.addresses import AddressError, AddressFault, from_addresses
from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.keys import KeyAnswer
from phoenixdkim.dkim.results import Algorithm, Reason, Result, SignResult, UnsignedReason
from phoenixdkim.dkim.sign import Signer, SigningKey
from phoenixdkim.dkim.verify import Verifier, determinative
from phoenixdkim.events import Action, Stage
from phoenixdkim.milter.mta import LINE_LIMITS, Mta
from phoenixdkim.milter.outcome import DeleteField, Edit, InsertField, Outcome, SignatureMade, SmtpReply
from phoenixdkim.milter.removals import AUTHENTICATION_RESULTS, Removals
from phoenixdkim.policy import Disposition, MissingKeys, Policy

_SIGNATURE: Final = b"dkim-signature"
_READ_BEYOND: Final = 65536
"""Octets over the limit that are still kept: the limit is found by the verifier, with its reason."""
_REFUSALS: Final = {
    Disposition.TEMPFAIL: SmtpReply("451", "4.7.5", "DKIM result {result}, try again later"),
    Disposition.REJECT: SmtpReply("550", "5.7.20", "message refused by DKIM policy, result {result}"),
}

_KEY_MISSING: Final = SmtpReply("451", "4.7.5", "signing key not available, try again later")


@dataclass(frozen=True, slots=True)
class Client:
    """Who hands in the message.

    Attributes:
        address: IP address as text; None when the MTA did not tell: such a client is never trusted.
        authenticated: the client authenticated itself to the MTA.
        macros: values of the macros that the policy's conditions name; empty or absent if the MTA did not send one.
        mta: the MTA that it hands the message to.
    """

    address: str | None = None
    authenticated: bool = False
    macros: Mapping[str, str] = field(default_factory=dict)
    mta: Mta = Mta()  # noqa: RUF009 - frozen


class MessageSession:
    """One message from its first header field to its end."""

    __slots__ = (
        "_address_fault",
        "_author",
        "_authserv_id",
        "_beyond",
        "_client",
        "_cut",
        "_from",
        "_hidden",
        "_now",
        "_octets",
        "_policy",
        "_signer",
        "_unsigned",
        "_verifier",
        "fields",
        "key_names",
        "missing_keys",
        "removals",
    )

    def __init__(self, policy: Policy, client: Client, now: int) -> None:
        """Begin a message.

        Args:
            policy: stays the same to the end of the message, whatever is reloaded meanwhile.
            client: who hands it in.
            now: Unix time in seconds; all checks of t= and x= use it.
        """
        self._policy = policy
        self._client = client
        self._now = now
        self.fields: list[HeaderField] = []
        self.key_names: tuple[bytes, ...] = ()
        """DNS names of the key records that are needed; known after ``end_of_headers``."""
        self.missing_keys: tuple[str, ...] = ()
        """Names of the private keys of the author's rule, if none can be used; known after ``end_of_headers``."""
        self._octets = 0
        self._cut = False
        self._beyond = 0
        self._authserv_id = (policy.authserv_id_of_mta and client.mta.name) or policy.authserv_id
        self.removals = Removals(policy, client.address, self._authserv_id)
        """Fields that claim our name. Removed on each path, by ``end_of_message`` or by ``failed``."""
        self._from: list[bytes] = []
        self._hidden = False
        self._author = b""
        self._address_fault: AddressFault | None = None
        self._signer: Signer | None = None
        self._verifier: Verifier | None = None
        self._unsigned: UnsignedReason | None = None

    def header(self, name: bytes, value: bytes) -> None:
        """Take one header field.

        Args:
            name: as found.
            value: all after the colon, leading space and folds (CRLF and white space) included.
        """
        limits = self._policy.limits
        lowered = name.lower().rstrip(b" \t")
        self._octets += len(name) + len(value) + 3
        beyond = len(self.fields) > limits.max_header_fields or self._octets > limits.max_header_octets + _READ_BEYOND
        if lowered == AUTHENTICATION_RESULTS:
            self.removals.field(name, value, read=not beyond)
        if beyond:
            self._cut = True
            if lowered != _SIGNATURE or self._beyond >= limits.max_signatures:
                return
            # A few signatures are kept all the same: that the message has them is told, with the limit as the reason.
            self._beyond += 1
            value = value[: limits.max_signature_octets + 1]
        self.fields.append(HeaderField(name, value))
        if lowered == b"from":
            self._from.append(value)
        elif not lowered.isascii():
            self._hidden = True

    def hidden_header(self) -> None:
        """Note a field whose name could not be had: one that is no UTF-8 never gets past pymilter.

        Field names are ASCII (RFC 5322 section 2.2, which RFC 6532 leaves as it is), so a name in UTF-8, which can be
        had, counts the same. No h= can name either, but a reader that takes ``From`` and an invisible character for
        From would show what nobody signed.
        """
        self._hidden = True

    @property
    def _too_large(self) -> bool:
        limits = self._policy.limits
        return len(self.fields) > limits.max_header_fields or self._octets > limits.max_header_octets

    def end_of_headers(self) -> tuple[bytes, ...]:
        """Decide what to do; returns the DNS names of the key records that are needed."""
        policy = self._policy
        keys = self._signing_keys()
        if keys:
            max_line = LINE_LIMITS[self._client.mta.kind] if policy.max_line is None else policy.max_line
            self._signer = Signer(self.fields, keys, policy.sign_options, self._now, max_line)
            return ()
        if self.missing_keys or not policy.verifying:
            return ()
        self._verifier = Verifier(
            self.fields,
            policy.limits,
            self._now,
            length_policy=policy.length_policy,
            from_policy=policy.from_policy,
            hidden_name=self._hidden,
            cut_short=self._cut,
        )
        self.key_names = self._verifier.key_names
        return self.key_names

    def _signing_keys(self) -> tuple[SigningKey, ...]:
        policy = self._policy
        if not policy.signing:
            self._unsigned = UnsignedReason.SIGNING_OFF
        elif not policy.trusted(self._client.address, self._client.authenticated, self._client.macros):
            self._unsigned = UnsignedReason.NOT_TRUSTED
        elif self._hidden:
            self._unsigned = UnsignedReason.HIDDEN_HEADER_NAME
        elif self._too_large:
            self._unsigned = UnsignedReason.HEADER_TOO_LARGE
        elif not self._from:
            self._unsigned = UnsignedReason.NO_FROM
        elif len(self._from) > 1:
            self._unsigned = UnsignedReason.MULTIPLE_FROM
        else:
            return self._author_keys(self._from[0])
        return ()

    def _author_keys(self, value: bytes) -> tuple[SigningKey, ...]:
        try:
            authors = from_addresses(value)
        except AddressError as error:
            self._unsigned = UnsignedReason.INVALID_FROM
            self._address_fault = error.fault
            return ()
        self._author = authors[0]
        keys = self._policy.keys_for(authors[0])
        # Several authors are fine where one domain's keys speak for all of them.
        if any(self._policy.keys_for(author) != keys for author in authors[1:]):
            self._unsigned = UnsignedReason.MULTIPLE_FROM
            return ()
        if isinstance(keys, MissingKeys):
            self._unsigned = UnsignedReason.KEY_MISSING
            self.missing_keys = keys.names
            return ()
        if not keys:
            self._unsigned = UnsignedReason.NO_RULE
        return keys

    @property
    def needs_body(self) -> bool:
        """Whether the body makes a difference; valid after ``end_of_headers``."""
        return self._signer is not None or (self._verifier is not None and self._verifier.needs_body)

    def body(self, chunk: bytes) -> None:
        """Take a piece of the body, of any size."""
        if self._signer is not None:
            self._signer.body(chunk)
        elif self._verifier is not None and self._verifier.needs_body:
            self._verifier.body(chunk)

    @property
    def doubtful(self) -> tuple[bytes, ...]:
        """After ``end_of_message``: names of keys that may have been replaced since they were looked up.

        With newer answers for them, the message may be ended once more.
        """
        return () if self._verifier is None else self._verifier.doubtful

    def end_of_message(self, answers: Mapping[bytes, KeyAnswer]) -> Outcome:
        """Finish. A message that is verified may be ended again with other answers.

        Args:
            answers: for each name that ``end_of_headers`` returned.
        """
        if self._signer is not None:
            outcome = self._signed(self._signer)
        elif self._verifier is not None:
            outcome = self._verified(self._verifier, answers)
        elif self.missing_keys:
            domain = _domain(self._author)
            return Outcome(
                Action.PASS, Disposition.TEMPFAIL, unsigned=self._unsigned, domain=domain, reply=_KEY_MISSING
            )
        else:
            outcome = Outcome(Action.PASS, unsigned=self._unsigned, domain=_domain(self._author))
        return dataclasses.replace(
            outcome, edits=(*self.removals.edits, *outcome.edits), address_fault=self._address_fault
        )

    def _signed(self, signer: Signer) -> Outcome:
        made = signer.finish()
        domain = _domain(self._author)
        if signer.bare_cr_or_lf:
            return Outcome(Action.PASS, unsigned=UnsignedReason.BARE_CR_OR_LF, domain=domain)
        if signer.long_line:
            return Outcome(Action.PASS, unsigned=UnsignedReason.LINE_TOO_LONG, domain=domain)
        if signer.eight_bit:
            return Outcome(Action.PASS, unsigned=UnsignedReason.EIGHT_BIT, domain=domain)
        edits: list[Edit] = []
        signatures = []
        algorithm: Algorithm | None = None
        # The first key's signature ends on top: each is inserted above those before it.
        for key, value in reversed(made):
            result = SignResult.ERROR if value is None else SignResult.OK
            signatures.append(SignatureMade(key.domain, key.selector, key.algorithm, result))
            if value is not None:
                edits.append(InsertField(b"DKIM-Signature", value))
                algorithm = key.algorithm
        if not edits:
            return Outcome(
                Action.ERROR,
                self._policy.on_internal_error,
                signatures=tuple(signatures),
                unsigned=UnsignedReason.SIGNING_ERROR,
                domain=domain,
                stage=Stage.END_OF_MESSAGE,
            )
        return Outcome(
            Action.SIGN, edits=tuple(edits), signatures=tuple(signatures), domain=domain, algorithm=algorithm
        )

    def _verified(self, verifier: Verifier, answers: Mapping[bytes, KeyAnswer]) -> Outcome:
        policy = self._policy
        verdicts = verifier.finish(answers)
        chosen = determinative(verdicts)
        result = Result.NONE if chosen is None else chosen.result
        reason = Reason.NO_SIGNATURE if chosen is None else chosen.reason
        edits: list[Edit] = []
        if verdicts or policy.add_none:
            edits.append(InsertField(b"Authentication-Results", authres.build(self._authserv_id, verdicts)))
        disposition = policy.disposition(result)
        if chosen is not None and chosen.testing and result is not Result.PASS:
            # RFC 6376 section 3.6.1, t=y: a failing signature of a domain that tests is treated as no signature.
            disposition = policy.disposition(Result.NONE)
        reply = _REFUSALS.get(disposition)
        return Outcome(
            Action.VERIFY,
            disposition,
            tuple(edits),
            verdicts=verdicts,
            result=result,
            reason=reason,
            unsigned=self._unsigned,
            domain=b"" if chosen is None else chosen.domain,
            algorithm=None if chosen is None else chosen.algorithm,
            reply=None if reply is None else SmtpReply(reply.code, reply.enhanced, reply.text.format(result=result)),
        )


def failed(stage: Stage, disposition: Disposition, removals: tuple[DeleteField, ...] | None) -> Outcome:
    """Return the outcome of a message in which an internal error occurred.

    Args:
        stage: where it occurred.
        disposition: the configured one.
        removals: fields that must be removed if the message is accepted; None if not all of its header was read. Such
            a message is deferred instead of accepted, as it may carry fields that claim our name.
    """
    if disposition is Disposition.ACCEPT and removals is None:
        disposition = Disposition.TEMPFAIL
    reply = None
    if disposition is Disposition.TEMPFAIL:
        reply = SmtpReply("451", "4.3.0", "internal DKIM error, try again later")
    elif disposition is Disposition.REJECT:
        reply = SmtpReply("554", "5.3.0", "internal DKIM error")
    return Outcome(
        Action.ERROR,
        disposition,
        removals or () if disposition is Disposition.ACCEPT else (),
        reason=Reason.INTERNAL_ERROR,
        unsigned=UnsignedReason.INTERNAL_ERROR,
        reply=reply,
        stage=stage,
    )


def refused(unsigned: UnsignedReason) -> Outcome:
    """The outcome of a message that a closing or overloaded worker does not take."""
    text = "too many sessions" if unsigned is UnsignedReason.OVERLOADED else "service is restarting"
    return Outcome(
        Action.PASS,
        Disposition.TEMPFAIL,
        unsigned=unsigned,
        reply=SmtpReply("421", "4.3.2", f"{text}, try again later"),
    )


def _domain(author: bytes) -> bytes:
    return author.rpartition(b"@")[2]
