"""The generated documentation: everything that the code's own tables say, so that the two can't differ."""

from __future__ import annotations

import argparse
import inspect
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from phoenixdkim import events, hookspecs, metrics
from phoenixdkim.cli import COMMANDS, command
from phoenixdkim.cli.metrics import label_values, samples
from phoenixdkim.config.model import LimitsTable
from phoenixdkim.config.sample import default_text, options, plain, sample, tables
from phoenixdkim.config.schema import schema_text
from phoenixdkim.dkim.results import REASONS, UNSIGNED_REASONS, Result
from phoenixdkim.exporters.inspection import installed
from phoenixdkim.options import Options
from phoenixdkim.policy import Disposition

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Written by scripts/docs from the code; do not edit. -->\n"
OWN_EXPORTERS = ("textfile", "http", "statsd")
DISPOSITIONS = {
    Disposition.ACCEPT: "it goes on its way",
    Disposition.TEMPFAIL: "the client is told to come again (4xx)",
    Disposition.REJECT: "the client is told that it is refused (5xx)",
    Disposition.DISCARD: "it is dropped, and the client believes it delivered",
    Disposition.QUARANTINE: "the MTA holds it for somebody to look at",
}


def page(title: str, *parts: str) -> str:
    """A Markdown page."""
    return "\n".join([f"# {title}\n", NOTE, *(part.rstrip("\n") + "\n" for part in parts)])


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ("---",) * len(head), *rows)]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Text that can't end a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


def kind_text(info: FieldInfo) -> str:
    """What an option takes, in words."""
    return _annotation(info.annotation) + _bounds(info)


def _annotation(kind: Any) -> str:
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return "one of " + ", ".join(f'"{value}"' for value in typing.get_args(kind))
    if origin is tuple:
        return "list of " + _annotation(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_annotation(part) for part in typing.get_args(kind) if part is not type(None)))
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return "one of " + ", ".join(f'"{member.value}"' for member in kind)
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return names.get(kind, "table")


def _bounds(info: FieldInfo) -> str:
    words = []
    for entry in info.metadata:
        for name, word in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than")):
            if (value := getattr(entry, name, None)) is not None:
                words.append(f"{word} {value:,}" if isinstance(value, int) else f"{word} {value:g}")
    return f", {' and '.join(words)}" if words else ""


def exporter_tables() -> Iterator[tuple[str, type[Options], str]]:
    """Name, options and description of each exporter of this project."""
    for name in OWN_EXPORTERS:
        entry = installed()[name][0]
        plugin = entry.load()
        implementation = plugin() if inspect.isclass(plugin) else plugin
        model = implementation.phoenixdkim_options()
        package = entry.dist.name if entry.dist else ""
        yield name, model, f"{plain(inspect.getdoc(plugin)).split('. ')[0].rstrip('.')}. Package `{package}`."


def sections() -> Iterator[tuple[str, str, str, list[tuple[str, FieldInfo]]]]:
    """All tables of the configuration file: anchor, header, description, options."""
    for header, kind, description in tables():
        yield header.strip("[]"), header, plain(description), list(options(kind))
    yield (
        "exporters.NAME",
        "[exporters.NAME]",
        "An exporter: the table enables the exporter NAME, or the one that its option type names. These options exist"
        " in each exporter's table; an exporter may have other defaults.",
        list(Options.model_fields.items()),
    )
    for name, model, description in exporter_tables():
        own = [(option, info) for option, info in model.model_fields.items() if _is_own(option, info)]
        yield f"exporters.{name}", f"[exporters.{name}]", description, own


def _is_own(option: str, info: FieldInfo) -> bool:
    base = Options.model_fields.get(option)
    return base is None or base.get_default() != info.get_default()


