"""Real DNSSEC on loopback: zones signed by ldns, served by nsd, validated by unbound.

The root zone is ours too, and its key is the trust anchor, so that the chain of trust is whole: a signed zone has its
DS record in the root, an unsigned one the proof that it has none, and a broken one a DS record and signatures that do
not fit.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import dns.exception
import dns.message
import dns.query
import dns.rcode

SECURE: Final = "secure.example"
INSECURE: Final = "insecure.example"
BROKEN: Final = "broken.example"
LAME: Final = "lame.example"
"""Delegated to a server that is not there."""

_ALGORITHM: Final = "ECDSAP256SHA256"


def free_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and TCP."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            port = int(udp.getsockname()[1])
            try:
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free for UDP and TCP")


class SignedZones:
    """The zones, their server, and resolvers for them; a context manager.

    Args:
        texts: TXT records by name; each name is in one of the zones.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="pdkim-zones-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._texts = dict(texts)
        self._authority = free_port()
        self._closed = free_port()
        self._write()

    def __enter__(self) -> Self:
        try:
            self._serve()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the servers and remove all files."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.base, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def _write(self) -> None:
        delegations = [f"{zone}. IN NS ns.nic." for zone in (SECURE, INSECURE, BROKEN, LAME)]
        for zone in (SECURE, INSECURE, BROKEN):
            path = self._zone(zone, self._lines(zone, self._texts.items()))
            if zone != INSECURE:
                key = self._sign(zone, path)
                delegations.append(self._run("ldns-key2ds", "-n", "-2", f"{key}.key").strip())
        # What was signed is not what is served.
        broken = self.base / f"{BROKEN}.signed"
        signed = broken.read_text()
        changed = signed.replace("; t=y;", "; t=s;")
        assert changed != signed, "the broken zone's records have no 't=y' to change"
        broken.write_text(changed)
        root = self._zone(".", ["ns.nic. IN A 127.0.0.1", *delegations])
        key = self._sign(".", root)
        shutil.copy(self.base / f"{key}.key", self.base / "anchor")

    @staticmethod
    def _lines(zone: str, texts: Iterable[tuple[str, str]]) -> list[str]:
        return [
            f"{name}. IN TXT " + " ".join(f'"{text[i : i + 250]}"' for i in range(0, len(text), 250))
            for name, text in texts
            if name.endswith(f".{zone}")
        ]

    def _zone(self, zone: str, lines: list[str]) -> Path:
        origin = zone if zone == "." else f"{zone}."
        path = self.base / (zone if zone != "." else "root")
        head = [f"$ORIGIN {origin}", "$TTL 300", f"{origin} IN SOA ns.nic. host.nic. 1 3600 600 86400 60"]
        path.write_text("\n".join([*head, f"{origin} IN NS ns.nic.", *lines]) + "\n")
        return path

    def _sign(self, zone: str, path: Path) -> str:
        key = self._run("ldns-keygen", "-a", _ALGORITHM, "-k", zone).strip()
        self._run("ldns-signzone", "-f", f"{path}.signed", str(path), key)
        return key

    def _serve(self) -> None:
        zones = {".": "root.signed", SECURE: f"{SECURE}.signed", INSECURE: INSECURE, BROKEN: f"{BROKEN}.signed"}
        (self.base / "nsd.conf").write_text(
            f'server:\n  ip-address: 127.0.0.1@{self._authority}\n  username: ""\n  chroot: ""\n  pidfile: ""\n'
            f'  zonesdir: "{self.base}"\n  database: ""\n  zonelistfile: "{self.base}/zones"\n'
            f'  xfrdfile: "{self.base}/xfrd"\n  xfrdir: "{self.base}"\n  server-count: 1\n'
            "remote-control:\n  control-enable: no\n"
            + "".join(f'zone:\n  name: "{zone}"\n  zonefile: "{path}"\n' for zone, path in zones.items())
        )
        self._start(["nsd", "-d", "-c", str(self.base / "nsd.conf")], self._authority)

    def resolver(self, *, validating: bool = True) -> str:
        """Start an unbound; its address."""
        port = free_port()
        path = self.base / f"unbound-{port}.conf"
        stubs = {".": self._authority, SECURE: self._authority, INSECURE: self._authority, BROKEN: self._authority}
        anchor = f'  trust-anchor-file: "{self.base}/anchor"\n' if validating else ""
        modules = "validator iterator" if validating else "iterator"
        path.write_text(
            f'server:\n  interface: 127.0.0.1@{port}\n  do-ip6: no\n  do-daemonize: no\n  username: ""\n'
            f'  chroot: ""\n  directory: "{self.base}"\n  pidfile: ""\n  use-syslog: no\n  log-queries: no\n'
            f'  do-not-query-localhost: no\n  qname-minimisation: no\n  module-config: "{modules}"\n'
            f"{anchor}remote-control:\n  control-enable: no\n"
            + "".join(
                f'stub-zone:\n  name: "{zone}"\n  stub-addr: 127.0.0.1@{at}\n'
                for zone, at in {**stubs, LAME: self._closed}.items()
            )
        )
        self._start(["unbound", "-d", "-c", str(path)], port)
        return f"127.0.0.1:{port}"

    def _start(self, command: list[str], port: int) -> None:
        program = shutil.which(command[0], path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
        assert program is not None, f"{command[0]} is not installed; scripts/setup test installs it"
        log = self.base / f"{command[0]}-{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, *command[1:]], cwd=self.base, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._processes.append(process)
        query = dns.message.make_query(".", "SOA")
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, f"{command[0]} ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{command[0]} does not answer:\n{log.read_text()}"
            try:
                if dns.query.udp(query, "127.0.0.1", timeout=1, port=port).rcode() == dns.rcode.NOERROR:
                    return
            except (OSError, dns.exception.DNSException):
                time.sleep(0.02)
