"""What a reload of a checked file would change in the running daemon, for ``phoenixdkim check``."""

from __future__ import annotations

from dataclasses import dataclass

from phoenixdkim.config.load import Loaded
from phoenixdkim.config.summary import ACCEPT, changes, objections, summarize
from phoenixdkim.daemon.control_client import Unreachable, control_path, request_status


@dataclass(frozen=True, slots=True)
class Comparison:
    """A file beside the configuration in force.

    Attributes:
        pid: of the running daemon; 0 when none was reached.
        changes: what a reload would change.
        objections: why a reload would be refused.
        unreachable: why no daemon was reached.
    """

    pid: int
    changes: str = ""
    objections: tuple[str, ...] = ()
    unreachable: str = ""

    def lines(self) -> list[str]:
        """Return the comparison in words."""
        if not self.pid:
            return [f"no running daemon was reached: {self.unreachable}"]
        found = [f"reload of the running daemon (pid {self.pid}): {self.changes}"]
        if self.objections:
            found += [f"a reload would be refused: {line}" for line in self.objections]
            found.append(ACCEPT)
        return found


def compare(loaded: Loaded) -> Comparison:
    """Compare a file without errors with the configuration of the daemon that its control socket leads to."""
    assert loaded.config is not None
    try:
        status = request_status(control_path(loaded))
    except Unreachable as error:
        return Comparison(0, unreachable=str(error))
    new = summarize(loaded.config, loaded.tables)
    return Comparison(status.pid, changes(status.summary, new), tuple(objections(status.summary, new)))
