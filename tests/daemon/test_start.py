"""The start: mail is served before any exporter is checked, and each that does not run is named with the reason."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from daemon.house import House, signed
from daemon.mistakes import Installed
from interop.peers import KeyPair

PHOENIXDKIM = Path(sys.executable).with_name("phoenixdkim")
PLUGIN = """\
from phoenixdkim.hookspecs import hookimpl

class Exporter:
    api_version = 1

    @hookimpl
    def phoenixdkim_tick(self): pass
"""
HANGS_AT_IMPORT = "import time\ntime.sleep(1000)\n" + PLUGIN
HANGS_IN_CLASS = PLUGIN.replace("    api_version = 1", "    api_version = 1\n    import time\n    time.sleep(1000)")
SPINS = "while True: pass\n" + PLUGIN
STOPS = "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n" + PLUGIN
DIES = "import os\nos._exit(9)\n" + PLUGIN
RAISES = "raise RuntimeError('broken on purpose')\n" + PLUGIN
OLD = PLUGIN.replace("api_version = 1", "api_version = 999")
Install = Callable[[Mapping[str, str], str], None]


@pytest.fixture
def install() -> Iterator[Install]:
    made: list[Installed] = []
    yield lambda modules, package: made.append(Installed(modules, package))
    for one in made:
        one.remove()


def tables(*names: str) -> str:
    return "".join(f"[exporters.{name}]\n" for name in names)


def line_of(house: House, words: str) -> str:
    return next(line for line in house.log().splitlines() if words in line)


def test_mail_is_served_before_exporters_are_checked(key: KeyPair, install: Install, tmp_path: Path) -> None:
    install({"hangs": HANGS_AT_IMPORT, "spins": SPINS, "stops": STOPS, "body": HANGS_IN_CLASS}, "phoenixdkim-slow")
    install({"dies": DIES, "raises": RAISES, "old": OLD, "fine": PLUGIN}, "phoenixdkim-bad")
    names = ("hangs", "spins", "stops", "body", "dies", "raises", "old", "fine", "gone")
    house = House(key, exporters=tables(*names))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        try:
            with house.log_file.open("ab") as log:
                house.process = subprocess.Popen(
                    [PHOENIXDKIM, "run", "-c", house.config],
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env={"NOTIFY_SOCKET": str(tmp_path / "notify")},
                )
            assert manager.recv(4096).startswith(b"READY=1\n")
            assert " serving on " not in house.log(), "exporters have not answered yet"
            assert line_of(house, "listening on unix:").endswith(
                f"milter.sock with 2 workers; checking exporters: {', '.join(names)}"
            )
            assert signed(house.send())
            house.wait_for(" serving on ", timeout=90)
            line = line_of(house, " serving on ")
            up, _, down = line.partition("; exporters: ")[2].partition("; down: ")
            assert up == "fine"
            for name in ("hangs", "spins", "stops", "body"):
                assert f"{name} (no answer to its check in 10 s)" in down
            assert "dies (ended while it was checked (exit status 9))" in down
            assert re.search(r"raises \(plugin 'raises' \(.*broken on purpose", down)
            assert re.search(r"old \(plugin 'old' \(.*API version 999", down)
            assert re.search(r"gone \(no installed package has an exporter 'gone'", down)
            assert signed(house.send())
            assert house.stop() == 0
        finally:
            house.close()


def test_without_exporters_the_line_comes_at_once(key: KeyPair) -> None:
    with House(key) as house:
        assert line_of(house, " serving on ").endswith("; exporters: none")


def test_an_exporter_of_two_packages_is_down_and_named(key: KeyPair, install: Install) -> None:
    install({"twice": PLUGIN}, "phoenixdkim-first")
    install({"once": PLUGIN}, "phoenixdkim-second")
    points = Path(sysconfig.get_path("purelib"), "phoenixdkim_second-1.0.dist-info", "entry_points.txt")
    points.write_text(points.read_text() + "twice = phoenixdkim_mistake_once:Exporter\n")
    with House(key, exporters=tables("twice", "once")) as house:
        line = line_of(house, " serving on ")
        assert "; exporters: once; down: twice (several packages have an exporter 'twice'" in line
        assert signed(house.send())
        checked = subprocess.run([PHOENIXDKIM, "check", "-c", house.config], capture_output=True, text=True, timeout=60)
        assert checked.returncode == 78
        assert (
            "several packages have an exporter 'twice': phoenixdkim-first 1.0, phoenixdkim-second 1.0" in checked.stderr
        )


def test_configuration_and_key_errors_still_refuse_the_start_together(key: KeyPair) -> None:
    house = House(key, exporters=tables("raises"))
    try:
        house.key_file.unlink()
        house.config.write_text(house.text.replace("workers = 2", "workers = 2\nnone = 1"))
        done = subprocess.run([PHOENIXDKIM, "run", "-c", house.config], capture_output=True, text=True, timeout=60)
        assert done.returncode == 78
        assert "milter.none" in done.stderr
        assert "keys.main.file" in done.stderr
        house.config.write_text(house.text)
        begun = time.monotonic()
        done = subprocess.run([PHOENIXDKIM, "run", "-c", house.config], capture_output=True, text=True, timeout=60)
        assert (done.returncode, time.monotonic() - begun < 30) == (78, True)
        assert "keys.main.file" in done.stderr
        assert not (house.base / "milter.sock").exists()
    finally:
        house.close()
