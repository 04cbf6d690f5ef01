"""Exporter processes killed each second under load: what they tell in the end is what happened."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import urllib.request

import pytest

from daemon.house import House, StatsdReceiver
from daemon.verdicts import Mail, Verdicts
from exposition import dotted_series, read_text

EXPORTERS = """\
[exporters.textfile]
path = "{{metrics}}/x.prom"
interval = 0.5
[exporters.http]
listen = "127.0.0.1:{port}"
interval = 0.5
[exporters.statsd]
address = "unix:{{base}}/statsd.sock"
interval = 0.2
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.long)])
def test_killed_each_second(key, free_port, seconds):
    with House(key) as alone:
        mail = Mail(alone)
    house = House(key, exporters=EXPORTERS.format(port=free_port))
    receiver = StatsdReceiver(house.base / "statsd.sock")
    receiver.start()
    with house:
        verdicts = Verdicts(house, mail, None, threads=2)
        killed = 0
        begun = time.monotonic()
        for number in range(seconds):
            time.sleep(max(0.0, begun + number + 1 - time.monotonic()))
            for pid, line in house.descendants().items():
                if "phoenixdkim.exporters.process" in line:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
        verdicts.end()
        assert verdicts.changed == []
        assert killed >= 6

        def scraped():
            with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=30) as answer:
                return read_text(answer.read().decode())

        def at_rest():
            try:
                found = scraped()
            except OSError:
                return False
            up = {
                dict(labels)["exporter"] for (name, labels), value in found.items() if name.endswith("r_up") and value
            }
            written = house.metrics / "x.prom"
            return (
                up == {"textfile", "http", "statsd"}
                and written.exists()
                and read_text(written.read_text())["phoenixdkim_messages_total", ()] == verdicts.sent
            )

        deadline = time.monotonic() + 180
        while not at_rest():
            assert time.monotonic() < deadline, house.log()[-3000:]
            time.sleep(0.2)
        by_http = scraped()
        assert house.stop() == 0
        by_file = read_text((house.metrics / "x.prom").read_text())
    receiver.close()
    assert by_http["phoenixdkim_messages_total", ()] == verdicts.sent
    names = dotted_series()
    received = receiver.counters_of(names)
    ledger = {name: by_file[series] for name, series in names.items()}
    assert {name: value for name, value in received.items() if value > ledger[name]} == {}, "never more than happened"
    lost = by_file["phoenixdkim_exporter_lost_total", (("exporter", "statsd"),)]
    print(f"{killed} kills, {sum(ledger.values()):.0f} events, {sum(received.values()):.0f} received, {lost:.0f} lost")
    assert sum(received.values()) + lost == sum(ledger.values())
    for exporter in ("textfile", "http"):
        assert by_file["phoenixdkim_exporter_lost_total", (("exporter", exporter),)] == 0
    assert {series: by_file[series] for series in names.values()} == {
        series: by_http[series] for series in names.values()
    }
