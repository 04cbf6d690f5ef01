"""Mistakes of exporters' authors: all are told in one run, and start and reload do what is said of them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from daemon.house import House, signed
from daemon.mistakes import ABSENT, EXPECTED, REFUSED, Installed
from exposition import read_text

PHOENIXDKIM = Path(sys.executable).with_name("phoenixdkim")
TEXTFILE = '[exporters.textfile]\npath = "{metrics}/x.prom"\ninterval = 0.2\n'
CLASHING = """\
from phoenixdkim.hookspecs import hookimpl
from phoenixdkim.metrics import Kind, MetricSpec

class Exporter:
    api_version = 1

    @hookimpl
    def phoenixdkim_metrics(self):
        return [MetricSpec("phoenixdkim_exporter_same_total", Kind.COUNTER, "Same.")]
"""
LATE = "import pathlib, time\nif not pathlib.Path({flag!r}).exists():\n    time.sleep(1000)\n" + CLASHING


@pytest.fixture
def install():
    """Installs modules as exporters until the test is over."""
    made = []

    def add(modules, package="phoenixdkim-mistakes"):
        made.append(Installed(modules, package))

    yield add
    for installed in made:
        installed.remove()


@pytest.fixture
def flag():
    """A file that is not there yet, in a directory that the exporters' user can look into."""
    place = Path(tempfile.mkdtemp(prefix="pdkim-flag-"))
    place.chmod(0o755)
    yield place / "flag"
    shutil.rmtree(place)


def run(command, path, timeout=60):
    done = subprocess.run(
        [PHOENIXDKIM, command, "-c", path], capture_output=True, text=True, timeout=timeout, check=False
    )
    return done.returncode, done.stderr.splitlines()


def lines_of(path):
    """Number of each table's line."""
    return {
        line[11:-1]: number
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.startswith("[exporters.")
    }


@pytest.fixture
def bad(key, install):
    """A configuration with all of them, and with tables that are wrong themselves."""
    install({**REFUSED, **ABSENT})
    install({"twin": CLASHING, "other_twin": CLASHING}, "phoenixdkim-twins")
    tables = "".join(f"[exporters.{name}]\n" for name in [*REFUSED, *ABSENT, "twin", "other_twin"])
    tables += '[exporters.gone]\ntype = "nowhere"\n[exporters.statsd]\nadress = "127.0.0.1:1"\n'
    house = House(key, exporters=tables)
    yield house
    house.close()


def test_all_are_told_in_one_run_of_check(bad):
    status, told = run("check", bad.config)
    assert status == 78
    at = lines_of(bad.config)
    for name, reason in EXPECTED.items():
        where = f"{bad.config}:{at[name]}: {'warning: ' if name in ABSENT else ''}exporters.{name}: plugin '{name}'"
        place = f"(phoenixdkim-mistakes 1.0, phoenixdkim_mistake_{name}:Exporter): "
        assert [line for line in told if line.startswith(f"{where} {place}") and reason in line], (name, told)
    assert [line for line in told if line.startswith(f"{bad.config}:{at['other_twin']}: exporters.other_twin: ")] == [
        f"{bad.config}:{at['other_twin']}: exporters.other_twin: plugin 'other_twin' (phoenixdkim-twins 1.0,"
        " phoenixdkim_mistake_other_twin:Exporter): metric 'phoenixdkim_exporter_same_total' is declared by exporter"
        " 'twin' already, by plugin 'twin' (phoenixdkim-twins 1.0, phoenixdkim_mistake_twin:Exporter); begin its name"
        " with 'phoenixdkim_exporter_' and the name of your exporter"
    ]
    assert any("exporters.gone: no installed package has an exporter 'nowhere'" in line for line in told)
    assert any("exporters.statsd.adress: there is no option 'adress'; did you mean 'address'?" in line for line in told)
    faults = [line for line in told if ": warning: " not in line][:-1]
    assert told[-1] == f"phoenixdkim: {len(faults)} faults; the daemon would not start"
    assert {re.split(r"[:.]", line.partition(" exporters.")[2])[0] for line in faults} == {
        *REFUSED,
        "other_twin",
        "gone",
        "statsd",
    }


def test_mail_is_served_beside_plugins_that_are_refused_and_each_is_named_with_its_reason(bad):
    bad.start()
    assert signed(bad.send())
    line = next(line for line in bad.log().splitlines() if " serving on " in line)
    up, _, down = line.partition("; exporters: ")[2].partition("; down: ")
    assert up in ("twin", "other_twin")
    for name in (*REFUSED, *ABSENT, "gone", "statsd"):
        assert f"{name} (" in down, name
    for name in REFUSED:
        wanted = f"exporter '{name}': plugin '{name}' "
        wait_until(lambda name=name, wanted=wanted: wanted in bad.log() and EXPECTED[name] in bad.log(), bad)
    assert "exporter 'gone': no installed package has an exporter 'nowhere'" in bad.log()


