"""The ledger and the exporters' pages of a running daemon, read beside all exporters."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from phoenixdkim import __version__
from phoenixdkim.exporters.page import Page
from phoenixdkim.exporters.record import Record
from phoenixdkim.exporters.snapshots import snapshot
from phoenixdkim.exporters.state import StateReader
from phoenixdkim.ledger import LedgerReader, families
from phoenixdkim.metrics import Snapshot


@contextmanager
def _opened(supervisor: int) -> Iterator[tuple[LedgerReader, list[StateReader]]]:
    with ExitStack() as stack:
        reader: LedgerReader | None = None
        pages: dict[str, Page] = {}
        records: dict[str, Record] = {}
        for entry in sorted(Path(f"/proc/{supervisor}/fd").iterdir()):
            try:
                link = os.readlink(entry)
            except FileNotFoundError:
                # What the supervisor waits with comes and goes.
                continue
            named = re.match(r"/memfd:phoenixdkim-(ledger|(exporter|record)-(.*)) \(deleted\)$", link)
            if named is None:
                continue
            fd = os.open(entry, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            if named[1] == "ledger":
                reader = stack.enter_context(closing(LedgerReader(fd)))
            elif named[2] == "exporter":
                pages[named[3]] = stack.enter_context(closing(Page(fd, named[3])))
            else:
                records[named[3]] = stack.enter_context(closing(Record(fd, named[3])))
        assert reader is not None, f"process {supervisor} has no ledger open"
        yield reader, [StateReader(records[name], page) for name, page in pages.items()]


def truth(supervisor: int) -> Snapshot:
    """All metrics of the daemon with this supervisor as they are now."""
    with _opened(supervisor) as (reader, pages):
        return snapshot(reader, reader.totals(), pages, __version__)


def truth_of_ledger(supervisor: int) -> Snapshot:
    """The metrics that are in the ledger, without what exporters keep of themselves."""
    with _opened(supervisor) as (reader, _):
        return Snapshot(tuple(families(reader, reader.totals(), __version__)))
