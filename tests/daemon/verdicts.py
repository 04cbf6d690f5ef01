"""Mail of every kind, and whether each answer is the one that it gets when nothing else is there."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

from daemon.house import BODY, FIELDS, House
from phoenixdkim.testing.milter_client import MilterClient
from phoenixdkim.testing.milter_protocol import Field, Reply, apply

Answer = tuple[str, bytes, tuple[tuple[str, bytes, bytes], ...]]
# What differs between two signatures of one message: when it was made, and what follows from it.
_VARIES = re.compile(rb"\b(t|b)=[0-9A-Za-z+/=\s]*")
OUTSIDE = "192.0.2.1"


def answer(reply: Reply) -> Answer:
    """What the MTA is told, without what differs each time."""
    changes = tuple(
        (
            str(change.change),
            change.name,
            _VARIES.sub(b"", change.value) if change.name == b"DKIM-Signature" else change.value,
        )
        for change in reply.modifications
    )
    return str(reply.disposition), reply.smtp, changes


class Mail:
    """Messages to sign, to verify with each kind of result, and to let pass; the answers to them when all was well."""

    def __init__(self, house: House) -> None:
        """Ask a house for the answers; it should have no exporters."""
        signed = apply(house.send(), FIELDS)
        other = [(b"From", b" x@example.org"), *FIELDS[1:]]
        broken = [(b"DKIM-Signature", b" v=1; a=rsa-sha256; d=example.com"), *FIELDS]
        unknown = [
            (name, value.replace(b"s=", b"s=not-there-")) if name == b"DKIM-Signature" else (name, value)
            for name, value in signed
        ]
        self.messages: list[tuple[Sequence[Field], bytes, str]] = [
            (FIELDS, BODY, "127.0.0.1"),
            (other, BODY, "127.0.0.1"),
            (signed, BODY, OUTSIDE),
            (signed, b"changed\r\n", OUTSIDE),
            (FIELDS, BODY, OUTSIDE),
            (broken, BODY, OUTSIDE),
            (unknown, BODY, OUTSIDE),
        ]
        self.expected = []
        for message in self.messages:
            with house.client() as client:
                self.expected.append(answer(self.send(client, message)))

    @staticmethod
    def send(client: MilterClient, message: tuple[Sequence[Field], bytes, str]) -> Reply:
        """Send one."""
        fields, body, address = message
        return client.send_message(fields, body, client_address=address)


class Verdicts:
    """Sends messages of all kinds in threads, and keeps the answers that were others than expected."""

    def __init__(self, house: House, mail: Mail, messages: int | None, threads: int = 4) -> None:
        self.sent = 0
        self.changed: list[str] = []
        self._house, self._mail, self._left = house, mail, messages
        self._ending = False
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        """Whether messages are still sent."""
        return any(thread.is_alive() for thread in self._threads)

    def end(self) -> None:
        """Send no more; returns when the last answer is there."""
        self._ending = True
        self.join()

    def join(self) -> None:
        """Wait until all are sent."""
        for thread in self._threads:
            thread.join(1800)
            assert not thread.is_alive()

    def _take(self) -> bool:
        with self._lock:
            if self._left is not None:
                self._left -= 1
                return self._left >= 0
            return not self._ending

    def _run(self, number: int) -> None:
        kind = number
        while True:
            # The client's address belongs to the connection: one of each kind, for a few messages.
            kind = (kind + 1) % len(self._mail.messages)
            try:
                with self._house.client() as client:
                    for _ in range(10):
                        if not self._take():
                            return
                        found = answer(self._mail.send(client, self._mail.messages[kind]))
                        with self._lock:
                            self.sent += 1
                            if found != self._mail.expected[kind]:
                                self.changed.append(f"{found} instead of {self._mail.expected[kind]}")
            except OSError as error:
                with self._lock:
                    self.changed.append(repr(error))
                return
