"""The demo: a daemon with throwaway keys, five messages, and the same counters as each exporter shows them."""

from __future__ import annotations

import argparse
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from phoenixdkim.dkim.results import Algorithm
from phoenixdkim.keystore import make_private_key, public_record
from phoenixdkim.metrics import CATALOGUE, Kind
from phoenixdkim.testing.milter_client import MilterClient
from phoenixdkim.testing.milter_protocol import Change, Reply, apply

ROOT: Final = Path(__file__).parents[1]
OTHERS: Final = 65534
"""A user id that owns nothing: what it can read, every exporter can read."""
PATIENCE: Final = 60.0
"""Seconds to wait for what takes one or two on an idle machine."""
BOLD, DIM, GREEN, RED, END = (
    ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else [""] * 5
)
CONFIG = """\
[milter]
socket = "unix:{base}/milter.sock"
socket_mode = "0666"
workers = 2

[process]
user = "{worker}"

[log]
destination = "stderr"

[control]
socket = "{base}/control.sock"

[signing]
trusted = ["127.0.0.0/8", "::1"]

[[signing.rules]]
from = "*@example.com"
keys = ["example-rsa", "example-ed25519"]

[keys.example-rsa]
domain = "example.com"
selector = "rsa2026"
file = "{base}/keys/rsa.pem"

[keys.example-ed25519]
domain = "example.com"
selector = "ed2026"
file = "{base}/keys/ed25519.pem"

[verifying]
authserv_id = "mx.example.net"

[dns]
zone = "{base}/zone"

[exporters.textfile]
path = "{base}/metrics/phoenixdkim.prom"
user = "{exporter}"
interval = 1

[exporters.http]
listen = "127.0.0.1:{port}"
beside_textfile = true

[exporters.statsd]
address = "127.0.0.1:{statsd}"
interval = 1
"""
FIELDS = [
    (b"From", b" Alice <alice@example.com>"),
    (b"To", b" Bob <bob@example.net>"),
    (b"Subject", b" The minutes of Tuesday"),
    (b"Date", b" Tue, 24 Nov 2026 09:00:00 +0000"),
    (b"Message-ID", b" <minutes@example.com>"),
]
BODY = b"Dear Bob,\r\n\r\nhere they are.\r\n\r\nAlice\r\n"


