"""A private Postfix: own configuration, own queue, loopback only, gone afterwards. Needs root."""

from __future__ import annotations

import os
import pwd
import shutil
import smtplib
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from integration.sink import Delivery, Sink

OUTSIDE = "192.0.2.25"
"""Address that an untrusted client has, by XCLIENT."""

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {base}/mail.log
maillog_file_prefixes = {base}
inet_protocols = ipv4
inet_interfaces = 127.0.0.1
myhostname = mta.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
relay_domains = example.net
relayhost = [127.0.0.1]:{sink}
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_tls_security_level = none
smtp_tls_security_level = none
smtp_dns_support_level = disabled
smtp_line_length_limit = 0
local_header_rewrite_clients =
message_size_limit = 0
mailbox_size_limit = 0
notify_classes =
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
milter_default_action = tempfail
milter_connect_timeout = 10s
milter_command_timeout = 10s
milter_content_timeout = 30s
milter_protocol = 6
smtpd_milters = {milters}
"""

MASTER_CF = """\
127.0.0.1:{port} inet n - n - 50 smtpd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - 20 smtp
relay     unix  - - n - 20 smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What Postfix answered to a message: the reply that ended it."""

    code: int
    text: bytes

    @property
    def accepted(self) -> bool:
        """Postfix took the message over."""
        return self.code == 250


def free_port() -> int:
    """A TCP port that is free on 127.0.0.1 at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postfix:
    """A running Postfix that relays all it accepts to a sink.

    Args:
        milters: value of ``smtpd_milters``, empty for none.
        milter_log: what the milter wrote, for the messages of tests that fail.
        main: more lines for main.cf.
        services: more lines for master.cf.
    """

    def __init__(
        self, milters: str = "", milter_log: Callable[[], str] = str, *, main: str = "", services: str = ""
    ) -> None:
        self._milter_log = milter_log
        self._main = main
        self._services = services
        if os.geteuid() != 0 or shutil.which("postfix") is None:
            raise RuntimeError("these tests need root and Debian's postfix package")
        # Not below pytest's directory: the user postfix must get in.
        self.base = Path(tempfile.mkdtemp(prefix="pdkim-postfix-"))
        self.base.chmod(0o755)
        self.port = free_port()
        self.sink = Sink()
        try:
            self._start(milters)
        except BaseException:
            self.close()
            raise

    def _start(self, milters: str) -> None:
        for name in ("etc", "spool", "data"):
            (self.base / name).mkdir(mode=0o755)
        owner = pwd.getpwnam("postfix")
        os.chown(self.base / "data", owner.pw_uid, owner.pw_gid)
        main = MAIN_CF.format(base=self.base, sink=self.sink.port, milters=milters) + self._main
        (self.base / "etc" / "main.cf").write_text(main)
        (self.base / "etc" / "master.cf").write_text(MASTER_CF.format(port=self.port) + self._services)
        self._command("start")
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"Postfix does not answer: {self.log()}") from error
                time.sleep(0.05)

    def _command(self, name: str) -> None:
        done = subprocess.run(
            ["postfix", "-c", str(self.base / "etc"), name], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise RuntimeError(f"postfix {name}: {done.stderr}{done.stdout}{self.log()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop it and remove its files."""
        try:
            if (self.base / "spool" / "pid" / "master.pid").exists():
                self._command("stop")
        finally:
            self.sink.__exit__(None, None, None)
            shutil.rmtree(self.base, ignore_errors=True)

    def explain(self) -> str:
        """The ends of both logs."""
        return f"{self.log()[-2000:]}\n{self._milter_log()[-2000:]}"

    def log(self) -> str:
        """Postfix's log so far."""
        path = self.base / "mail.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def connection(self, *, trusted: bool = True, timeout: float = 60.0, port: int | None = None) -> smtplib.SMTP:
        """An SMTP session that said EHLO, of a client in ``mynetworks`` or of one outside."""
        smtp = smtplib.SMTP("127.0.0.1", port or self.port, "client.example", timeout)
        smtp.ehlo()
        if not trusted:
            smtp.docmd("XCLIENT", f"NAME=out.example ADDR={OUTSIDE}")
            smtp.ehlo()
        return smtp

    def submit(
        self,
        raw: bytes,
        sender: str = "sender@example.com",
        recipients: Sequence[str] = ("recipient@example.net",),
        *,
        trusted: bool = True,
        port: int | None = None,
    ) -> Answer:
        """Submit one message, with CRLF line ends, over a session of its own."""
        with self.connection(trusted=trusted, port=port) as smtp:
            return submit_over(smtp, raw, sender, recipients)

    def delivered(self, count: int, timeout: float = 20.0) -> list[Delivery]:
        """All messages that reached the sink, once there are ``count``."""
        try:
            return self.sink.delivered(count, timeout)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.explain()}") from error


def submit_over(smtp: smtplib.SMTP, raw: bytes, sender: str, recipients: Sequence[str]) -> Answer:
    """Submit one message over an open session; the first refusal ends it."""
    answer = smtp.mail(sender, ["BODY=8BITMIME"])
    for recipient in recipients:
        if answer[0] == 250:
            answer = smtp.rcpt(recipient)
    if answer[0] == 250:
        answer = smtp.data(raw)
    if answer[0] != 250 and smtp.sock is not None and answer[0] != 421:
        smtp.rset()
    return Answer(*answer)
