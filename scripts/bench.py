"""Side by side with opendkim: the same messages, the same client, in turns; medians and ratios.

Eight connections, one message each, 4 kB and 25 header fields, over a unix socket; all three exporters are on. Every
answer is checked. CPU is that of the server's processes, from /proc. The exporters' share is the CPU of their processes
and of counting, over the CPU of all server processes.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from phoenixdkim.dkim.headers import HeaderField
from phoenixdkim.dkim.results import Algorithm, DnssecStatus, Result, UnsignedReason
from phoenixdkim.dkim.sign import Signer, SigningKey, SignOptions
from phoenixdkim.events import (
    Action,
    CacheResult,
    DnsCacheLookup,
    DnssecKey,
    MessageProcessed,
    MessageUnsigned,
    MessageVerified,
    SignatureVerified,
)
from phoenixdkim.keystore import make_private_key, public_record
from phoenixdkim.ledger import Batch, Ledger

CONNECTIONS = 8
TICKS = os.sysconf("SC_CLK_TCK")
SMFIF = 0x1FF
SMFIP = 0x1FFFFF
# Protocol bits by which a filter leaves out an answer, by command.
NO_REPLY = {
    b"C": 0x1000,
    b"H": 0x2000,
    b"M": 0x4000,
    b"R": 0x8000,
    b"T": 0x10000,
    b"L": 0x80,
    b"N": 0x40000,
    b"B": 0x80000,
}
NO_STEP = {b"C": 0x1, b"H": 0x2, b"M": 0x4, b"R": 0x8, b"B": 0x10, b"L": 0x20, b"N": 0x40, b"T": 0x200}
LEADSPC = 0x100000


def packet(command: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">I", 1 + len(payload)) + command + payload


def fields_of(count: int) -> list[tuple[bytes, bytes]]:
    fields = [
        (b"From", b" Alice <alice@example.com>"),
        (b"To", b" Bob <bob@example.net>"),
        (b"Subject", b" Minutes of the meeting on Tuesday"),
        (b"Date", b" Tue, 24 Nov 2026 09:00:00 +0000"),
        (b"Message-ID", b" <minutes@example.com>"),
        (b"MIME-Version", b" 1.0"),
        (b"Content-Type", b" text/plain; charset=utf-8"),
    ]
    while len(fields) < count:
        fields.insert(0, (b"X-Trace-%d" % len(fields), b" some words of the way that it took, number %d" % len(fields)))
    return fields


BODY = (b"The quick brown fox jumps over the lazy dog, and the dog does not mind.\r\n" * 60)[:4094] + b"\r\n"


class Client:
    """One message a connection, packets prepared as far as the filter's negotiation allows."""

    def __init__(self, path: str, fields: list[tuple[bytes, bytes]], address: bytes, want: bytes) -> None:
        self.path, self.fields, self.address, self.want = path, fields, address, want
        self.plan: list[tuple[bytes, bool]] | None = None

    def _prepare(self, protocol: int) -> list[tuple[bytes, bool]]:
        keep = bool(protocol & LEADSPC)
        steps: list[tuple[bytes, bytes, bytes]] = [
            (b"C", b"localhost\0" + b"4" + struct.pack(">H", 4711) + self.address + b"\0", b"j\0mta.example\0"),
            (b"H", b"client.example\0", b""),
            (b"M", b"<alice@example.com>\0", b""),
            (b"R", b"<bob@example.net>\0", b""),
            (b"T", b"", b"i\0BENCH\0"),
        ]
        steps += [(b"L", n + b"\0" + (v if keep else v.lstrip()) + b"\0", b"") for n, v in self.fields]
        steps += [(b"N", b"", b"i\0BENCH\0"), (b"B", BODY, b"")]
        plan: list[tuple[bytes, bool]] = []
        waiting = b""
        for command, payload, macros in steps:
            if protocol & NO_STEP[command]:
                continue
            waiting += (packet(b"D", command + macros) if macros else b"") + packet(command, payload)
            if not protocol & NO_REPLY[command]:
                plan.append((waiting, True))
                waiting = b""
        plan.append((waiting + packet(b"D", b"Ei\0BENCH\0") + packet(b"E"), False))
        return plan

    def run(self) -> bool:
        """Send the message; True when the answer is the right one."""
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(self.path)
            reader = link.makefile("rb", 65536)
            link.sendall(packet(b"O", struct.pack(">III", 6, SMFIF, SMFIP)))
            size = struct.unpack(">I", reader.read(4))[0]
            protocol = struct.unpack(">I", reader.read(size)[9:13])[0]
            if self.plan is None:
                self.plan = self._prepare(protocol)
            for data, reply in self.plan:
                link.sendall(data)
                if reply:
                    size = struct.unpack(">I", reader.read(4))[0]
                    if reader.read(size)[:1] not in (b"c", b"k"):
                        return False
            good = False
            while True:
                size = struct.unpack(">I", reader.read(4))[0]
                answer = reader.read(size)
                good = good or (answer[:1] in (b"i", b"h") and self.want in answer)
                if answer[:1] in (b"c", b"a", b"t", b"r", b"y", b"d"):
                    link.sendall(packet(b"Q"))
                    return good and answer[:1] in (b"c", b"a")


