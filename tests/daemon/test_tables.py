"""The command ``verify`` and the milter give each row of the tables the same verdict, reason and field.

The daemon runs whole, with libmilter, workers and a real resolver; its wall clock stands still at the row's time.
"""

from __future__ import annotations

import datetime
import io
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import dns.rcode
import pytest
import tomli_w

from daemon.house import House
from interop.peers import KeyPair
from phoenixdkim.cli import main
from phoenixdkim.dkim.headers import parse_message
from phoenixdkim.testing.dns_server import Behaviour, ScriptedDnsServer, txt
from phoenixdkim.testing.milter_protocol import Change, Reply, apply
from requirement import requirement
from tables.every import ROWS
from tables.judge import demand_field, tables_of
from tables.row import NoRecord, Row

pytestmark = pytest.mark.daemon

STRANGER = "203.0.113.9"


def groups() -> dict[str, list[Row]]:
    """Rows that one configuration and one moment serve."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in ROWS:
        options = ", ".join(f"{name}={value}" for name, value in sorted(row.options.items()))
        moment = datetime.datetime.fromtimestamp(row.now, datetime.UTC)
        found[f"{options or 'defaults'} at {moment:%Y-%m-%d %H:%M:%S}"].append(row)
    return found


GROUPS = groups()


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedDnsServer]:
    with ScriptedDnsServer() as running:
        yield running


def publish(server: ScriptedDnsServer, row: Row) -> None:
    """Answer as the row has it; nothing is to be kept."""
    server.clear()
    server.set_default(Behaviour(rcode=dns.rcode.NXDOMAIN, soa_minimum=None))
    for name, answer in row.zone.items():
        shown = name.decode("ascii")
        if answer is NoRecord.UNAVAILABLE:
            server.set(shown, Behaviour(rcode=dns.rcode.SERVFAIL))
        elif not isinstance(answer, NoRecord):
            records = tuple(txt(record) if isinstance(record, bytes) else record for record in answer)
            server.set(shown, Behaviour(records, ttl=0))


def configuration(row: Row, house: House, server: ScriptedDnsServer) -> str:
    """The configuration file of a row, with a socket, a resolver that keeps nothing, and no exporter."""
    tables = tables_of(row)
    tables.setdefault("dns", {}).update(
        {"nameservers": [server.address], "cache_size": 0, "failure_ttl": 0.0, "dnssec_probe": ""}
    )
    tables["milter"] = {"socket": house.address, "workers": 1, **tables.get("milter", {})}
    tables["process"] = {"user": "daemon"}
    tables["log"] = {"destination": "stderr"}
    return tomli_w.dumps(tables)


def standing_clock(now: int) -> dict[str, str]:
    """Variables that stop a program's wall clock, and no other clock."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    assert library is not None, "Debian's package faketime is missing; scripts/setup test installs it"
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{moment:%Y-%m-%d %H:%M:%S}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
        "TZ": "UTC",
    }


def said_by_command(
    row: Row, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, object]:
    """What ``phoenixdkim verify`` prints of a row as JSON."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(row.message)))
    capsys.readouterr()
    status = main(["verify", "-c", str(config), "--now", str(row.now), "--json"])
    printed = capsys.readouterr()
    assert printed.err == ""
    assert status == {"pass": 0, "temperror": 75}.get(row.expected.value, 1)
    found: dict[str, object] = json.loads(printed.out)
    return found


def said_by_milter(row: Row, number: int, house: House) -> tuple[Reply, dict[str, str]]:
    """The milter's answer, and its log line."""
    fields, body = parse_message(row.message)
    with house.client() as client:
        reply = client.send_message(
            [(field.name, field.value) for field in fields], body, client_address=STRANGER, macros={"i": f"ROW{number}"}
        )
    house.wait_for(f"ROW{number}: summary ")
    line = re.search(f"ROW{number}: summary (.*)", house.log())
    assert line is not None
    return reply, dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', line[1]))


def differences(row: Row, command: dict[str, object], reply: Reply, line: dict[str, str]) -> Iterator[str]:
    """Where the milter, the command and the row disagree."""
    expected = (row.expected.value, row.reason.value)
    if (command["result"], command["reason"]) != expected:
        yield f"the command says {command['result']}, {command['reason']}"
    if (line["result"], line["reason"]) != expected:
        yield f"the log says {line['result']}, {line['reason']}"
    signatures = command["signatures"]
    assert isinstance(signatures, list)
    if [(one["result"], one["reason"]) for one in signatures] != [(str(a), str(b)) for a, b in row.expected_verdicts]:
        yield f"the command's signatures are {[(one['result'], one['reason']) for one in signatures]}"
    removed = [change.index for change in reply.modifications if change.change is Change.CHANGE_HEADER]
    if removed != sorted(row.removed, reverse=True):
        yield f"the milter removed {removed}"
    added = [
        value.replace(b"\r\n", b"\n")
        for name, value in apply(reply, [])
        if name == b"Authentication-Results" and value.strip()
    ]
    if row.options.get("verifying.add_none") is False and not row.expected_verdicts:
        if added:
            yield f"the milter added {added}"
        return
    told = str(command["authentication_results"]).encode().removeprefix(b"Authentication-Results:")
    if added != [told]:
        yield f"the milter added {added}, the command printed {told!r}"
    else:
        demand_field(row, added[0].replace(b"\n", b"\r\n"))


@requirement("C14", "A06", "A07", "A11", "A14")
@pytest.mark.parametrize("name", GROUPS)
def test_the_command_and_the_milter_say_the_same(
    name: str, server: ScriptedDnsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: Sequence[Row] = GROUPS[name]
    house = House(KeyPair.ed25519("example.net"), workers=1)
    try:
        house.config.write_text(configuration(rows[0], house, server))
        house.start(standing_clock(rows[0].now))
        found = []
        for number, row in enumerate(rows):
            publish(server, row)
            command = said_by_command(row, house.config, monkeypatch, capsys)
            if not row.dialogue:
                if (command["result"], command["reason"]) != (row.expected.value, row.reason.value):
                    found.append(f"{row.name}: the command says {command['result']}, {command['reason']}")
                continue
            reply, line = said_by_milter(row, number, house)
            found += [f"{row.name}: {what}" for what in differences(row, command, reply, line)]
        assert found == []
    finally:
        house.close()


def test_most_rows_can_be_told_to_a_milter() -> None:
    assert sum(row.dialogue for row in ROWS) > 0.9 * len(ROWS)
