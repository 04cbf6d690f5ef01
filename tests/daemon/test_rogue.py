"""An exporter that abuses its descriptors: it is killed and named; mail, log and other exporters go on."""

from __future__ import annotations

import shutil
import signal
import socket
import sysconfig
import time
from pathlib import Path

import pytest

from daemon.house import PATIENCE, House, alive, signed
from daemon.rogue import FORGED
from phoenixdkim.exporters.check import check_tables

TEXTFILE = '[exporters.textfile]\npath = "{metrics}/x.prom"\ninterval = 0.5\n'
VIOLATIONS = [
    "text",
    "list",
    "number",
    "deep",
    "old",
    "checked",
    "started",
    "stopped",
    "stop_timeout",
    "empty",
    "long",
    "descriptors",
    "messages",
    "close",
    "shut",
]
OUTPUT = ["output", "line", "forge", "truncate", "left"]


@pytest.fixture
def installed():
    """The plugin of rogue.py as an installed package with an entry point."""
    site = Path(sysconfig.get_path("purelib"))
    module = site / "phoenixdkim_rogue.py"
    metadata = site / "phoenixdkim_rogue-0.dist-info"
    shutil.copy(Path(__file__).with_name("rogue.py"), module)
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: phoenixdkim-rogue\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text("[phoenixdkim.exporters]\nrogue = phoenixdkim_rogue:Rogue\n")
    yield site / "rogue_import"
    (site / "rogue_import").unlink(missing_ok=True)
    module.unlink()
    shutil.rmtree(metadata)


def tables(acts):
    return TEXTFILE + "".join(f'[exporters.r-{act}]\ntype = "rogue"\nact = "{act}"\n' for act in acts)


def series(house):
    try:
        lines = (house.metrics / "x.prom").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


class Mail:
    """Messages that are sent meanwhile; all of them are signed."""

    def __init__(self, house):
        self.house = house
        self.sent = 0

    def others(self):
        """The log without the messages' summaries."""
        return "\n".join(line for line in self.house.log().splitlines() if "summary action=" not in line)

    def until(self, what, timeout=60):
        deadline = time.monotonic() + timeout
        while True:
            assert signed(self.house.send())
            self.sent += 1
            if what():
                return
            assert time.monotonic() < deadline, self.others()[-5000:]
            time.sleep(0.05)


@pytest.mark.timeout(600)
def test_each_violation_ends_that_exporter_and_nothing_else(installed, key):
    with House(key, exporters=tables(VIOLATIONS)) as house:
        mail = Mail(house)
        # One that closes its end may be noticed by its own process first.
        ends = {act: ("; killed",) if act != "shut" else ("; killed", " s") for act in VIOLATIONS}
        mail.until(
            lambda: all(
                any(line.startswith(f"exporter 'r-{act}' ") and line.endswith(end) for line in house.log().splitlines())
                for act, end in ends.items()
            )
        )
        mail.until(
            lambda: all(
                series(house).get(f'phoenixdkim_exporter_failures_total{{exporter="r-{act}"}}', 0) > 0
                for act in VIOLATIONS
            )
        )
        # They come back, and do it again.
        mail.until(lambda: house.log().count("exporter 'r-text' sent an invalid message") >= 2)
        mail.until(lambda: series(house).get("phoenixdkim_messages_total", 0) >= mail.sent - 5)
        found = series(house)
        assert found['phoenixdkim_exporter_up{exporter="textfile"}'] == 1
        assert found['phoenixdkim_exporter_failures_total{exporter="textfile"}'] == 0
        assert found["phoenixdkim_worker_restarts_total"] == 0
        assert found['phoenixdkim_errors_total{stage="processes"}'] == 0
        log = house.log()
        assert not any(line.startswith("Traceback") for line in log.splitlines())
        assert "internal error" not in log
        assert log.count("summary action=") == mail.sent
        processes = list(house.descendants())
        assert house.stop() == 0
        assert [pid for pid in processes if alive(pid)] == []


@pytest.mark.timeout(600)
def test_what_plugins_write_is_named_limited_and_never_a_summary(installed, key):
    with House(key, exporters=tables(OUTPUT)) as house:
        mail = Mail(house)
        mail.until(
            lambda: (
                "exporter 'r-forge': 4AAAA: summary\\x20action=sign" in house.log()
                and "exporter 'r-truncate': truncated" in house.log()
                and "exporter 'r-left' ended unasked (exit status 7)" in house.log()
                and any(
                    "exporter 'r-output': " in line and " lines dropped: " in line for line in house.log().splitlines()
                )
            )
        )
        begun = time.monotonic()
        mail.until(lambda: time.monotonic() > begun + 8)
        log = house.log()
        assert log.count("summary action=") == mail.sent, "and each message has its line"
        assert log.startswith("listening on"), "the first line is still there"
        assert "\0" not in log
        assert max(map(len, log.splitlines())) < 2100
        for act in OUTPUT:
            # Twenty at once, one a second, and a line that says how many were dropped now and then.
            assert log.count(f"exporter 'r-{act}'") < 200
        assert series(house)['phoenixdkim_errors_total{stage="processes"}'] == 0
        processes = list(house.descendants())
        assert house.stop() == 0
        assert [pid for pid in processes if alive(pid)] == [], "what holds a pipe keeps nothing alive"


