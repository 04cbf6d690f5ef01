"""``phoenixdkim reload``: ask the running daemon to read its configuration again."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from phoenixdkim.cli import DEFAULT_CONFIG
from phoenixdkim.config.load import read
from phoenixdkim.daemon.control_client import RELOAD_TIMEOUT, Unreachable, control_path, request_reload
from phoenixdkim.daemon.control_messages import Verdict

NAME: Final = "reload"
HELP: Final = (
    "Ask the running daemon to read its configuration file again, and print what changed. If the daemon refuses it,"
    " the reasons are printed and the configuration in force stays. Exit status 0 when the configuration was reloaded"
    " or has not changed, 1 when it was refused, 69 when no daemon answers."
)
EXIT_REFUSED: Final = 1
EXIT_UNAVAILABLE: Final = 69


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "-c",
        "--config",
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="configuration file, read for its option control.socket (default: %(default)s)",
    )
    parser.add_argument("--socket", metavar="PATH", help="the daemon's control socket, instead of the option")
    parser.add_argument(
        "--accept-shrink",
        action="store_true",
        help="accept a configuration that removes rules, keys or trusted networks (reload.max_shrink)",
    )


def run(args: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    path = args.socket if args.socket is not None else control_path(read(args.config, None))
    try:
        result = request_reload(path, args.accept_shrink, RELOAD_TIMEOUT)
    except Unreachable as error:
        print(f"phoenixdkim: no daemon reached: {error}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    if result.verdict is Verdict.REFUSED:
        for line in result.lines:
            print(line, file=sys.stderr)
        print("phoenixdkim: reload refused; the configuration in force stays", file=sys.stderr)
        return EXIT_REFUSED
    print(": ".join([result.verdict.value, *result.lines]))
    return 0
