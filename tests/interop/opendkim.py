"""The fourth judge: Debian's opendkim, a daemon for verifying and one for each way of signing, on unix sockets.

They find keys in a file (TestPublicKeys) and log nothing. Each message goes over one lasting milter connection.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from interop.judges import Records, SigningError, Verdict
from interop.messages import WITH_IDENTITY, Case
from interop.peers import KeyPair
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.testing.milter_client import MilterClient
from phoenixdkim.testing.milter_protocol import Change, Field, Reply

_START: Final = 30.0
_ANSWER: Final = 30.0
_RESULT: Final = re.compile(rb"dkim=(\S+)([^;]*)")
_COMMON: Final = """\
Socket local:{base}/{name}.sock
UMask 000
Background no
Syslog no
RequireSafeKeys no
InternalHosts 127.0.0.1
# Nobody answers there: what is not in the file does not exist.
Nameservers 127.0.0.1
"""
_VERIFY: Final = """\
Mode v
AlwaysAddARHeader yes
AuthservID mx.example
MaximumSignaturesToVerify 10
MaximumHeaders 0
TestPublicKeys {base}/public-keys
"""
_SIGN: Final = """\
Mode s
Canonicalization {canonicalization}
SignatureAlgorithm {algorithm}
MaximumHeaders 0
OversignHeaders From
KeyTable file:{base}/keys
SigningTable refile:{base}/{name}.signing
{more}
"""


class _Daemon:
    """One opendkim and one connection to it."""

    def __init__(self, base: Path, name: str, configuration: str) -> None:
        path = base / f"{name}.conf"
        path.write_text(_COMMON.format(base=base, name=name) + configuration)
        self._socket = base / f"{name}.sock"
        self._process = subprocess.Popen(
            ["opendkim", "-f", "-x", path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self._client: MilterClient | None = None

    def send(self, fields: Sequence[Field], body: bytes, client_address: str) -> Reply:
        if self._client is None:
            self._client = self._connect()
        return self._client.send_message(fields, body, client_address=client_address)

    def _connect(self) -> MilterClient:
        until = time.monotonic() + _START
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self._socket)) == 0:
                    return MilterClient(f"unix:{self._socket}", timeout=_ANSWER)
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"opendkim does not run ({self._process.poll()})")
            time.sleep(0.01)

    def terminate(self) -> None:
        if self._client is not None:
            self._client.close()
        self._process.terminate()

    def wait(self) -> None:
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class OpenDkim:
    """opendkim as judge and as signer, for these keys alone. A context manager."""

    name = "opendkim"

    def __init__(self, keys: Sequence[KeyPair]) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="opendkim-"))
        self._daemons: dict[str, _Daemon] = {}
        self._keys = keys
        (self._base / "public-keys").write_text("".join(f"{key.name} {key.record}\n" for key in keys))
        for key in keys:
            (self._base / f"{key.selector}.pem").write_bytes(key.pem)
        self._write(
            "keys", (f"{key.selector} {key.domain}:{key.selector}:{self._base}/{key.selector}.pem" for key in keys)
        )

    def _write(self, name: str, lines: Iterable[str]) -> None:
        (self._base / name).write_text("".join(f"{line}\n" for line in lines))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Each takes a second or two to end.
        for daemon in self._daemons.values():
            daemon.terminate()
        for daemon in self._daemons.values():
            daemon.wait()
        shutil.rmtree(self._base, ignore_errors=True)

    def verify(self, message: bytes, records: Records, now: int) -> list[Verdict]:
        """``records`` and ``now`` are the daemon's own: the keys it was made with, and the clock."""
        if "verify" not in self._daemons:
            self._daemons["verify"] = _Daemon(self._base, "verify", _VERIFY.format(base=self._base))
        fields, body = parse_message(message)
        reply = self._daemons["verify"].send([(field.name, field.value) for field in fields], body, "192.0.2.1")
        value = b"".join(
            change.value
            for change in reply.modifications
            if change.change is Change.INSERT_HEADER and change.name == b"Authentication-Results"
        )
        found = []
        for result, rest in _RESULT.findall(value):
            properties = dict(re.findall(rb"header\.(\w+)=(\S+)", rest))
            if b"a" in properties:
                shown = (result + rest).decode(errors="replace")
                found.append(Verdict(properties.get(b"s", b""), properties[b"a"], result == b"pass", shown))
        return found or [Verdict(b"", b"", False, repr((reply.disposition, reply.smtp, value)))]

    def signing_domain(self, author: bytes) -> str | None:
        """Return the domain that signs a message with this From value; None if nobody does."""
        if "forms" not in self._daemons:
            self._write("forms.signing", (f"*@{key.domain} {key.selector}" for key in self._keys))
            configuration = _SIGN.format(
                base=self._base,
                name="forms",
                canonicalization="relaxed/relaxed",
                algorithm=self._keys[0].algorithm,
                more="",
            )
            self._daemons["forms"] = _Daemon(self._base, "forms", configuration)
        reply = self._daemons["forms"].send([(b"From", author), (b"Subject", b" text")], b"text\r\n", "127.0.0.1")
        found = [
            domain[1].decode()
            for change in reply.modifications
            if change.name == b"DKIM-Signature" and (domain := re.search(rb"[; \t\n]d=([^;\s]+)", change.value))
        ]
        assert len(found) <= 1, reply
        return found[0] if found else None

    def sign(self, case: Case, key: KeyPair, now: int) -> bytes:
        """``now`` is the daemon's clock."""
        canonicalization = f"{case.header_canon}/{case.body_canon}"
        expires = case.ttl is not None
        name = f"{key.selector}-{canonicalization.replace('/', '-')}-{expires}"
        if name not in self._daemons:
            # The first line that matches the From address counts.
            self._write(
                f"{name}.signing",
                [
                    f"with-identity@{key.domain} {key.selector}:{WITH_IDENTITY.decode()}",
                    f"*@{key.domain} {key.selector}",
                ],
            )
            self._daemons[name] = _Daemon(
                self._base,
                name,
                _SIGN.format(
                    base=self._base,
                    name=name,
                    canonicalization=canonicalization,
                    algorithm=key.algorithm,
                    more="SignatureTTL 604800" if expires else "",
                ),
            )
        reply = self._daemons[name].send([(field.name, field.value) for field in case.fields], case.body, "127.0.0.1")
        made = [change for change in reply.modifications if change.name == b"DKIM-Signature"]
        if len(made) != 1:
            raise SigningError(repr((reply.disposition, reply.smtp)))
        lead = b"" if reply.leading_space else b" "
        return b"DKIM-Signature:" + lead + made[0].value.replace(b"\n", b"\r\n") + b"\r\n"
