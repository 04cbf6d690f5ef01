"""Check exporter tables without starting anything: each in a process of its own, as ``run`` does."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Mapping
from typing import Any, Final

from phoenixdkim.exporters.inspection import TableFault
from phoenixdkim.exporters.page import make_page
from phoenixdkim.exporters.spawn import spawn
from phoenixdkim.ledger import Ledger, read_only_descriptor

CHECK_TIMEOUT: Final = 10.0
"""Seconds that a plugin has to be imported and checked."""


def faults_from(message: Mapping[str, Any]) -> list[TableFault]:
    """The faults in an exporter process's answer."""
    return [
        TableFault(
            tuple(fault["path"]),
            fault["message"],
            fault.get("kind", ""),
            fault.get("value", ""),
            tuple(fault.get("known", ())),
            tuple((name, text) for name, text in fault.get("context", ())),
        )
        for fault in message.get("faults", ())
    ]


def check_tables(tables: Mapping[str, Mapping[str, object]], timeout: float = CHECK_TIMEOUT) -> list[TableFault]:
    """What is wrong with these ``[exporters.NAME]`` tables and their plugins; empty when nothing is.

    A plugin that hangs or dies while it is checked is a fault here; a daemon would start without it.
    """
    if not tables:
        return []
    ledger = Ledger()
    reading = read_only_descriptor(ledger.fd)
    waiting = {}
    for name, table in tables.items():
        page = make_page(name)
        pid, control = spawn(reading, page, None)
        os.close(page)
        control.send(json.dumps({"name": name, "table": table}, default=str).encode())
        waiting[control] = (name, pid)
    os.close(reading)
    faults: list[TableFault] = []
    deadline = time.monotonic() + timeout
    while waiting:
        ready, _, _ = select.select(list(waiting), [], [], max(0.0, deadline - time.monotonic()))
        for control in ready or list(waiting):
            name, pid = waiting[control]
            message: dict[str, Any] = {}
            if ready:
                data = control.recv(262144)
                message = json.loads(data) if data else {"faults": [_died(name)]}
                if "log" in message:
                    continue
            else:
                message = {
                    "faults": [
                        {
                            "path": [name],
                            "message": f"plugin of exporter '{name}' hangs: no answer to its check in {timeout:g} s",
                        }
                    ]
                }
            faults += faults_from(message)
            del waiting[control]
            control.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    order = list(tables)
    return sorted(faults, key=lambda fault: order.index(str(fault.path[0])))


def _died(name: str) -> dict[str, Any]:
    return {"path": [name], "message": f"plugin of exporter '{name}' killed its process while it was checked"}
