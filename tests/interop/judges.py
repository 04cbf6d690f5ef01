"""Judges: dkimpy, Mail::DKIM and mailauth, that verify and sign; each asked for one message at a time.

``opendkim`` has the fourth. A judge that is not installed raises OSError or PeerError: nothing is skipped.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from interop.conversation import Conversation
from interop.messages import Case
from interop.peers import KeyPair

with warnings.catch_warnings():
    # dkimpy's source has invalid escapes.
    warnings.simplefilter("ignore")
    import dkim

# It logs each fault that it also tells by its answer.
logging.getLogger("dkimpy").setLevel(logging.CRITICAL)

HERE: Final = Path(__file__).parent
NODE: Final = HERE.parents[1] / ".tools" / "node"
"""Where scripts/setup installs what comes from npm."""

Records = Mapping[str, Sequence[bytes]]
"""TXT records by name, the strings of each joined."""


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one signature. ``selector`` is empty where it can't be told."""

    selector: bytes
    algorithm: bytes
    passed: bool
    detail: str = ""


class Judge(Protocol):
    """An implementation of DKIM that verifies."""

    name: str

    def verify(self, message: bytes, records: Records, now: int) -> list[Verdict]:
        """A verdict for each signature that it sees; one without selector when it gives up on the message."""


class OtherSigner(Protocol):
    """An implementation of DKIM that signs."""

    name: str

    def sign(self, case: Case, key: KeyPair, now: int) -> bytes:
        """One DKIM-Signature field, final CRLF included.

        Raises:
            SigningError: it can't sign the message.
        """


class SigningError(Exception):
    """Another implementation did not sign."""


def signed_names(case: Case) -> list[bytes]:
    """Names for h=: each field that is there, and From once more."""
    return [field.lname for field in case.covered] + [b"from"]


class Dkimpy:
    """dkimpy, in this process."""

    name = "dkimpy"

    def verify(self, message: bytes, records: Records, now: int) -> list[Verdict]:
        try:
            fields = dkim.rfc822_parse(message)[0]
        except (dkim.DKIMException, IndexError) as error:
            return [Verdict(b"", b"", False, str(error))]
        values = [value for name, value in fields if name.lower() == b"dkim-signature"]
        return [self._one(message, index, value, records) for index, value in enumerate(values)]

    def _one(self, message: bytes, index: int, value: bytes, records: Records) -> Verdict:
        def txt(name: bytes, timeout: float = 5) -> bytes | None:
            found = records.get(name.rstrip(b".").decode("latin-1").lower())
            return found[0] if found else None

        tags: dict[bytes, bytes] = {}
        with contextlib.suppress(dkim.util.InvalidTagValueList):
            tags = dkim.util.parse_tag_value(value)
        detail, passed = "", False
        try:
            passed = bool(dkim.DKIM(message).verify(idx=index, dnsfunc=txt))
        except Exception as error:
            # Of hostile input it raises much else than DKIMException.
            detail = repr(error)
        return Verdict(tags.get(b"s", b"").strip(), tags.get(b"a", b"").strip().lower(), passed, detail)

    def sign(self, case: Case, key: KeyPair, now: int) -> bytes:
        try:
            field: bytes = dkim.sign(
                case.raw,
                key.selector.encode(),
                key.domain.encode(),
                key.dkimpy_key(),
                identity=case.identity or None,
                canonicalize=(case.header_canon.encode(), case.body_canon.encode()),
                signature_algorithm=key.algorithm.encode(),
                include_headers=signed_names(case),
            )
        except dkim.DKIMException as error:
            raise SigningError(str(error)) from error
        return field


class _InAProcess:
    """A judge that a script stands for."""

    name = ""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def verify(self, message: bytes, records: Records, now: int) -> list[Verdict]:
        question = [("message", message), ("time", b"%d" % now)]
        question += [("record", name.encode() + b" " + record) for name, of in records.items() for record in of]
        answer = self._conversation.ask(question)
        if "error" in answer:
            return [Verdict(b"", b"", False, answer["error"])]
        return [
            Verdict(
                base64.b64decode(row["selector"]),
                base64.b64decode(row["algorithm"]).lower(),
                bool(row["passed"]),
                row["detail"],
            )
            for row in answer["answer"]
        ]

    def sign(self, case: Case, key: KeyPair, now: int) -> bytes:
        question = [
            ("sign", b"1"),
            ("message", case.raw),
            ("canonicalization", f"{case.header_canon}/{case.body_canon}".encode()),
            ("algorithm", key.algorithm.encode()),
            ("domain", key.domain.encode()),
            ("selector", key.selector.encode()),
            ("names", b":".join(signed_names(case))),
            ("identity", case.identity),
            ("time", b"%d" % now),
            ("expires", b"" if case.ttl is None else b"%d" % (now + case.ttl)),
            ("key", self._key(key)),
        ]
        answer = self._conversation.ask(question)
        if "error" in answer:
            raise SigningError(answer["error"])
        return base64.b64decode(answer["answer"])

    def _key(self, key: KeyPair) -> bytes:
        return key.pem


class MailDkim(_InAProcess):
    """Debian's Mail::DKIM."""

    name = "Mail::DKIM"

    def _key(self, key: KeyPair) -> bytes:
        # The base64 of PKCS #1 alone.
        return b"".join(key.dkimpy_key().splitlines()[1:-1])


class Mailauth(_InAProcess):
    """npm's mailauth."""

    name = "mailauth"


@contextmanager
def mail_dkim() -> Iterator[MailDkim]:
    with Conversation(["perl", str(HERE / "mail_dkim.pl")]) as conversation:
        yield MailDkim(conversation)


@contextmanager
def mailauth() -> Iterator[Mailauth]:
    with Conversation(["node", str(HERE / "mailauth.js")], cwd=NODE) as conversation:
        yield Mailauth(conversation)
