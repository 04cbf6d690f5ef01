"""Who exporters run as: the user of ``process.exporter_user``, whatever an exporter's own options are called."""

from __future__ import annotations

import contextlib
import pwd
import signal

import pytest

from daemon.house import House, signed
from daemon.mistakes import Installed
from daemon.test_mistakes import run
from receivers.programs import eventually

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
    with contextlib.closing(House(key, exporters='[exporters.textfile]\npath = "{metrics}/x.prom"\n')) as house:
        house.config.write_text(house.text.replace('"nobody"', f'"{MISSING}"'))
        told = []
        for command in ("run", "check"):
            status, lines = run(command, house.config)
            assert status == 78
            told.append([line for line in lines if "exporter_user" in line])
        assert told[0] == told[1]
        (line,) = told[0]
        place = f"{house.config}:7: process.exporter_user: "
        assert line.startswith(f'{place}there is no user "{MISSING}"; make it: useradd ')


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
        eventually("no other process", lambda: len(house.descendants()) == before)