def test_check_of_what_dies_says_that_the_daemon_starts(key, install):
    # Hanging ones are in the run above; each takes its ten seconds.
    dying = {name: ABSENT[name] for name in ("exits", "crashes")}
    install(dying)
    house = House(key, exporters="".join(f"[exporters.{name}]\n" for name in dying))
    try:
        status, told = run("check", house.config)
    finally:
        house.close()
    assert status == 0
    warnings = [line for line in told if "; the daemon starts without this exporter, shows it as down" in line]
    assert len(warnings) == len(dying)


def wait_until(what, house, timeout=120):
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, house.log()[-3000:]
        time.sleep(0.05)


def up(house):
    """Whether each exporter is up, by the textfile."""
    try:
        found = read_text((house.metrics / "x.prom").read_text())
    except FileNotFoundError:
        return {}
    return {dict(labels)["exporter"]: value for (name, labels), value in found.items() if name.endswith("exporter_up")}


def test_mail_starts_beside_what_hangs_or_dies_and_it_is_tried_again(key, install, flag):
    install({**ABSENT, "late": LATE.format(flag=str(flag))})
    tables = "".join(f"[exporters.{name}]\n" for name in [*ABSENT, "late"])
    with House(key, exporters=TEXTFILE + tables) as house:
        assert signed(house.send())
        wait_until(lambda: up(house).get("textfile") == 1, house)
        assert up(house) == {"textfile": 1, **dict.fromkeys([*ABSENT, "late"], 0)}
        house.wait_for("exporter 'exits' ended while it was checked (exit status 7); tried again", 2)
        house.wait_for("exporter 'crashes' ended while it was checked (signal SIGSEGV); tried again", 2)
        flag.touch()
        house.wait_for("exporter 'hangs' hangs: no answer to its check in 10 s; killed")
        wait_until(lambda: up(house).get("late") == 1, house)
        assert signed(house.send())
        assert house.stop() == 0


def test_a_reload_with_a_bad_plugin_is_refused_and_one_that_hangs_is_left_out(key, install):
    install({name: REFUSED[name] for name in ("free_label", "misspelt")})
    install({"hangs": ABSENT["hangs"]}, "phoenixdkim-hanging")
    install({"twin": CLASHING, "other_twin": CLASHING}, "phoenixdkim-twins")
    with House(key, exporters=TEXTFILE + "[exporters.twin]\n") as house:
        good = house.config.read_text()
        house.config.write_text(good + "[exporters.free_label]\n[exporters.misspelt]\n[exporters.other_twin]\n")
        house.signal(signal.SIGHUP)
        house.wait_for("reload refused; the configuration in force stays")
        at = lines_of(house.config)
        for text in (
            f"{house.config}:{at['free_label']}: exporters.free_label: plugin 'free_label'",
            f"{house.config}:{at['misspelt']}: exporters.misspelt: plugin 'misspelt'",
            f"{house.config}:{at['other_twin']}: exporters.other_twin: plugin 'other_twin'",
        ):
            assert text in house.log()
        assert signed(house.send())
        wait_until(lambda: set(up(house)) == {"textfile", "twin"}, house)
        house.config.write_text(good + "[exporters.hangs]\n")
        house.signal(signal.SIGHUP)
        house.wait_for("reloaded: rules 1, keys 1, trusted 2, exporters +hangs")
        wait_until(lambda: up(house) == {"textfile": 1, "twin": 1, "hangs": 0}, house)
        assert signed(house.send())


def test_two_instances_of_one_plugin_are_one_family_with_their_values_added(key, install):
    adding = CLASHING + (
        "\n    @hookimpl\n    def phoenixdkim_start(self, context):\n"
        "        context.add(self.phoenixdkim_metrics()[0], amount=5)\n"
    )
    install({"adding": adding})
    tables = '[exporters.one]\ntype = "adding"\n[exporters.two]\ntype = "adding"\n'
    with House(key, exporters=TEXTFILE + tables) as house:
        wait_until(lambda: up(house) == {"textfile": 1, "one": 1, "two": 1}, house)

        def value():
            return read_text((house.metrics / "x.prom").read_text()).get(("phoenixdkim_exporter_same_total", ()))

        wait_until(lambda: value() == 10, house)


def test_one_that_could_be_checked_only_later_may_clash_with_what_runs(key, install, flag):
    install({"twin": CLASHING, "late": LATE.format(flag=str(flag))})
    with House(key, exporters=TEXTFILE + "[exporters.twin]\n[exporters.late]\n") as house:
        flag.touch()
        house.wait_for(
            "exporter 'late': plugin 'late' (phoenixdkim-mistakes 1.0, phoenixdkim_mistake_late:Exporter): metric"
        )
        assert "is declared by exporter 'twin' already" in house.log()
        wait_until(lambda: up(house) == {"textfile": 1, "twin": 1, "late": 0}, house)
        assert signed(house.send())
