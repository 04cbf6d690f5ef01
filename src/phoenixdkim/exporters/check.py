"""Check exporter tables without starting anything: each in a process of its own, as ``run`` does."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Mapping
from typing import Any, Final

from phoenixdkim.exporters.declared import Shown, clashes, read_schema
from phoenixdkim.exporters.inspection import TableFault, plugin_name
from phoenixdkim.exporters.page import make_page
from phoenixdkim.exporters.spawn import spawn
from phoenixdkim.ledger import Ledger, read_only_descriptor

CHECK_TIMEOUT: Final = 10.0
"""Seconds that a plugin has to be imported and checked."""

Answer = tuple[str, tuple[Shown, ...]]
"""Of an exporter without fault: its plugin's name and package, and its own metrics."""


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


def answer_from(message: Mapping[str, Any]) -> Answer:
    """Plugin and metrics in an exporter process's answer; no metrics when they are out of bounds."""
    return str(message.get("plugin", "")), read_schema(str(message.get("metrics", "")).encode()) or ()


def clash_faults(answers: Mapping[str, Answer]) -> list[TableFault]:
    """What is wrong with exporters beside each other, in order of their tables."""
    return [TableFault((name,), message) for name, messages in clashes(answers).items() for message in messages]


def ended_how(status: int) -> str:
    """How a process ended, from what waitpid said: ``signal SIGSEGV`` or ``exit status 3``."""
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"


def check_tables(tables: Mapping[str, Mapping[str, object]], timeout: float = CHECK_TIMEOUT) -> list[TableFault]:
    """What is wrong with these ``[exporters.NAME]`` tables and their plugins; empty when nothing is.

    A plugin that hangs or dies while it is checked is a fault that does not refuse: a daemon starts without it.
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
    os.close(ledger.fd)
    ledger.close()
    faults: list[TableFault] = []
    answers: dict[str, Answer] = {}
    deadline = time.monotonic() + timeout
    while waiting:
        ready, _, _ = select.select(list(waiting), [], [], max(0.0, deadline - time.monotonic()))
        for control in ready or list(waiting):
            name, pid = waiting[control]
            data = control.recv(262144) if ready else b""
            message: dict[str, Any] = json.loads(data) if data else {}
            if "log" in message:
                continue
            if not data and ready:
                # Its end is a moment before its last status.
                status = os.waitpid(pid, 0)[1]
                faults.append(
                    _absent(name, tables[name], f"ended its process while it was checked ({ended_how(status)})")
                )
            else:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                if not data:
                    faults.append(_absent(name, tables[name], f"hangs: no answer to its check in {timeout:g} s"))
            faults += faults_from(message)
            if message.get("checked"):
                answers[name] = answer_from(message)
            del waiting[control]
            control.close()
    order = list(tables)
    faults += clash_faults({name: answers[name] for name in order if name in answers})
    return sorted(faults, key=lambda fault: order.index(str(fault.path[0])))


def _absent(name: str, table: Mapping[str, object], what: str) -> TableFault:
    plugin = plugin_name(str(table.get("type") or name))
    message = f"{plugin}: it {what}; the daemon starts without this exporter, shows it as down and tries again"
    return TableFault((name,), message, refuses=False)
