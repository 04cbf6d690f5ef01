"""Exporter tables that do not go together: what a plugin, which sees its own table alone, can't tell.

Here the core knows the exporters of its own project by name. What an option of theirs may be, their plugins check.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import ValidationError

from phoenixdkim.config.faults import Severity, shown, wording
from phoenixdkim.config.locate import Path
from phoenixdkim.exporters.client import table_faults
from phoenixdkim.options import ProcessOptions, process_options

MAX_EXPORTERS: Final = 100
"""Each exporter gets two descriptors of every other; a message carries up to 250."""
MAX_NAME: Final = 64
_MAX_OCTETS: Final = 131_072
"""The supervisor gets all tables in one message."""

Found = tuple[Path, str, Severity]


def check_exporters(exporters: Mapping[str, object]) -> Iterator[Found]:
    """What is wrong with the names of ``[exporters.NAME]`` tables, and with some of them together."""
    for name in exporters:
        if not name or len(name) > MAX_NAME or not all(c.isascii() and (c.isalnum() or c in "_-") for c in name):
            yield (
                ("exporters", name),
                f"{shown(name)} is no name for an exporter; write up to 64 letters, digits, '_' and '-'",
                Severity.ERROR,
            )
    if len(exporters) > MAX_EXPORTERS:
        yield (
            ("exporters",),
            f"{len(exporters)} exporters; {MAX_EXPORTERS} is the most, since each shows the state of all others",
            Severity.ERROR,
        )
    for name, table in exporters.items():
        if isinstance(table, dict):
            unsendable = list(_unsendable(name, table))
            yield from unsendable
            told = {path for path, _, _ in unsendable}
            yield from (found for found in _process_options(name, table) if found[0] not in told)
    yield from _too_large(exporters)
    yield from _one_directory(exporters)
    yield from _both_scraped(exporters)
    yield from _wide(exporters)


def _process_options(name: str, table: Mapping[str, object]) -> Iterator[Found]:
    try:
        process_options(table)
    except ValidationError as error:
        for entry in error.errors(include_url=False):
            option = str(entry["loc"][0])
            words = wording(
                entry["type"], entry["msg"], shown(entry["input"]), tuple(ProcessOptions.model_fields), option
            )
            yield ("exporters", name, option), words, Severity.ERROR


def _unsendable(name: str, table: Mapping[str, object]) -> Iterator[Found]:
    """Values that an exporter's process cannot get: dates, numbers that are not finite, too much of anything."""
    for fault in table_faults(name[:MAX_NAME], table):
        yield ("exporters", name, *fault.path[1:]), fault.message, Severity.ERROR


def _too_large(exporters: Mapping[str, object]) -> Iterator[Found]:
    octets = len(json.dumps(exporters, default=str))
    if octets > _MAX_OCTETS:
        message = f"the tables have {octets} octets together; {_MAX_OCTETS} is the most"
        yield ("exporters",), message, Severity.ERROR


def _of_type(exporters: Mapping[str, object], kind: str) -> dict[str, Mapping[str, object]]:
    return {
        name: table
        for name, table in exporters.items()
        if isinstance(table, dict) and (table.get("type") or name) == kind
    }


def _one_directory(exporters: Mapping[str, object]) -> Iterator[Found]:
    paths: dict[str, str] = {}
    for name, table in _of_type(exporters, "textfile").items():
        path = table.get("path")
        if not isinstance(path, str):
            continue
        for other, known in paths.items():
            where: Path = ("exporters", name, "path")
            if os.path.normpath(known) == os.path.normpath(path):
                yield where, f"exporter {shown(other)} writes {shown(path)} too; write another path", Severity.ERROR
            elif os.path.dirname(os.path.normpath(known)) == os.path.dirname(os.path.normpath(path)):
                yield (
                    where,
                    f"exporter {shown(other)} writes the same series into the same directory, and node_exporter then"
                    " shows an error instead of them; write a path in another directory",
                    Severity.WARNING,
                )
        paths[name] = path


def _both_scraped(exporters: Mapping[str, object]) -> Iterator[Found]:
    textfiles = list(_of_type(exporters, "textfile"))
    for name, table in _of_type(exporters, "http").items():
        if textfiles and table.get("beside_textfile") is not True:
            yield (
                ("exporters", name),
                f"exporter {shown(textfiles[0])} is enabled too: a Prometheus that scrapes this port and node_exporter"
                " has every series twice; remove one of the two tables, or write beside_textfile = true here",
                Severity.WARNING,
            )


def _wide(exporters: Mapping[str, object]) -> Iterator[Found]:
    for name, table in _of_type(exporters, "http").items():
        listen = table.get("listen", [])
        for number, text in enumerate(listen if isinstance(listen, list) else [listen]):
            if isinstance(text, str) and _reachable(text.rpartition(":")[0].strip("[]")):
                path: Path = ("exporters", name, "listen")
                yield (
                    (*path, number) if isinstance(listen, list) else path,
                    f"{shown(text)} can be reached from outside this host, without TLS and without authentication;"
                    ' write "127.0.0.1:9323" and put a reverse proxy in front',
                    Severity.WARNING,
                )


def _reachable(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        # No address: an error, which the plugin tells.
        return False
