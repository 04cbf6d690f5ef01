"""Check exporter tables without starting anything: each in a process of its own, as ``run`` does."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from phoenixdkim.exporters.client import Answer, ExporterClient, Failed, Passed, Received, table_faults
from phoenixdkim.exporters.declared import clashes
from phoenixdkim.exporters.described import described
from phoenixdkim.exporters.messages import Reported, TableFault
from phoenixdkim.exporters.output import Output, output_pipe
from phoenixdkim.exporters.packages import plugin_name
from phoenixdkim.exporters.page import make_page
from phoenixdkim.exporters.said import ExporterLines
from phoenixdkim.exporters.spawn import EXIT_NOT_STARTED, spawn
from phoenixdkim.exporters.users import Identity, Rules, assign, uids_in_use
from phoenixdkim.ledger import Ledger, read_only_descriptor
from phoenixdkim.listeners import listens
from phoenixdkim.log import Level, printable
from phoenixdkim.messages import MessageError, VersionMismatch
from phoenixdkim.options import parse_host_port
from phoenixdkim.orphans import end_children
from phoenixdkim.prctl import adopt_orphans, end_with_parent, hide_memory
from phoenixdkim.process_status import ended_how, waited_for_processor

CHECK_TIMEOUT: Final = 10.0
"""Seconds that a plugin has to be imported and checked."""
_HUNG_UP: Final = 2.0
"""Seconds between the end of a process's channel and its own."""
_LONGEST_WAIT: Final = 20.0
"""Seconds more at most for one that waits for a processor."""
_POLL: Final = 0.1
_MARGIN: Final = 60.0
"""Seconds for what comes before and after."""


def clash_faults(answers: Mapping[str, Answer]) -> list[TableFault]:
    """What is wrong with exporters beside each other, in order of their tables."""
    return [TableFault((name,), message) for name, messages in clashes(answers).items() for message in messages]


def check_tables(
    tables: Mapping[str, Mapping[str, object]],
    rules: Rules | None = None,
    supervisor: int = 0,
    timeout: float = CHECK_TIMEOUT,
    environment: bool = False,
) -> list[TableFault]:
    """What is wrong with these ``[exporters.NAME]`` tables and their plugins; empty when nothing is.

    A plugin that hangs or dies while it is checked is a fault that does not refuse: a daemon starts without it. When
    this returns, no process that a plugin has started is left.

    Args:
        tables: the tables by name.
        rules: if we are root, plugins run as the users that they would have under a daemon; None: as root.
        supervisor: pid of the daemon that runs with these tables, 0 for none: the users of its exporters are taken.
        timeout: seconds for all of them.
        environment: whether exporters look for what this host lacks, too; each finding is a fault that does not refuse.
    """
    if not tables:
        return []
    # Whatever a plugin leaves behind comes to this process, which has no other children, and ends with it.
    reading, writing = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            end_with_parent()
            adopt_orphans()
            hide_memory()
            if os.getppid() == parent:
                found = _check(tables, rules, supervisor, timeout, environment)
                end_children()
                with os.fdopen(writing, "w") as report:
                    json.dump([asdict(fault) for fault in found], report)
        except Exception as error:  # noqa: BLE001 - nothing may return into the caller's code
            os.write(2, f"phoenixdkim: exporters could not be checked: {described(error)}\n".encode())
        finally:
            os._exit(0)
    os.close(writing)
    text = _read_all(reading, time.monotonic() + timeout + _LONGEST_WAIT + _MARGIN)
    os.close(reading)
    # A process that does not end takes its children along: each has PR_SET_PDEATHSIG.
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if not text:
        return [
            TableFault(
                (name,),
                "cannot be checked: the process that checks exporters was killed or took too long",
                refuses=False,
            )
            for name in tables
        ]
    return [_fault(entry) for entry in json.loads(text)]


def _read_all(descriptor: int, deadline: float) -> bytes:
    """Everything until the other end is closed; nothing if that is too late."""
    text = b""
    while select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
        piece = os.read(descriptor, 65536)
        if not piece:
            return text
        text += piece
    return b""


def _fault(entry: dict[str, Any]) -> TableFault:
    fault = TableFault(**entry)
    context = tuple((name, value) for name, value in fault.context)
    return replace(fault, path=tuple(fault.path), known=tuple(fault.known), context=context)


