"""The commands. Each is a module with ``NAME``, ``HELP``, ``add_arguments(parser)`` and ``run(args) -> int``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, Protocol, cast

from phoenixdkim import __version__

COMMANDS: Final = {
    "run": "run the daemon in the foreground",
    "check": "check configuration, keys and exporters",
    "reload": "have the running daemon read its configuration again",
    "sign": "sign a message on standard input",
    "verify": "verify a message on standard input",
    "metrics": "show the catalogue of metrics",
}
"""Names and summaries; module ``phoenixdkim.cli.NAME``. Only the one that is called is imported."""

DEFAULT_CONFIG: Final = "/etc/phoenixdkim/phoenixdkim.toml"


class Command(Protocol):
    """What a command's module has."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; returns the exit status."""


def command(name: str) -> Command:
    """The module of a command."""
    return cast(Command, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the command that ``argv`` names has its arguments."""
    top = argparse.ArgumentParser(
        prog="phoenixdkim",
        description="DKIM signing and verifying milter.",
        epilog="'phoenixdkim COMMAND --help' tells of a command's arguments.",
    )
    top.add_argument("--version", action="version", version=f"phoenixdkim {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    called = next((word for word in argv if not word.startswith("-")), "")
    for name, summary in COMMANDS.items():
        if name == called:
            module = command(name)
            module.add_arguments(commands.add_parser(name, help=summary, description=module.HELP))
        else:
            commands.add_parser(name, help=summary)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser(words).parse_args(words)
    try:
        status = command(args.command).run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone, as 'head' does. Python would complain at exit when it flushes again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130
    return status
