"""Everything fails at once around a daemon with a real Postfix: no message is lost, doubled, unsigned or forged."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.disturbance import PATIENCE, Bad, Disturbance
from chaos.traffic import HEADER, Traffic, is_outgoing
from daemon.house import House
from daemon.truth import truth_of_ledger
from integration.postfix import Postfix, free_port
from interop.peers import KeyPair, dkimpy_sign, mail_dkim_verify
from phoenixdkim.testing.dns_server import ScriptedDnsServer

pytestmark = pytest.mark.postfix

EXPORTERS = """
[exporters.textfile]
path = "{metrics}/x.prom"
interval = 0.2
[exporters.http]
listen = "127.0.0.1:%d"
beside_textfile = true
[exporters.intruder]
[exporters.second]
type = "intruder"
seed = 7
"""


@pytest.fixture(scope="module")
def intruder() -> Iterator[None]:
    """The hostile exporter as an installed package."""
    site = Path(sysconfig.get_path("purelib"))
    module = site / "phoenixdkim_intruder.py"
    metadata = site / "phoenixdkim_intruder-0.dist-info"
    shutil.copy(Path(__file__).with_name("intruder.py"), module)
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: phoenixdkim-intruder\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text("[phoenixdkim.exporters]\nintruder = phoenixdkim_intruder:Intruder\n")
    yield
    module.unlink()
    shutil.rmtree(metadata)


@pytest.fixture
def small_disk() -> Iterator[list[Path]]:
    """Directories that become small file systems when they are put into the list; unmounted at the end."""
    mounted: list[Path] = []
    yield mounted
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


def mount(path: Path, mounted: list[Path]) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0777,size=256k", "none", str(path)], check=True)
    mounted.append(path)


def field_values(raw: bytes, name: bytes) -> list[bytes]:
    header = re.sub(rb"\r\n[ \t]+", b" ", raw.partition(b"\r\n\r\n")[0])
    lines = [line.partition(b":") for line in header.split(b"\r\n")]
    return [value.strip() for found, _, value in lines if found.lower() == name]


def number_of(raw: bytes) -> int:
    return int(field_values(raw, b"x-number")[0])


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seconds", [40, pytest.param(300, marks=pytest.mark.long)])
def test_chaos(intruder, small_disk, tmp_path, seconds):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    ours, peer = KeyPair.rsa("example.com"), KeyPair.rsa("example.org", "peer")
    port = free_port()
    with ScriptedDnsServer() as dns:
        house = House(
            ours,
            socket_line=f"inet:{port}@127.0.0.1",
            exporters=EXPORTERS % free_port(),
            dns=f'nameservers = ["{dns.address}"]\nquery_timeout = 0.5\nmessage_timeout = 2\nmax_ttl = 1',
        )
        mount(house.metrics, small_disk)
        with house, Postfix(f"inet:127.0.0.1:{port}", house.log) as mta:
            disturbance = Disturbance(house, dns, peer, random.Random(seed))
            incoming = dkimpy_sign(HEADER % b"example.org" + b"\r\nin\r\n", peer)
            traffic = Traffic(mta, incoming)
            try:
                disturbance.run(seconds)
            finally:
                traffic.close(PATIENCE)
            sent = traffic.sent
            deliveries = [delivery.raw for delivery in mta.delivered(sum(sent.accepted.values()), PATIENCE)]
            time.sleep(1)
            deliveries = [delivery.raw for delivery in mta.delivered(len(deliveries), PATIENCE)]
            log, counted = settled(house)
            await_textfile(house, counted)
            assert house.process is not None
            assert house.process.poll() is None, "the supervisor is the one that was started"
    print(f"{len(deliveries)} messages, {sent.deferred} deferred; {dict(disturbance.done)}")
    assert sent.refused == [], "every refusal is temporary"
    assert Counter(map(number_of, deliveries)) == sent.accepted, "what was accepted is delivered, exactly once"
    check_outgoing([raw for raw in deliveries if is_outgoing(number_of(raw))], ours, tmp_path)
    check_incoming([raw for raw in deliveries if not is_outgoing(number_of(raw))])
    assert "Traceback" not in log
    for name in ("intruder", "second"):
        assert f"exporter '{name}' sent an invalid message" in log, "it attacked"
    lines = len(re.findall(r"^(?:phoenixdkim: )?\S+: summary action=", log, re.MULTILINE))
    # A worker that is killed between the log line and the count leaves a line more for each message it was at.
    assert counted <= lines <= counted + 10 * disturbance.worker_kills
    assert {f"file {bad}" for bad in Bad} <= set(disturbance.done)
    assert len(disturbance.done) == 7 + len(Bad)
    assert len(deliveries) > 100


def settled(house: House) -> tuple[str, float]:
    """The log and the number of messages counted, once neither changes."""
    deadline = time.monotonic() + PATIENCE
    before: tuple[str, float] = ("", -1)
    while True:
        snapshot = truth_of_ledger(house.pid)
        lost = snapshot.value("phoenixdkim_log_lines_lost_total")
        found = house.log(), snapshot.value("phoenixdkim_messages_total")
        assert lost == 0
        if found == before or time.monotonic() > deadline:
            return found
        before = found
        time.sleep(1)


def await_textfile(house: House, messages: float) -> None:
    """Wait until the textfile has counted all messages: its exporter works beside the hostile ones."""
    wanted = f"\nphoenixdkim_messages_total {float(messages)}\n"
    path = house.metrics / "x.prom"
    deadline = time.monotonic() + PATIENCE
    while wanted not in (path.read_text() if path.exists() else ""):
        assert time.monotonic() < deadline, house.log()[-3000:]
        time.sleep(0.1)


def check_outgoing(deliveries: list[bytes], key: KeyPair, directory: Path) -> None:
    """Each is signed with a signature that verifies, and has no Authentication-Results in our name."""
    assert deliveries
    for first in range(0, len(deliveries), 200):
        part = deliveries[first : first + 200]
        assert mail_dkim_verify(part, [key], directory) == [["example.com/rsa/rsa-sha256=pass"]] * len(part)
    for raw in deliveries:
        assert field_values(raw, b"authentication-results") == [], raw
        assert b"forged.example" not in raw


def check_incoming(deliveries: list[bytes]) -> None:
    """Each has one Authentication-Results, ours."""
    assert deliveries
    for raw in deliveries:
        values = field_values(raw, b"authentication-results")
        assert len(values) == 1, raw
        assert values[0].startswith((b"mx.example; dkim=pass", b"mx.example; dkim=temperror")), values
        assert b"forged.example" not in raw
    assert any(b"dkim=pass" in raw for raw in deliveries)
