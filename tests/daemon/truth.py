"""The ledger and the exporters' pages of a running daemon, read beside all exporters."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, closing
from pathlib import Path

from phoenixdkim import __version__
from phoenixdkim.exporters.page import Page
from phoenixdkim.exporters.snapshots import snapshot
from phoenixdkim.ledger import LedgerReader
from phoenixdkim.metrics import Snapshot


def truth(supervisor: int) -> Snapshot:
    """All metrics of the daemon with this supervisor as they are now."""
    with ExitStack() as stack:
        reader: LedgerReader | None = None
        pages = {}
        for entry in sorted(Path(f"/proc/{supervisor}/fd").iterdir()):
            named = re.match(r"/memfd:phoenixdkim-(ledger|exporter-(.*)) \(deleted\)$", os.readlink(entry))
            if named is None:
                continue
            fd = os.open(entry, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            if named[1] == "ledger":
                reader = stack.enter_context(closing(LedgerReader(fd)))
            else:
                pages[named[2]] = stack.enter_context(closing(Page(fd, named[2])))
        assert reader is not None, f"process {supervisor} has no ledger open"
        return snapshot(reader, reader.totals(), list(pages.values()), __version__)
