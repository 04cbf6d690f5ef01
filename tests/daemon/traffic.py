"""One of everything: messages and DNS answers that make every label value that mail can make."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import dns.rcode

from daemon.house import BODY, FIELDS, House
from daemon.truth import truth
from interop.peers import KeyPair
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.metrics import Snapshot
from phoenixdkim.testing.dns_server import Behaviour, Fault, ScriptedDnsServer, txt
from phoenixdkim.testing.milter_protocol import Reply
from signed_mail import MESSAGE, ed_key, rsa_key, signed, zone

RSA, ED = rsa_key(), ed_key()
GOOD = signed(MESSAGE, [RSA, ED])
BOGUS = 6
"""Info-code of RFC 8914 for an answer that DNSSEC proves wrong."""
DNS = """\
nameservers = ["{address}"]
query_timeout = 0.1
message_timeout = 0.4
failure_ttl = 0
dnssec_probe = "signed.example."
"""
ED_RULE = """\
[[signing.rules]]
from = "*@ed.example"
keys = ["ed"]
[keys.ed]
domain = "ed.example"
selector = "ed"
file = "{file}"
"""


@dataclass(frozen=True)
class Letter:
    """One message, and how often it comes in a round."""

    fields: list[tuple[bytes, bytes]]
    body: bytes
    client: str = "203.0.113.9"
    times: int = 1


def letter(raw: bytes, times: int = 1) -> Letter:
    fields, body = parse_message(raw)
    return Letter([(field.name, field.value) for field in fields], body, times=times)


def _of(selector: bytes) -> bytes:
    """A message signed by another selector: what becomes of it is decided when its key is looked up."""
    return signed(MESSAGE, [rsa_key(selector=selector)])


LETTERS = {
    "sign rsa": Letter(FIELDS, BODY, "127.0.0.1", 12),
    "sign ed25519": Letter([(b"From", b" a@ed.example"), *FIELDS[1:]], BODY, "127.0.0.1", 4),
    "no rule": Letter([(b"From", b" a@example.org"), *FIELDS[1:]], BODY, "127.0.0.1", 2),
    "bare line feed": Letter(FIELDS, b"one\ntwo\r\n", "127.0.0.1"),
    "pass": letter(GOOD, 9),
    "fail": letter(GOOD + b"more\r\n", 2),
    "none": letter(MESSAGE, 3),
    "policy": letter(b"From: second@example.com\r\n" + GOOD),
    "neutral": letter(GOOD.replace(b"a=rsa-sha256", b"a=rsa-sha512").replace(b"a=ed25519-sha256", b"a=ed448")),
    "weak": letter(_of(b"r").replace(b"a=rsa-sha256", b"a=rsa-sha1")),
    "no key": letter(_of(b"absent")),
    "refused": letter(_of(b"refused")),
    "silent": letter(_of(b"silent")),
    "bogus": letter(_of(b"bogus")),
    "secure": letter(_of(b"secure"), 2),
}


def _script(server: ScriptedDnsServer) -> None:
    record = txt(*zone(RSA).popitem()[1])
    # Kept for no time: each message asks the network, at its own pace.
    server.set("r._domainkey.example.com", Behaviour((record,), ttl=60))
    server.set("e._domainkey.example.com", Behaviour((txt(*zone(ED).popitem()[1]),), ttl=60, delay=0.012))
    server.set("secure._domainkey.example.com", Behaviour((record,), ttl=0, authentic=True, delay=0.03))
    server.set("absent._domainkey.example.com", Behaviour(rcode=dns.rcode.NXDOMAIN, soa_minimum=60))
    server.set("refused._domainkey.example.com", Behaviour(rcode=dns.rcode.SERVFAIL))
    server.set("silent._domainkey.example.com", Behaviour(fault=Fault.DROP))
    server.set("bogus._domainkey.example.com", Behaviour(rcode=dns.rcode.SERVFAIL, extended_error=BOGUS))
    server.set("signed.example", Behaviour(authentic=True))


class BusyHouse(House):
    """A daemon whose DNS does all that DNS does. ``exporters`` as for ``House``."""

    def __init__(self, key: KeyPair, exporters: str, workers: int = 2) -> None:
        self._stack = ExitStack()
        self.dns = self._stack.enter_context(ScriptedDnsServer())
        _script(self.dns)
        ed = KeyPair.ed25519("ed.example")
        super().__init__(key, exporters=exporters, dns=DNS.format(address=self.dns.address), workers=workers)
        ed_file = self.base / "ed.pem"
        ed_file.touch(0o600)
        ed_file.write_bytes(ed.pem)
        self.text += ED_RULE.format(file=ed_file)
        self.config.write_text(self.text)

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def round(self) -> int:
        """Send each letter as often as it comes; the number of messages."""
        sent = 0
        for one in LETTERS.values():
            for _ in range(one.times):
                self.post(one)
                sent += 1
        return sent

    def settled(self) -> Snapshot:
        """All metrics, once the daemon has noticed that all connections are closed."""
        deadline = time.monotonic() + 30
        while (found := truth(self.pid)).value("phoenixdkim_sessions") > 0:
            assert time.monotonic() < deadline, "a session stays open"
            time.sleep(0.02)
        return found

    def post(self, one: Letter) -> Reply:
        with self.client() as client:
            return client.send_message(one.fields, one.body, client_address=one.client)

    def close(self) -> None:
        super().close()
        self._stack.close()
