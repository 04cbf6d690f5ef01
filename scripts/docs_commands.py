"""The commands, and the man pages."""

from __future__ import annotations

import argparse

from docs_markdown import cell, page, sentence, table
from docs_options import kind_text, sections

from phoenixdkim.cli import COMMANDS, command
from phoenixdkim.config.sample import default_text, plain


def command_parser(name: str) -> argparse.ArgumentParser:
    """The arguments of a command."""
    parser = argparse.ArgumentParser(prog=f"phoenixdkim {name}", add_help=False)
    command(name).add_arguments(parser)
    return parser


def arguments(name: str) -> list[tuple[str, str]]:
    """Arguments of a command as they are written, and their meaning."""
    found = []
    # argparse's own help text differs between versions of Python.
    for action in command_parser(name)._actions:
        value = ""
        if action.nargs != 0:
            value = " " + (
                "{" + ",".join(map(str, action.choices)) + "}"
                if action.choices
                else action.metavar or action.dest.upper()
            )
        help_ = (action.help or "").replace("%(default)s", str(action.default))
        found.append((", ".join(option + value for option in action.option_strings), help_))
    return found


def commands() -> str:
    """The page of commands."""
    parts = ["`phoenixdkim COMMAND --help` tells the same."]
    for name in COMMANDS:
        rows = [(f"`{written}`", cell(meaning)) for written, meaning in arguments(name)]
        parts.append(
            f"## `phoenixdkim {name}`\n\n{sentence(command(name).HELP)}\n\n{table(('argument', 'meaning'), rows)}"
        )
    return page("Commands", *parts)


def roff(text: str) -> str:
    """Text for a man page."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in escaped.splitlines())


def man(name: str, section: int, summary: str, *parts: str) -> str:
    """A man page."""
    head = f'.\\" Written by scripts/docs from the code; do not edit.\n.TH {name.upper()} {section} "" "PhoenixDKIM"\n'
    return head + f".SH NAME\n{roff(name)} \\- {roff(summary)}\n" + "".join(parts)


def man_command(name: str) -> str:
    """The man page of a command."""
    rows = [f".TP\n.B {roff(written)}\n{roff(meaning)}\n" for written, meaning in arguments(name)]
    return man(
        f"phoenixdkim-{name}",
        1,
        COMMANDS[name],
        f".SH SYNOPSIS\n.B phoenixdkim {roff(name)}\n[arguments]\n",
        f".SH DESCRIPTION\n{roff(sentence(command(name).HELP))}\n",
        ".SH ARGUMENTS\n" + "".join(rows),
        ".SH SEE ALSO\n.BR phoenixdkim (1),\n.BR phoenixdkim.toml (5)\n",
    )


def man_program() -> str:
    """The man page of the program."""
    rows = [
        f".TP\n.BR phoenixdkim\\-{roff(name)} (1)\n{roff(sentence(summary))}\n" for name, summary in COMMANDS.items()
    ]
    return man(
        "phoenixdkim",
        1,
        "DKIM signing and verifying milter",
        ".SH SYNOPSIS\n.B phoenixdkim\n.I COMMAND\n[arguments]\n",
        ".SH COMMANDS\n" + "".join(rows),
        ".SH FILES\n.TP\n.I /etc/phoenixdkim/phoenixdkim.toml\nThe configuration file.\n",
        ".SH SEE ALSO\n.BR phoenixdkim.toml (5),\n.BR postconf (5)\n",
    )


def man_configuration() -> str:
    """The man page of the configuration file."""
    text = ""
    for _, header, description, entries in sections():
        text += f".SS {roff(header)}\n{roff(description)}\n"
        for name, info in entries:
            default = "must be written" if info.is_required() else f"default {default_text(info)}"
            about = f"{kind_text(info)}; {default}"
            text += f".TP\n.B {roff(name)}\n{roff(plain(info.description))}\n.br\n({roff(about)})\n"
    return man(
        "phoenixdkim.toml",
        5,
        "configuration of the DKIM milter phoenixdkim",
        ".SH DESCRIPTION\nOne TOML file.\n.B phoenixdkim check\ntells all its faults at once.\n",
        ".SH TABLES\n" + text,
        ".SH SEE ALSO\n.BR phoenixdkim (1),\n.BR phoenixdkim\\-check (1)\n",
    )
