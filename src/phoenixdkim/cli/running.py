"""Find the daemon that runs with a configuration file."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from phoenixdkim.cli import run


def supervisor_of(path: str) -> int:
    """Return the pid of the supervisor that root runs with configuration file ``path``; 0 if there is none."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _runs(Path("/proc", entry), path):
            return int(entry)
    return 0


def _runs(process: Path, path: str) -> bool:
    try:
        # Those of root's processes only: a user's process can have any words in its command line.
        uids, parent = _status(process)
        if set(uids) != {0}:
            return False
        words = (process / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
        given = _config(words)
        if given is None:
            return False
        # Without CAP_SYS_PTRACE, as in the service, not even root may read where another process is.
        where = "" if os.path.isabs(given) else os.readlink(process / "cwd")
        if not os.path.samefile(os.path.join(where, given), path):
            return False
        # The leader before it dropped its privileges looks the same, and so do workers of a daemon that runs as root.
        return (
            _config((Path("/proc", str(parent), "cmdline")).read_bytes().decode(errors="replace").split("\0")) is None
        )
    except (OSError, ValueError):
        # It ended meanwhile, or may not be looked at.
        return False


def _status(process: Path) -> tuple[list[int], int]:
    rows = dict(
        row.split(":", 1) for row in (process / "status").read_text(errors="replace").splitlines() if ":" in row
    )
    return [int(uid) for uid in rows["Uid"].split()], int(rows["PPid"])


def _config(words: list[str]) -> str | None:
    """The configuration file of ``phoenixdkim run``; None for any other command line."""
    for number, word in enumerate(words[:-1]):
        if os.path.basename(word) == "phoenixdkim" and words[number + 1] == run.NAME:
            parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
            run.add_arguments(parser)
            try:
                return str(parser.parse_known_args([word for word in words[number + 2 :] if word])[0].config)
            except (argparse.ArgumentError, SystemExit):
                return None
    return None
