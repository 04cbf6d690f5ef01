"""An exporter that fills its shared memory with anything is down, by name; mail and other exporters go on."""

from __future__ import annotations

import shutil
import sysconfig
import time
from pathlib import Path

import pytest

from daemon.house import House, StatsdReceiver, signed

TABLES = """
[exporters.textfile]
path = "{metrics}/x.prom"
interval = 0.2
[exporters.statsd]
address = "unix:{base}/statsd"
interval = 0.2
[exporters.honest]
type = "overwrites"
how = "nothing"
"""
HOSTILE = ("octets", "words", "ones", "hole")


@pytest.fixture(scope="module")
def installed():
    """The plugin of hostile_memory.py as an installed package."""
    site = Path(sysconfig.get_path("purelib"))
    module = site / "phoenixdkim_hostile_memory.py"
    metadata = site / "phoenixdkim_hostile_memory-0.dist-info"
    shutil.copy(Path(__file__).with_name("hostile_memory.py"), module)
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: phoenixdkim-hostile-memory\nVersion: 0\n")
    points = "overwrites = phoenixdkim_hostile_memory:Overwrites"
    (metadata / "entry_points.txt").write_text(f"[phoenixdkim.exporters]\n{points}\n")
    yield
    module.unlink()
    shutil.rmtree(metadata)


def series(path: Path) -> dict[str, float]:
    """Names, labels and values of an exposition; no series is in it twice."""
    lines = [line.rsplit(" ", 1) for line in path.read_text().splitlines() if not line.startswith("#")]
    found = {name: float(value) for name, value in lines}
    assert len(found) == len(lines), "no series twice"
    return found


@pytest.mark.daemon
def test_mail_and_siblings_go_on_beside_exporters_that_overwrite_their_memory(installed, key):
    tables = TABLES + "".join(f'[exporters.{how}]\ntype = "overwrites"\nhow = "{how}"\n' for how in HOSTILE)
    house = House(key, exporters=tables)
    receiver = StatsdReceiver(house.base / "statsd")
    receiver.start()
    with house:
        path = house.metrics / "x.prom"
        sent = 0
        before: dict[str, float] = {}
        deadline = time.monotonic() + 90
        seen_down: set[str] = set()
        while time.monotonic() < deadline and (seen_down != set(HOSTILE) or sent < 50):
            assert signed(house.send())
            sent += 1
            if path.exists():
                now = series(path)
                assert now.keys() >= before.keys(), "an exporter adds its series when it starts"
                fell = [name for name, value in before.items() if "_total" in name and now[name] < value]
                assert fell == []
                seen_down |= {how for how in HOSTILE if now[f'phoenixdkim_exporter_up{{exporter="{how}"}}'] == 0}
                before = now
            time.sleep(0.02)
        assert seen_down == set(HOSTILE), house.log()[-3000:]
        deadline = time.monotonic() + 60
        while series(path)["phoenixdkim_messages_total"] < sent or series(path)["phoenixdkim_messages_total"] != sent:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found = series(path)
        for name in ("textfile", "statsd", "honest"):
            assert found[f'phoenixdkim_exporter_up{{exporter="{name}"}}'] == 1
            assert found[f'phoenixdkim_exporter_failures_total{{exporter="{name}"}}'] == 0
            assert found[f'phoenixdkim_exporter_lost_total{{exporter="{name}"}}'] == 0
        assert found["phoenixdkim_worker_restarts_total"] == 0
        assert all(0 <= value < 2**54 for name, value in found.items())
        log = house.log()
        for how in HOSTILE:
            assert f"exporter '{how}' overwrote its shared page with invalid values; killed" in log
        assert not any(f"exporter '{name}' overwrote" in log for name in ("textfile", "statsd", "honest"))
        assert house.stop() == 0
    receiver.close()
    assert receiver.counters_of(["phoenixdkim.messages"]) == {"phoenixdkim.messages": sent}, receiver.counters


@pytest.mark.daemon
@pytest.mark.parametrize("how", HOSTILE)
def test_a_successor_repairs_the_page(installed, key, how):
    table = f'[exporters.once]\ntype = "overwrites"\nhow = "{how}"\nmarker = "{{metrics}}/marker"\n'
    with House(key, exporters=TABLES.partition("[exporters.statsd]")[0] + table) as house:
        path = house.metrics / "x.prom"
        house.wait_for("exporter 'once' overwrote its shared page", timeout=90)
        deadline = time.monotonic() + 90
        up = 'phoenixdkim_exporter_up{exporter="once"}'
        while not path.exists() or series(path)[up] == 0:
            assert time.monotonic() < deadline, house.log()
            time.sleep(0.05)
        for _ in range(20):
            assert signed(house.send())
        events = house.metrics / "marker.events"
        while not events.exists() or sum(map(int, events.read_text().split())) < 20:
            assert time.monotonic() < deadline, house.log()
            time.sleep(0.05)
        time.sleep(1)
        assert sum(map(int, events.read_text().split())) == 20, "each once"
        told = [line for line in house.log().splitlines() if "summary" not in line]
        assert len([line for line in told if "overwrote its shared page with invalid values; killed" in line]) == 1, (
            told
        )
        assert series(path)[up] == 1
        assert 0 < series(path)['phoenixdkim_exporter_painted_total{colour="red"}'] < 2**54