def work(client: Client, messages: int, results: Any) -> None:
    good = sum(client.run() for _ in range(messages))
    results.put(good)


def cpu(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


@dataclass
class Run:
    """One measurement."""

    rate: float
    cpu_us: float
    exporters_cpu: float = 0.0
    all_cpu: float = 0.0
    messages: int = 0


def measure(client: Client, pid: int, messages: int) -> Run:
    for _ in range(40):
        if not client.run():
            raise SystemExit("the server gave a wrong answer while warming up")
    results: Any = multiprocessing.Queue()
    each = messages // CONNECTIONS
    processes = [multiprocessing.Process(target=work, args=(client, each, results)) for _ in range(CONNECTIONS)]
    pids = tree(pid)
    exporters = [p for p in pids if b"phoenixdkim.exporters.process" in Path(f"/proc/{p}/cmdline").read_bytes()]
    before, before_exporters, begun = cpu(pids), cpu(exporters), time.monotonic()
    for process in processes:
        process.start()
    good = sum(results.get() for _ in processes)
    took = time.monotonic() - begun
    used, used_exporters = cpu(pids) - before, cpu(exporters) - before_exporters
    for process in processes:
        process.join()
    if good != each * CONNECTIONS:
        raise SystemExit(f"{each * CONNECTIONS - good} wrong answers")
    return Run(good / took, used / good * 1e6, used_exporters, used, good)


class Server:
    """A server process with its own directory."""

    def __init__(self, base: Path, command: list[str], path: Path) -> None:
        self.log = open(base / f"{path.stem}.log", "wb")  # noqa: SIM115 - the server has it for its whole life
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 20
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(path))
                    break
                except OSError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        raise SystemExit(f"{command[0]} did not start; see {self.log.name}") from None
            time.sleep(0.05)
        time.sleep(1.0)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


def batch_seconds() -> float:
    """What counting a message costs a worker: making the batch of a verified one, and recording it."""
    ledger = Ledger()
    writer = ledger.writer(1)
    ledger.want_samples(True)
    rounds = 20000
    begun = time.process_time()
    for _ in range(rounds):
        batch = Batch()
        batch.add(MessageProcessed(Action.VERIFY), 0.001)
        batch.add(MessageVerified(Result.PASS))
        batch.add(SignatureVerified(Result.PASS, Algorithm.RSA_SHA256))
        batch.add(DnssecKey(DnssecStatus.UNKNOWN))
        batch.add(MessageUnsigned(UnsignedReason.NOT_TRUSTED))
        batch.add(DnsCacheLookup(CacheResult.HIT))
        writer.record(batch)
    return (time.process_time() - begun) / rounds


