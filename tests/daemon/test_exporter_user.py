"""Who exporters run as: the user of ``process.exporter_user``, whatever an exporter's own options are called."""

from __future__ import annotations

import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daemon.house import House, signed
from daemon.mistakes import Installed

NAMED = """\
import os
from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.options import Options

class Login(Options):
    user: str

class Exporter:
    api_version = 1

    @hookimpl
    def phoenixdkim_options(self): return Login

    @hookimpl
    def phoenixdkim_start(self, context):
        context.log.warning("process of %d, logs in as %s", os.geteuid(), context.options.user)
"""
MISSING = "no-such-user-here"


@pytest.fixture
def installed():
    package = Installed({"named": NAMED}, "phoenixdkim-named")
    yield
    package.remove()


def test_an_option_user_is_the_exporters_own(key, installed):
    with House(key, exporters=f'[exporters.named]\nuser = "{MISSING}"\n') as house:
        house.wait_for(f"process of {pwd.getpwnam('nobody').pw_uid}, logs in as {MISSING}")


def test_a_start_without_the_user_is_refused_with_place_and_command(key):
    house = House(key, exporters='[exporters.textfile]\npath = "{metrics}/x.prom"\n')
    house.config.write_text(house.text.replace('"nobody"', f'"{MISSING}"'))
    program = Path(sys.executable).with_name("phoenixdkim")
    told = []
    for command in ("run", "check"):
        done = subprocess.run(
            [program, command, "-c", house.config], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 78
        told.append([line for line in done.stderr.splitlines() if "exporter_user" in line])
    assert told[0] == told[1]
    (line,) = told[0]
    assert line.startswith(f'{house.config}:7: process.exporter_user: there is no user "{MISSING}"; make it: useradd ')
    house.close()


def test_a_reload_without_the_user_is_refused_and_leaves_no_process(key):
    with House(key, exporters='[exporters.textfile]\npath = "{metrics}/x.prom"\n') as house:
        text = house.text.replace('"nobody"', f'"{MISSING}"')
        before = len(house.descendants())
        more = f'[exporters.second]\ntype = "textfile"\npath = "{house.metrics}/y.prom"\n'
        house.config.write_text(text + more)
        house.signal(signal.SIGHUP)
        house.wait_for("reload refused; the configuration in force stays")
        assert f'7: process.exporter_user: there is no user "{MISSING}"; make it: useradd ' in house.log()
        assert signed(house.send())
        deadline = time.monotonic() + 30
        while len(house.descendants()) != before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
