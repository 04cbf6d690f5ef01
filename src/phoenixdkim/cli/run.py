"""``phoenixdkim run``: the daemon, in the foreground."""

from __future__ import annotations

import argparse
import gc
import sys

NAME = "run"
HELP = "run the daemon in the foreground"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default="/etc/phoenixdkim/phoenixdkim.toml",
        help="configuration file (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; 78 if the configuration has errors, 69 if the socket is unavailable."""
    # Before anything that takes time: a signal during the start must neither kill nor be lost.
    from phoenixdkim.daemon.signals import SignalNotes

    signals = SignalNotes()
    signals.install()
    # All that workers need is imported here, before the first fork: they share it, and nothing is loaded later,
    # when privileges are gone or the installed version is another.
    from phoenixdkim.daemon.supervisor import StartRefused, Supervisor

    gc.collect()
    gc.freeze()
    try:
        return Supervisor(arguments.config, signals).run()
    except StartRefused as refused:
        for line in refused.lines:
            print(line, file=sys.stderr)
        return refused.status