def _check(
    tables: Mapping[str, Mapping[str, object]],
    rules: Rules | None,
    supervisor: int,
    timeout: float,
    environment: bool,
) -> list[TableFault]:
    faults: list[TableFault] = []
    users: dict[str, Identity] = {}
    order = list(tables)
    if rules is not None and os.geteuid() == 0:
        users, faults = _users(tables, rules, supervisor)
        tables = {name: table for name, table in tables.items() if name in users}
    ledger = Ledger()
    reading = read_only_descriptor(ledger.fd)
    waiting: dict[ExporterClient, tuple[int, _Shown]] = {}
    for name, table in tables.items():
        if wrong := table_faults(name, table):
            faults += wrong
            continue
        page = make_page(name)
        output, writing = output_pipe()
        pid, control = spawn(reading, page, users.get(name), idle=False, output=writing)
        os.close(page)
        os.close(writing)
        client = ExporterClient(control, name)
        client.check(table, environment)
        waiting[client] = pid, _Shown(name, output)
    os.close(reading)
    os.close(ledger.fd)
    ledger.close()
    answers: dict[str, Answer] = {}
    begun = time.monotonic()
    while waiting:
        now = time.monotonic()
        outputs = [shown for _, shown in waiting.values() if shown.output.due(now)]
        sources: list[ExporterClient | Output] = [*waiting, *(shown.output for shown in outputs)]
        ready = select.select(sources, [], [], _POLL)[0]
        for shown in outputs:
            if shown.output in ready:
                shown.show(shown.output.read(now))
        passed = time.monotonic() - begun
        overdue = [
            client
            for client, (pid, _) in waiting.items()
            if passed >= timeout and passed - waited_for_processor(pid, _LONGEST_WAIT) >= timeout
        ]
        for client in [client for client in waiting if client in ready or client in overdue]:
            pid, shown = waiting[client]
            found = _result(client, tables[client.name], pid, timeout if client not in ready else None)
            if found is None:
                continue
            if isinstance(found, Passed):
                answers[client.name] = found.answer
                faults += _lacking(client.name, found.findings, supervisor)
            else:
                faults += found
            shown.finish(time.monotonic())
            del waiting[client]
            client.close()
    faults += clash_faults({name: answers[name] for name in order if name in answers})
    return sorted(faults, key=lambda fault: order.index(str(fault.path[0])))


class _Shown:
    """What a plugin writes while it is checked: shown on stderr, with its exporter's name and within bounds."""

    def __init__(self, name: str, output: Output) -> None:
        self.output = output
        self._lines = ExporterLines(name, _write)

    def show(self, lines: Sequence[str]) -> None:
        """Show lines."""
        for line in lines:
            self._lines.write(Level.NOTICE, line)
        self._lines.drop(self.output.take_dropped())

    def finish(self, now: float) -> None:
        """Show what is left."""
        self.show(self.output.finish(now))
        self._lines.report_dropped(last=True)


def _write(_level: Level, text: str) -> None:
    os.write(2, (printable(text) + "\n").encode("utf-8", "backslashreplace"))


def _result(
    client: ExporterClient, table: Mapping[str, object], pid: int, hangs: float | None
) -> Passed | Sequence[TableFault] | None:
    """What came of a check, its process then ended; None while it is not known.

    Args:
        client: has something to receive, unless it hangs.
        table: the exporter's table.
        pid: its process.
        hangs: seconds after which it has not answered, when it has not.
    """
    found: Received | None = None
    said = None if hangs is None else f"hangs: no answer to its check in {hangs:g} s"
    try:
        found = None if said else client.receive()
    except VersionMismatch as error:
        said = f"can't be checked: {error}; the package was upgraded meanwhile, check again"
    except MessageError as error:
        said = f"sent an invalid message while it was checked ({error})"
    if found is None and said is None and client.ended:
        status = _status_of(pid)
        if status is None:
            said = "closed its control channel while it was checked"
        elif os.waitstatus_to_exitcode(status) != EXIT_NOT_STARTED:
            said = f"ended its process while it was checked ({ended_how(status)})"
        else:
            said = "cannot be started: its user cannot run the interpreter or read the package, see the line before"
    elif said or isinstance(found, (Passed, Failed)):
        # Reaped at the end: while another process traces it, nobody can.
        os.kill(pid, signal.SIGKILL)
    if said:
        return [_absent(client.name, table, said)]
    if isinstance(found, Failed):
        return found.faults
    return found if isinstance(found, Passed) else None


def _status_of(pid: int) -> int | None:
    """Reap a process that has closed its channel; None for one that had to be killed, as another program runs in it."""
    deadline = time.monotonic() + _HUNG_UP
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return None


def _users(
    tables: Mapping[str, Mapping[str, object]], rules: Rules, supervisor: int
) -> tuple[dict[str, Identity], list[TableFault]]:
    """The users that a daemon would choose, and a fault where every id is in use."""
    options = {name: user if isinstance(user := table.get("user"), str) else "" for name, table in tables.items()}
    # What is wrong in the file is told with its place by ``config.build``; such a plugin is checked as another user.
    wrong = {fault.exporter for fault in assign(options, rules)[1]}
    options |= dict.fromkeys(wrong & options.keys(), "")
    users, without = assign(options, rules, busy=uids_in_use(supervisor))
    faults = [
        TableFault((fault.exporter,), f"{fault.message}; the daemon starts without this exporter", refuses=False)
        for fault in without
        if fault.exporter not in wrong
    ]
    return users, faults


def _lacking(name: str, findings: Sequence[Reported], supervisor: int) -> list[TableFault]:
    """What the host lacks for an exporter, without what the running daemon itself uses."""
    faults = []
    for finding in findings:
        message = printable(finding.message)
        if finding.address:
            try:
                address = parse_host_port(finding.address)
            except ValueError:
                continue
            ours = listens(supervisor, address.host, address.port)
            if ours:
                continue
            if ours is None:
                message += "; it may be the running daemon, which only root can see"
        faults.append(TableFault((name,), message, refuses=False))
    return faults


def _absent(name: str, table: Mapping[str, object], what: str) -> TableFault:
    plugin = plugin_name(str(table.get("type") or name))
    message = f"{plugin}: it {what}; the daemon starts without this exporter, shows it as down and tries again"
    return TableFault((name,), message, refuses=False)