def test_programs_that_a_plugin_starts_get_none_of_its_descriptors(installed, key):
    exporters = TEXTFILE + '[exporters.rogue]\nreport = "{metrics}/report"\n'
    with House(key, exporters=exporters) as house:
        report = house.metrics / "report"
        Mail(house).until(report.exists)
        links = report.read_text().splitlines()
        assert len(links) > 8, "four programs have looked"
        assert [link for link in links if "socket:" in link or "memfd:" in link] == []


def test_another_version_is_down_and_not_tried_again(installed, key):
    with House(key, exporters=tables(["version"])) as house:
        mail = Mail(house)
        mail.until(lambda: "exporter 'r-version' is down: " in house.log())
        mail.until(lambda: series(house).get('phoenixdkim_exporter_up{exporter="r-version"}') == 0)
        begun = time.monotonic()
        mail.until(lambda: time.monotonic() > begun + 4)
        assert house.log().count("exporter 'r-version' is down: ") == 1
        assert "r-version' ended" not in house.log()
        assert "; restart the daemon" in house.log()


def test_a_death_by_a_real_time_signal_is_named(installed, key):
    with House(key, exporters=tables(["rtmin"])) as house:
        Mail(house).until(lambda: "exporter 'r-rtmin' ended unasked (signal SIGRTMIN+7)" in house.log())
        assert house.stop() == 0


def test_the_daemon_stops_in_its_own_time_whatever_exporters_ask_for(installed, key):
    slow = "".join(f'[exporters.slow-{n}]\ntype = "rogue"\nact = "slow"\nstop_timeout = 60\n' for n in range(3))
    with House(key, exporters=slow, milter="stop_timeout = 3") as house:
        Mail(house).until(lambda: all(house.log().count(f"slow-{n}") for n in range(3)))
        begun = time.monotonic()
        assert house.stop() == 0
        # One after the other, or for as long as the tables say, would take a minute and more.
        assert time.monotonic() - begun < 40


def test_an_exporter_that_breaks_its_own_process_leaves_one_line(installed, key):
    with House(key, exporters=tables(["exchange", "functions"])) as house:
        house.wait_for("exporter 'r-exchange': fatal: OSError: ")
        house.wait_for("exporter 'r-functions': fatal: TypeError: ")
        house.wait_for("exporter 'r-exchange' ended unasked (exit status 70)")
        house.wait_for("exporter 'r-functions' ended unasked (exit status 70)")
        assert "Traceback" not in house.log()
        assert house.stop() == 0


def test_the_daemon_stops_when_an_exporter_cannot_be_reaped(installed, key):
    with House(key, exporters=tables(["traced"])) as house:
        house.wait_for("exporter 'r-traced': traced")
        left = list(house.descendants())
        assert house.stop() == 0
        assert not [pid for pid in left if alive(pid)]


def test_the_watchdog_hears_from_a_daemon_that_waits_for_an_exporter(installed, key, tmp_path):
    slow = '[exporters.slow]\ntype = "rogue"\nact = "slow"\nstop_timeout = 10\n'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        house = House(key, exporters=slow)
        try:
            house.start({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"})
            house.config.write_text(house.text.replace(slow, ""))
            house.signal(signal.SIGHUP)
            while not (message := manager.recv(4096)).startswith(b"RELOADING=1"):
                continue
            signs = 0
            while not message.startswith(b"READY=1"):
                message = manager.recv(4096)
                signs += message == b"WATCHDOG=1"
            # Twenty on an idle machine.
            assert signs > 4
            assert house.stop() == 0
        finally:
            house.close()


def test_check_ends_what_cannot_be_reaped(installed):
    installed.write_text("traced")
    (fault,) = check_tables({"r": {"type": "rogue"}}, timeout=3)
    assert "hangs: no answer to its check" in fault.message


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        ("rtmin", "ended its process while it was checked (signal SIGRTMIN+7)"),
        ("text", "sent an invalid message while it was checked"),
        ("started", "sent an invalid message while it was checked"),
        ("empty", "sent an invalid message while it was checked"),
        ("deep", "sent an invalid message while it was checked"),
        ("version", "restart the daemon"),
    ],
)
def test_check_says_what_happened(installed, act, expected):
    installed.write_text(act)
    (fault,) = check_tables({"r": {"type": "rogue"}})
    assert expected in fault.message or (act == "version" and "version 2" in fault.message)
    assert not fault.refuses


def test_check_shows_what_a_plugin_writes(installed, capfd):
    installed.write_text("forge")
    assert check_tables({"r": {"type": "rogue"}}) == []
    shown = capfd.readouterr().err
    assert "exporter 'r': 4AAAA: summary\\x20action=sign" in shown
    assert FORGED not in shown


@pytest.mark.parametrize("act", ["output", "line"])
def test_check_is_not_flooded(installed, capfd, act):
    installed.write_text(act)
    assert check_tables({"r": {"type": "rogue"}}, timeout=60) == []
    shown = capfd.readouterr().err
    assert len(shown) < 50_000
    assert all(line.startswith("exporter 'r': ") for line in shown.splitlines())