def configuration() -> str:
    """The page of options."""
    parts = [
        "The daemon reads one TOML file, by default `/etc/phoenixdkim/phoenixdkim.toml`. Unknown options are errors."
        " `phoenixdkim check` tells all faults at once, each with its line and what to write instead;"
        " `phoenixdkim check --effective` prints what is in force."
        " [phoenixdkim.sample.toml](../phoenixdkim.sample.toml)"
        " has all options, and [phoenixdkim.schema.json](../phoenixdkim.schema.json) is for editors.",
    ]
    for _, header, description, entries in sections():
        parts.append(f"## `{header}`\n\n{description}")
        for name, info in entries:
            default = f"default `{default_text(info)}`" if not info.is_required() else "must be written"
            parts.append(f"### `{name}`\n\n{kind_text(info)}; {default}\n\n{info.description or ''}")
    return page("Configuration", *parts)


def metrics_page() -> str:
    """The page of metrics."""
    series = sum(spec.series() for spec in metrics.CATALOGUE)
    lines = sum(samples(spec) for spec in metrics.CATALOGUE)
    parts = [
        f"{len(metrics.CATALOGUE)} metrics with {series} series, which are {lines} samples in a Prometheus exposition."
        " Every label has a fixed set of values, and all series are there from the start, at zero. Labels `version`"
        " and `exporter` are fixed for the life of the process.",
    ]
    for spec in metrics.CATALOGUE:
        rows = [
            ("kind", str(spec.kind)),
            *(
                (f"label `{name}`", "fixed for the life of the process" if values is None else ", ".join(values))
                for name, values in label_values(spec).items()
            ),
            *([("buckets", " ".join(f"{bound:g}" for bound in spec.buckets) + " +Inf")] if spec.buckets else []),
            ("dotted name", f"`{spec.dotted}`" if spec.dotted else "none, not sent to StatsD"),
            ("series", str(spec.series())),
            *([("event", f"`{spec.event.__name__}`")] if spec.event else []),
        ]
        parts.append(f"## `{spec.name}`\n\n{spec.help}\n\n{spec.detail}\n\n{table(('', ''), rows)}")
    return page("Metrics", *parts)


def reasons() -> str:
    """The page of reasons."""
    verdicts = [
        (f"`{reason}`", str(entry.result), cell(entry.text), cell(entry.source)) for reason, entry in REASONS.items()
    ]
    unsigned = [(f"`{reason}`", cell(text)) for reason, text in UNSIGNED_REASONS.items()]
    results = [(f"`{result}`", str(sum(entry.result is result for entry in REASONS.values()))) for result in Result]
    return page(
        "Results and reasons",
        "Each signature's verdict has a reason. It stands in the summary line (`reason=`), its words in"
        " Authentication-Results. Each message that was not signed has one too (`unsigned=`, and the label of"
        " `phoenixdkim_unsigned_messages_total`).",
        "## Results\n\n" + table(("result", "reasons"), results),
        "## Reasons of verdicts\n\n" + table(("reason", "result", "words", "source"), verdicts),
        "## Reasons for not signing\n\n" + table(("reason", "meaning"), unsigned),
        "## What is done with a message\n\n"
        + "Set by `verifying.on_fail` and its like, and by `milter.on_internal_error`.\n\n"
        + table(
            ("disposition", "meaning"),
            [(f"`{disposition}`", DISPOSITIONS[disposition]) for disposition in Disposition],
        ),
    )


def hooks() -> str:
    """The page of hooks, for authors of exporters."""
    parts = [
        f"An exporter is a class named by an entry point of group `{hookspecs.ENTRY_POINT_GROUP}`. It has"
        f" `api_version = {hookspecs.API_VERSION}` and marks its hooks with `hookimpl` of `phoenixdkim.hookspecs`.",
        "## Hooks",
    ]
    for name, hook in hook_functions():
        parts.append(f"### `{name}`\n\n```python\n{_signature(name, hook)}\n```\n\n{inspect.getdoc(hook)}")
    parts.append("## Context")
    for name, member in vars(hookspecs.Context).items():
        function = member.fget if isinstance(member, property) else member
        if not name.startswith("_") and callable(function):
            code = name if isinstance(member, property) else _signature(name, function)
            parts.append(f"### `{name}`\n\n```python\n{code}\n```\n\n{inspect.getdoc(function)}")
    parts.append("## Events")
    for event in event_classes():
        labels = [
            (f"`{name}`", ", ".join(str(member.value) for member in kind)) for name, kind in event.label_enums().items()
        ]
        measure = f"Has a measure: {event.measure.name}, in seconds.\n\n" if event.measure else ""
        text = f"### `{event.__name__}`\n\n{inspect.getdoc(event)}\n\n{measure}"
        parts.append(text + (table(("label", "values"), labels) if labels else ""))
    return page("Hooks and events", *parts)