OURS = """\
[milter]
socket = "unix:{base}/ours.sock"
workers = {workers}
[process]
user = "daemon"
[log]
destination = "stderr"
[[signing.rules]]
from = "*@example.com"
keys = ["main"]
[keys.main]
domain = "example.com"
selector = "bench"
file = "{base}/key.pem"
[verifying]
authserv_id = "mx.example"
[dns]
zone = "{base}/zone"
[exporters.textfile]
path = "{base}/metrics/x.prom"
interval = 1
[exporters.http]
listen = "127.0.0.1:{port}"
beside_textfile = true
[exporters.statsd]
address = "127.0.0.1:{statsd}"
"""
THEIRS = """\
Mode {mode}
Domain example.com
Selector bench
KeyFile {base}/key.pem
Canonicalization relaxed/relaxed
Socket local:{base}/opendkim-{mode}.sock
UMask 000
Background no
Syslog no
RequireSafeKeys no
InternalHosts 127.0.0.1
AlwaysAddARHeader yes
AuthservID mx.example
TestPublicKeys {base}/test-keys
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--runs", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--messages", type=int, default=4000, help="messages a round (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="our workers; 0: two a core (default)")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    options = parser.parse_args()
    runs, messages = (1, 800) if options.quick else (options.runs, options.messages)
    base = Path(tempfile.mkdtemp(prefix="phoenixdkim-bench-"))
    base.chmod(0o755)
    statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    statsd.bind(("127.0.0.1", 0))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (base / "metrics").mkdir()
    (base / "metrics").chmod(0o777)
    pem = make_private_key(Algorithm.RSA_SHA256)
    (base / "key.pem").touch(0o600)
    (base / "key.pem").write_bytes(pem)
    private = load_pem_private_key(pem, None)
    record = public_record(private).decode()  # type: ignore[arg-type]
    name = "bench._domainkey.example.com"
    (base / "zone").write_text(f'{name} TXT "{record[:200]}" "{record[200:]}"\n')
    (base / "test-keys").write_text(f"{name} {record}\n")
    (base / "ours.toml").write_text(
        OURS.format(base=base, workers=options.workers, port=port, statsd=statsd.getsockname()[1])
    )
    for mode in "sv":
        (base / f"opendkim-{mode}.conf").write_text(THEIRS.format(base=base, mode=mode))
    fields = fields_of(25)
    key = SigningKey("main", b"example.com", b"bench", Algorithm.RSA_SHA256, private)  # type: ignore[arg-type]
    signer = Signer([HeaderField(n, v) for n, v in fields], [key], SignOptions(), int(time.time()))
    signer.body(BODY)
    signature = signer.finish()[0][1]
    assert signature is not None
    signed = [(b"DKIM-Signature", signature.replace(b"\r\n", b"\n")), *fields[1:]]
    servers: list[Server] = []
    rows: dict[str, dict[str, list[Run]]] = {"sign": {}, "verify": {}}
    try:
        phoenix = [f"{sys.prefix}/bin/phoenixdkim", "run", "-c", str(base / "ours.toml")]
        servers.append(ours := Server(base, phoenix, base / "ours.sock"))
        theirs = {}
        for mode in "sv":
            command = ["opendkim", "-f", "-x", str(base / f"opendkim-{mode}.conf")]
            servers.append(made := Server(base, command, base / f"opendkim-{mode}.sock"))
            theirs[mode] = made
        for _ in range(runs):
            for work_name, mode, what, address, want in (
                ("sign", "s", fields, b"127.0.0.1", b"DKIM-Signature"),
                ("verify", "v", signed, b"192.0.2.1", b"dkim=pass"),
            ):
                for server_name, path, pid in (
                    ("opendkim", f"{base}/opendkim-{mode}.sock", theirs[mode].process.pid),
                    ("phoenixdkim", f"{base}/ours.sock", ours.process.pid),
                ):
                    result = measure(Client(path, what, address, want), pid, messages)
                    rows[work_name].setdefault(server_name, []).append(result)
        report(rows, options.json, runs, messages)
    finally:
        for server in servers:
            server.stop()
        statsd.close()
        shutil.rmtree(base, ignore_errors=True)
    return 0


def report(rows: dict[str, dict[str, list[Run]]], path: str | None, runs: int, messages: int) -> None:
    batch = batch_seconds()
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},")
    print(
        f"medians of {runs} runs of {messages} messages, {CONNECTIONS} connections, one message each, 4 kB, 25 fields\n"
    )
    print("| work | opendkim msg/s | PhoenixDKIM msg/s | ratio | opendkim CPU µs | PhoenixDKIM CPU µs | CPU ratio |")
    print("|---|---|---|---|---|---|---|")
    for work_name, found in rows.items():
        rates = {name: statistics.median(run.rate for run in of) for name, of in found.items()}
        cpus = {name: statistics.median(run.cpu_us for run in of) for name, of in found.items()}
        print(
            f"| {work_name} rsa-sha256 2048 | {rates['opendkim']:.0f} | {rates['phoenixdkim']:.0f} |"
            f" {rates['phoenixdkim'] / rates['opendkim']:.2f} | {cpus['opendkim']:.0f} | {cpus['phoenixdkim']:.0f} |"
            f" {cpus['phoenixdkim'] / cpus['opendkim']:.2f} |"
        )
    ours = [run for found in rows.values() for run in found["phoenixdkim"]]
    share = (sum(run.exporters_cpu for run in ours) + batch * sum(run.messages for run in ours)) / sum(
        run.all_cpu for run in ours
    )
    print(f"\nThe exporters' share of all server CPU: {share:.2%} (counting a message: {batch * 1e6:.1f} µs)")
    if path:
        figures = {
            work_name: {n: [asdict(r) for r in of] for n, of in found.items()} for work_name, found in rows.items()
        }
        Path(path).write_text(json.dumps({"rows": figures, "batch_seconds": batch, "exporters_share": share}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
