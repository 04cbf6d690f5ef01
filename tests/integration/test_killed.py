"""The daemon killed under load, with ``milter_default_action = tempfail``: T7, R3."""

from __future__ import annotations

import os
import signal
import smtplib
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from integration.daemon import Daemon
from integration.postfix import Postfix, submit_over
from interop.peers import mail_dkim_verify

pytestmark = pytest.mark.postfix

MESSAGES = 160
SENDERS = 4


class Load:
    """Clients that send numbered messages and try again what was put off."""

    def __init__(self, mta: Postfix) -> None:
        self._mta = mta
        self._lock = threading.Lock()
        self.accepted: list[int] = []
        self.put_off = 0
        self.refused: list[object] = []
        self.threads = [threading.Thread(target=self._send, args=(part,), daemon=True) for part in range(SENDERS)]

    def _send(self, part: int) -> None:
        smtp: smtplib.SMTP | None = None
        for number in range(part, MESSAGES, SENDERS):
            raw = b"From: a@example.com\r\nSubject: load\r\nX-Number: %d\r\n\r\n%d\r\n" % (number, number)
            while True:
                try:
                    smtp = smtp or self._mta.connection()
                    answer = submit_over(smtp, raw, "a@example.com", ["b@example.net"])
                except (smtplib.SMTPException, OSError) as error:
                    # Nothing was accepted on a session that broke before the reply to the message's end.
                    with self._lock:
                        self.refused.append(error)
                    smtp = None
                    continue
                with self._lock:
                    if answer.accepted:
                        self.accepted.append(number)
                        break
                    self.put_off += 1
                    if not 400 <= answer.code < 500:
                        self.refused.append(answer)
                # As a client would: the session is over once the milter has failed in it.
                smtp.close()
                smtp = None
                time.sleep(0.05)
        if smtp is not None:
            smtp.quit()


def alive(pid: int) -> bool:
    """The process is there and not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill_supervisor(daemon: Daemon) -> None:
    left = daemon.children()
    daemon.kill()
    killed = time.monotonic()
    daemon.start()
    while any(alive(pid) for pid in left):
        assert time.monotonic() < killed + 60, "what the supervisor left behind goes by itself"
        time.sleep(0.01)


def kill_all_workers(daemon: Daemon) -> None:
    _kill_and_await_others(daemon, [pid for pid in daemon.children() if not children_of(pid)])


def kill_leader(daemon: Daemon) -> None:
    _kill_and_await_others(daemon, [pid for pid in daemon.children() if children_of(pid)])


def _kill_and_await_others(daemon: Daemon, victims: list[int]) -> None:
    assert victims
    before = set(daemon.children())
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while len(set(daemon.children()) - before) < len(victims):
        assert time.monotonic() < deadline, daemon.log()[-2000:]
        time.sleep(0.01)


def children_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []


@pytest.mark.parametrize(("kill", "felt"), [(kill_supervisor, True), (kill_leader, False), (kill_all_workers, True)])
def test_killed_again_and_again_loses_nothing_and_lets_nothing_out_unsigned(rsa_key, tmp_path, kill, felt):
    with Daemon([rsa_key]) as daemon, Postfix(daemon.milter, daemon.log) as mta:
        load = Load(mta)
        for thread in load.threads:
            thread.start()
        for reached in (MESSAGES // 5, MESSAGES // 2):
            deadline = time.monotonic() + 60
            while len(load.accepted) < reached:
                assert time.monotonic() < deadline, (load.accepted, load.refused, daemon.log()[-2000:])
                time.sleep(0.005)
            kill(daemon)
        for thread in load.threads:
            thread.join(90)
            assert not thread.is_alive(), daemon.log()[-2000:]
        deliveries = mta.delivered(MESSAGES)
        time.sleep(0.5)
        deliveries = mta.delivered(MESSAGES)
        answers = mail_dkim_verify([d.raw for d in deliveries], [rsa_key], tmp_path)
    assert load.refused == [], "only temporary failures"
    # Sessions of a killed leader's workers go on: it may pass unnoticed.
    assert load.put_off > 0 or not felt, "the kill was felt"
    numbers = Counter(int(d.raw.partition(b"X-Number: ")[2].split(b"\r\n")[0]) for d in deliveries)
    assert numbers == Counter(range(MESSAGES)), "none lost, none doubled"
    assert answers == [["example.com/rsa/rsa-sha256=pass"]] * MESSAGES, "none unsigned"


def test_without_a_daemon_mail_is_put_off(rsa_key):
    with Daemon([rsa_key]) as daemon, Postfix(daemon.milter, daemon.log) as mta:
        raw = b"From: a@example.com\r\n\r\nx\r\n"
        assert mta.submit(raw).accepted
        left = daemon.children()
        daemon.kill()
        # A worker that has a connection serves it to its end.
        deadline = time.monotonic() + 20
        while any(alive(pid) for pid in left):
            assert time.monotonic() < deadline, daemon.log()[-2000:]
            time.sleep(0.02)
        answer = mta.submit(raw)
        assert 400 <= answer.code < 500
        daemon.start()
        assert mta.submit(raw).accepted
        assert len(mta.delivered(2)) == 2