def hook_functions() -> list[tuple[str, Any]]:
    """All hooks, in order of their specification."""
    return [(name, hook) for name, hook in vars(hookspecs.HookSpecs).items() if name.startswith("phoenixdkim_")]


def event_classes() -> list[type[events.Event]]:
    """All events, in order of definition."""
    found = [kind for kind in vars(events).values() if inspect.isclass(kind) and issubclass(kind, events.Event)]
    return [kind for kind in found if kind is not events.Event]


def _signature(name: str, function: Any) -> str:
    found = inspect.signature(function)
    kept = [parameter for parameter in found.parameters.values() if parameter.name != "self"]
    arguments = ", ".join(
        f"{entry.name}: {entry.annotation}" + ("" if entry.default is entry.empty else f" = {entry.default!r}")
        for entry in kept
    )
    return f"{name}({arguments}) -> {found.return_annotation}"


def limits() -> str:
    """The page of limits."""
    rows = []
    for name, info in LimitsTable.model_fields.items():
        rows.append(
            (f"`limits.{name}`", default_text(info), cell(_bounds(info).removeprefix(", ")), cell(plain_md(info)))
        )
    others = []
    wanted = {"milter": ("max_sessions", "max_generations", "timeout"), "dns": ()}
    for anchor, _, _, entries in sections():
        for name, info in entries:
            if anchor == "dns" and _annotation(info.annotation) in ("whole number", "number"):
                pass
            elif name not in wanted.get(anchor, ()):
                continue
            others.append((f"`{anchor}.{name}`", default_text(info), cell(_bounds(info)[2:]), cell(plain_md(info))))
    head = ("option", "default", "may be", "meaning")
    return page(
        "Limits",
        "All limits hold before anything is computed. What is over one has a result and a reason of its own, see"
        " [reasons](reasons.md).",
        "## Messages and key records\n\n" + table(head, rows),
        "## Sessions and look-ups\n\n" + table(head, others),
    )


def plain_md(info: FieldInfo) -> str:
    """An option's words for a table."""
    return (info.description or "").replace("``", "`")


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


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


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


def files() -> dict[str, str]:
    """All generated files by their paths below docs/."""
    made = {
        "reference/configuration.md": configuration(),
        "reference/metrics.md": metrics_page(),
        "reference/reasons.md": reasons(),
        "reference/hooks.md": hooks(),
        "reference/limits.md": limits(),
        "reference/commands.md": commands(),
        "man/phoenixdkim.1": man_program(),
        "man/phoenixdkim.toml.5": man_configuration(),
        "phoenixdkim.schema.json": schema_text(),
        "phoenixdkim.sample.toml": sample(),
    }
    made |= {f"man/phoenixdkim-{name}.1": man_command(name) for name in COMMANDS}
    return {path: _finished(path, text) for path, text in made.items()}


def _finished(path: str, text: str) -> str:
    # Docstrings have double backticks for code, Markdown single ones.
    shown = text.replace("```", "\0").replace("``", "`").replace("\0", "```") if path.endswith(".md") else text
    return "\n".join(line.rstrip() for line in shown.splitlines()) + "\n"


def main() -> int:
    """Write, or check, all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when a file differs")
    check = parser.parse_args().check
    different = 0
    for path, text in files().items():
        target = ROOT / "docs" / path
        if target.exists() and target.read_text() == text:
            continue
        different += 1
        if check:
            print(f"docs/{path} is not as the code has it; run scripts/docs", file=sys.stderr)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            print(f"wrote docs/{path}")
    return 1 if check and different else 0


if __name__ == "__main__":
    sys.exit(main())