class StatsdListener(threading.Thread):
    """A StatsD server that remembers what it was sent."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.packets: list[bytes] = []

    def run(self) -> None:
        while True:
            self.packets.append(self.socket.recv(65536))

    def counters(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for packet in self.packets:
            for line in packet.decode().split("\n"):
                name, _, rest = line.partition(":")
                value, kind = rest.split("|")[:2]
                if kind == "c":
                    found[name] = found.get(name, 0) + float(value)
        return found


def directory() -> Path:
    """Make a directory for the demo that other users can enter, even if TMPDIR is none."""
    for parent in (Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp")):
        if all(part.stat().st_mode & stat.S_IXOTH for part in (parent, *parent.parents)):
            break
    base = Path(tempfile.mkdtemp(prefix="phoenixdkim-demo-", dir=parent))
    base.chmod(0o755)
    return base


def program(base: Path) -> Path:
    """Return the daemon's program: the checkout's, or a copy in ``base`` if exporters cannot read the checkout.

    Started as root, the daemon runs exporters as other users. These may be unable to enter the directory of the
    checkout (root's home has mode 0700), and permissions there are not the demo's to change.
    """
    found = Path(sys.prefix, "bin", "phoenixdkim")
    if os.geteuid() != 0 or _others_can_run(Path(sys.executable)):
        return found
    print(f"{DIM}Other users cannot read {ROOT}; the daemon runs from a copy in {base}.{END}", flush=True)
    subprocess.run([ROOT / "scripts" / "standalone", base / "environment"], check=True)
    if not _others_can_run(base / "environment" / "bin" / "python"):
        raise SystemExit(
            f"Exporters run as other users, who cannot run {Path(sys.executable).resolve()}; "
            "set PHOENIXDKIM_PYTHON to an interpreter that every user can read, such as /usr/bin/python3"
        )
    return base / "environment" / "bin" / "phoenixdkim"


def _others_can_run(python: Path) -> bool:
    command = [python, "-I", "-c", "import phoenixdkim.exporters.process, phoenixdkim_prometheus, phoenixdkim_statsd"]
    try:
        done = subprocess.run(
            command, user=OTHERS, group=OTHERS, extra_groups=[], cwd="/", stderr=subprocess.DEVNULL, check=False
        )
    except PermissionError:
        return False
    return done.returncode == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare(base: Path, statsd: int, port: int) -> Path:
    root = os.geteuid() == 0
    worker, exporter = ("daemon", "nobody") if root else (pwd.getpwuid(os.geteuid()).pw_name,) * 2
    for name in ("keys", "metrics"):
        (base / name).mkdir(mode=0o755)
    if root:
        os.chown(base / "metrics", pwd.getpwnam(exporter).pw_uid, -1)
    zone = []
    for selector, file, algorithm in (
        ("rsa2026", "rsa.pem", Algorithm.RSA_SHA256),
        ("ed2026", "ed25519.pem", Algorithm.ED25519_SHA256),
    ):
        pem = make_private_key(algorithm)
        with open(base / "keys" / file, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(pem)
        key = load_pem_private_key(pem, None)
        record = public_record(key).decode()  # type: ignore[arg-type]
        parts = " ".join(f'"{record[at : at + 200]}"' for at in range(0, len(record), 200))
        zone.append(f"{selector}._domainkey.example.com TXT {parts}\n")
    (base / "zone").write_text("".join(zone))
    config = base / "phoenixdkim.toml"
    config.write_text(CONFIG.format(base=base, worker=worker, exporter=exporter, port=port, statsd=statsd))
    return config


def heading(text: str) -> None:
    print(f"\n{BOLD}{text}{END}")


def show(reply: Reply) -> None:
    for change in reply.modifications:
        if change.change is Change.INSERT_HEADER:
            print(f"  + {change.name.decode()}:{change.value.decode()}".replace("\n", "\n  "))
        else:
            print(f"  - {change.name.decode()} number {change.index} removed")


def converse(address: str) -> int:
    """Send the five messages; returns how many."""
    ours, theirs = {"client_address": "127.0.0.1"}, {"client_address": "192.0.2.1"}
    with MilterClient(address) as client:
        heading("1. A trusted client sends mail from example.com: it is signed twice.")
        reply = client.send_message(FIELDS, BODY, macros={"i": "DEMO1"}, **ours)
        show(reply)
        signed = apply(reply, FIELDS)
    cases = [
        ("2. The signed message comes back from outside: it passes.", signed, BODY, "DEMO2"),
        ("3. One word of it was changed on the way: it fails.", signed, BODY.replace(b"here", b"there"), "DEMO3"),
        ("4. Somebody else's mail has no signature: none.", FIELDS, BODY, "DEMO4"),
    ]
    unknown = [(b"DKIM-Signature", signed[0][1].replace(b"s=rsa2026", b"s=unheard")), *FIELDS]
    cases.append(("5. A signature names a selector that is not in DNS: permerror.", unknown, BODY, "DEMO5"))
    for title, fields, body, queue_id in cases:
        heading(title)
        with MilterClient(address) as client:
            show(client.send_message(fields, body, macros={"i": queue_id}, **theirs))
    return 1 + len(cases)


def exposition(text: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def series() -> list[tuple[str, str]]:
    """Prometheus and StatsD names of each counter that counts events."""
    names = []
    for spec in CATALOGUE:
        if spec.kind is not Kind.COUNTER or spec.event is None:
            continue
        seen = set()
        for event in spec.event.combinations():
            labels = {name: event.labels()[name] for name in spec.labels}
            inner = ",".join(f'{name}="{labels[name]}"' for name in sorted(labels))
            shown = spec.name + (f"{{{inner}}}" if inner else "")
            if shown not in seen:
                seen.add(shown)
                names.append((shown, "phoenixdkim." + spec.dotted_name(labels)))
    return names


def compare(base: Path, port: int, listener: StatsdListener, messages: int) -> bool:
    """Print the counters as the three exporters show them; True when they agree."""

    def read() -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                scraped = exposition(answer.read().decode())
            return exposition((base / "metrics" / "phoenixdkim.prom").read_text()), scraped, listener.counters()
        except (FileNotFoundError, urllib.error.URLError, TimeoutError):
            # The exporter has not started yet.
            return {}, {}, {}

    names = series()
    deadline = time.monotonic() + PATIENCE
    while True:
        time.sleep(0.3)
        file, http, statsd = read()
        rows = [(name, file.get(name, -1), http.get(name, -1), statsd.get(dotted, 0)) for name, dotted in names]
        agree = all(a == b == c for _, a, b, c in rows) and http.get("phoenixdkim_messages_total") == messages
        if agree or time.monotonic() > deadline:
            break
    heading("The same counters, as each exporter shows them")
    print(f"  {DIM}{'series':84} textfile  http  statsd{END}")
    for name, a, b, c in rows:
        if a or b or c:
            mark = "" if a == b == c else f"  {RED}differs{END}"
            print(f"  {name:84} {a:8.0f} {b:5.0f} {c:7.0f}{mark}")
    zero = sum(not (a or b or c) for _, a, b, c in rows)
    print(f"  {DIM}and {zero} more series that are zero in all three{END}")
    heading("Some of the StatsD packets")
    for packet in [packet for packet in listener.packets if b"|c" in packet][:3]:
        print("  " + packet.decode().replace("\n", "  ")[:150])
    return agree


def demonstrate(base: Path, log: Path, daemon: subprocess.Popen[bytes], listener: StatsdListener, port: int) -> bool:
    """Send the messages and compare the counters; False, with the reason printed, if something is wrong."""
    deadline = time.monotonic() + PATIENCE
    while "serving on" not in log.read_text():
        if daemon.poll() is not None or time.monotonic() > deadline:
            print(f"{RED}The daemon did not start.{END}", file=sys.stderr)
            return False
        time.sleep(0.05)
    print(f"{BOLD}PhoenixDKIM serves on unix:{base}/milter.sock{END} with throwaway keys of example.com.")
    try:
        messages = converse(f"unix:{base}/milter.sock")
    except OSError as error:
        print(f"{RED}The daemon did not answer: {type(error).__name__}: {error}{END}", file=sys.stderr)
        return False
    heading("The log: one line a message")
    for line in log.read_text().splitlines():
        if re.match(r"\S+: summary ", line):
            print(f"  {line}")
    if compare(base, port, listener, messages):
        print(f"\n{GREEN}All three agree.{END}")
        return True
    print(f"\n{RED}They do not agree.{END}")
    return False


def wait_for_the_user(base: Path, port: int) -> None:
    """Print how to use the running daemon, and wait for Ctrl-C."""
    heading("It stays running; Ctrl-C ends it. To use it with a Postfix on this host:")
    print(f"  postconf -e smtpd_milters=unix:{base}/milter.sock non_smtpd_milters=unix:{base}/milter.sock \\")
    print("              milter_default_action=tempfail")
    print("  (needs smtpd un-chrooted in master.cf, since the socket is outside Postfix's queue directory)")
    print(f"  metrics: http://127.0.0.1:{port}/metrics   log: {base}/log   configuration: {base}/phoenixdkim.toml")
    sys.stdout.flush()
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


def main() -> int:
    """Run the demo; 0 if all went well, 1 with the daemon's log if not."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the daemon running and print the lines for Postfix")
    # scripts/demo has done it by now.
    parser.add_argument("--install", action="store_true", help="install missing Debian packages, as root or by sudo")
    keep = parser.parse_args().keep
    base = directory()
    log = base / "log"
    succeeded = False
    daemon: subprocess.Popen[bytes] | None = None
    try:
        command = program(base)
        listener = StatsdListener()
        port = free_port()
        config = prepare(base, listener.socket.getsockname()[1], port)
        with log.open("wb") as out:
            daemon = subprocess.Popen([command, "run", "-c", config], stdout=out, stderr=out)
        if keep:
            # After the daemon was started, which would inherit it, and before any thread.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        listener.start()
        succeeded = demonstrate(base, log, daemon, listener, port)
        if keep and succeeded:
            wait_for_the_user(base, port)
        return 0 if succeeded else 1
    finally:
        if daemon is not None:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                daemon.kill()
        shutil.rmtree(base / "environment", ignore_errors=True)
        if succeeded or not log.exists():
            shutil.rmtree(base, ignore_errors=True)
        else:
            lines = log.read_text(errors="replace").splitlines()
            print(
                f"\n{BOLD}The daemon's log{END} (kept: {log}, configuration: {base}/phoenixdkim.toml)", file=sys.stderr
            )
            print("\n".join(f"  {line}" for line in lines[-60:]) or "  (empty)", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
