"""Mail over several connections to a real Postfix, outgoing and incoming, retried until it is accepted."""

from __future__ import annotations

import smtplib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from integration.postfix import OUTSIDE, Postfix, submit_over

FORGED: Final = (
    b"Authentication-Results: mx.example; dkim=pass header.d=forged.example\r\n",
    b"Authentication-Results: =?utf-8?q?mx=2Eexample?=; dkim=pass header.d=forged.example\r\n",
    b"authentication-results: (x) MX.Example 1;\r\n\tdkim=pass header.d=forged.example\r\n",
)
HEADER: Final = b"From: Ann <ann@%s>\r\nTo: b@example.net\r\nSubject: chaos\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n"


@dataclass
class Sent:
    """What became of the messages.

    Attributes:
        accepted: number of each message that Postfix took, and how often.
        deferred: how often a message was deferred.
        refused: answers that are neither.
    """

    accepted: Counter[int] = field(default_factory=Counter)
    deferred: int = 0
    refused: list[object] = field(default_factory=list)


def is_outgoing(number: int) -> bool:
    """Two messages of three are outgoing."""
    return number % 3 != 2


class Traffic:
    """Threads with a connection each, until ``close``; a deferred message is sent again until it is accepted.

    Args:
        mta: where to.
        incoming: signed messages of another site, one is sent after the other.
        connections: how many at a time.
    """

    def __init__(self, mta: Postfix, incoming: bytes, connections: int = 10) -> None:
        self.sent = Sent()
        self._mta = mta
        self._incoming = incoming
        self._ending = threading.Event()
        self._next = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(connections)]
        for thread in self._threads:
            thread.start()

    def close(self, patience: float) -> None:
        """Send no new message; wait until each one that was begun is accepted."""
        self._ending.set()
        for thread in self._threads:
            thread.join(patience)
            assert not thread.is_alive(), f"still deferred: {self.sent.deferred} times; {self._mta.explain()}"

    def _message(self, number: int) -> bytes:
        forged = FORGED[number % len(FORGED)]
        mark = b"X-Number: %d\r\n" % number
        if is_outgoing(number):
            return forged + mark + HEADER % b"example.com" + b"\r\nout %d\r\n" % number
        return forged + mark + self._incoming

    def _run(self) -> None:
        smtp: smtplib.SMTP | None = None
        count = 0
        while not self._ending.is_set():
            with self._lock:
                number = self._next
                self._next += 1
            accepted = False
            while not accepted:
                try:
                    if smtp is None:
                        smtp = self._mta.connection(trusted=is_outgoing(number))
                        trusted, count = is_outgoing(number), 0
                    if trusted is not is_outgoing(number) or count >= 5:
                        smtp.quit()
                        smtp = None
                        continue
                    count += 1
                    sender = "ann@example.com" if trusted else "ann@example.org"
                    answer = submit_over(smtp, self._message(number), sender, ["b@example.net"])
                except (smtplib.SMTPException, OSError) as error:
                    with self._lock:
                        self.sent.refused.append(error)
                    smtp = None
                    continue
                with self._lock:
                    if answer.accepted:
                        accepted = True
                        self.sent.accepted[number] += 1
                        continue
                    self.sent.deferred += 1
                    if not 400 <= answer.code < 500:
                        self.sent.refused.append(answer)
                smtp.close()
                smtp = None
                time.sleep(0.05)
        if smtp is not None:
            smtp.close()


__all__ = ["FORGED", "OUTSIDE", "Sent", "Traffic", "is_outgoing"]
