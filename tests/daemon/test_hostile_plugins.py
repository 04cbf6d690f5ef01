"""Plugins that raise, hang, spin, leak and crash: mail does not notice, and the log names the culprit (P1 to P6)."""

from __future__ import annotations

import json
import shutil
import sysconfig
import time
from pathlib import Path

import pytest

from daemon.house import House, alive, signed
from daemon.verdicts import Mail, Verdicts

KINDS = [
    "Raises",
    "RaisesBase",
    "Hangs",
    "Spins",
    "Leaks",
    "LeaksDescriptors",
    "LeaksThreads",
    "Segfaults",
    "Exits",
    "Forks",
    "Changes",
    "SlowStop",
]


@pytest.fixture(scope="module")
def installed():
    """The plugins of hostile.py as an installed package with entry points."""
    site = Path(sysconfig.get_path("purelib"))
    module = site / "phoenixdkim_hostile.py"
    metadata = site / "phoenixdkim_hostile-0.dist-info"
    shutil.copy(Path(__file__).with_name("hostile.py"), module)
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: phoenixdkim-hostile\nVersion: 0\n")
    points = "".join(f"{kind.lower()} = phoenixdkim_hostile:{kind}\n" for kind in [*KINDS, "Spies"])
    (metadata / "entry_points.txt").write_text(f"[phoenixdkim.exporters]\n{points}")
    yield
    module.unlink()
    shutil.rmtree(metadata)


TEXTFILE = '[exporters.textfile]\npath = "{metrics}/x.prom"\ninterval = 0.5\n'


def own_series(house):
    lines = (house.metrics / "x.prom").read_text().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


WANTED = {
    "raises": "exporter 'raises': phoenixdkim_tick failed: RecursionError: each time at",
    "raisesbase": "exporter 'raisesbase': phoenixdkim_event failed: Unstoppable: no at",
    "hangs": "exporter 'hangs' hangs",
    "spins": "exporter 'spins' hangs",
    "leaks": "exporter 'leaks': phoenixdkim_tick: out of memory at memory_limit = 64 MiB",
    "leaksdescriptors": "exporter 'leaksdescriptors': phoenixdkim_tick failed: OSError: [Errno 24]",
    "leaksthreads": "exporter 'leaksthreads': phoenixdkim_tick failed: RuntimeError: can't start new thread",
    "segfaults": "exporter 'segfaults' ended unasked (signal SIGSEGV)",
    "exits": "exporter 'exits' ended unasked",
}
"""What the log says of each; the others are quiet."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("messages", [5000, pytest.param(50_000, marks=pytest.mark.long)])
def test_no_verdict_changes_beside_all_of_them(installed, key, messages):
    with House(key) as alone:
        mail = Mail(alone)
    assert len(set(mail.expected)) > 5
    tables = "".join(f"[exporters.{kind.lower()}]\nmemory_limit = 64\n" for kind in KINDS)
    with House(key, exporters=TEXTFILE + tables) as house:
        path = house.metrics / "x.prom"
        sent = 0
        written = set()
        deadline = time.monotonic() + 120
        # Mail may be through before an exporter, which has the lowest priority, had its sixth turn; then there is more.
        while sent == 0 or (len(written) <= 5 and time.monotonic() < deadline):
            verdicts = Verdicts(house, mail, messages)
            while verdicts.running:
                if path.exists():
                    written.add(path.stat().st_mtime_ns)
                time.sleep(0.05)
            verdicts.join()
            assert (verdicts.sent, verdicts.changed) == (messages, [])
            sent += messages
        assert len(written) > 5, "the textfile was written all the while"
        # Some need a moment more to show what they are, and mail for it.
        more = 0
        deadline = time.monotonic() + 60
        while any(text not in house.log() for text in WANTED.values()) and time.monotonic() < deadline:
            assert signed(house.send())
            more += 1
            time.sleep(0.05)
        log = house.log()
        assert [name for name, text in WANTED.items() if text not in log] == []
        wait_until(lambda: path.exists() and own_series(house)["phoenixdkim_messages_total"] == sent + more)
        found = own_series(house)
        assert "secret" not in path.read_text()
        assert found['phoenixdkim_exporter_up{exporter="textfile"}'] == 1
        assert found['phoenixdkim_exporter_failures_total{exporter="textfile"}'] == 0
        # A process that hangs is told of in the log before it has ended, and counted after.
        failures = [f'phoenixdkim_exporter_failures_total{{exporter="{name}"}}' for name in WANTED]
        wait_until(lambda: all(own_series(house)[series] > 0 for series in failures))
        assert found["phoenixdkim_worker_restarts_total"] == 0
        processes = list(house.descendants())
        assert len(processes) > len(KINDS)
        assert house.stop() == 0
        assert [pid for pid in processes if alive(pid)] == [], "nothing is left, forked or not"


def wait_until(what, timeout=60):
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_spy_gets_nothing(installed, key):
    with House(key, exporters='[exporters.spies]\nreport = "{metrics}/report"\n') as house:
        pids = [house.pid, *house.descendants()]
        text = house.text.replace("report =", f'targets = ["{house.key_file}"]\npids = {pids}\nreport =')
        house.config.write_text(text)
        import signal

        house.signal(signal.SIGHUP)
        house.wait_for("reloaded")
        assert signed(house.send())
        report = house.metrics / "report"
        deadline = time.monotonic() + 60
        while not report.exists() or not json.loads(report.read_text() or "{}").get("descriptors"):
            assert time.monotonic() < deadline, house.log()
            time.sleep(0.1)
        time.sleep(0.5)
        found = json.loads(report.read_text())
        assert any("ledger" in link for link in found["descriptors"].values()), "it has looked"
        assert (found["truncated"], found["written"]) == ([], [])
        own = [f"/proc/{pid}/mem" for pid, line in house.descendants().items() if "exporters.process" in line]
        assert [target for target in found["read"] if target not in own] == []
        for link in found["descriptors"].values():
            assert not link.startswith("socket:") or list(found["descriptors"].values()).count(link) == 1
        sockets = [link for link in found["descriptors"].values() if link.startswith("socket:")]
        assert len(sockets) == 1, "its control socket, and neither the milter's nor another"
        assert not [name for name in found["environment"] if name.startswith(("NOTIFY", "LISTEN", "CREDENTIALS"))]
        assert signed(house.send())


def test_a_plugin_that_dies_while_it_is_checked_does_not_keep_mail_from_starting(installed, key, tmp_path):
    site = Path(sysconfig.get_path("purelib"))
    module = site / "phoenixdkim_dying.py"
    metadata = site / "phoenixdkim_dying-0.dist-info"
    module.write_text("import os\nos._exit(9)\n")
    metadata.mkdir()
    try:
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: phoenixdkim-dying\nVersion: 0\n")
        (metadata / "entry_points.txt").write_text("[phoenixdkim.exporters]\ndying = phoenixdkim_dying:X\n")
        with House(key, exporters=TEXTFILE + "[exporters.dying]\n") as house:
            assert "exporter 'dying' ended while it was checked (exit status 9)" in house.log()
            assert signed(house.send())
            time.sleep(1.2)
            assert float(own_series(house)['phoenixdkim_exporter_up{exporter="dying"}']) == 0
    finally:
        module.unlink()
        shutil.rmtree(metadata)
