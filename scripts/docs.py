"""The generated documentation: everything that the code's own tables say, so that the two can't differ."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from docs_commands import commands, man_command, man_configuration, man_program
from docs_conformance import conformance
from docs_metrics import metrics_page
from docs_options import configuration, limits
from docs_reference import hooks, reasons, signed_fields

from phoenixdkim.cli import COMMANDS
from phoenixdkim.config.sample import sample
from phoenixdkim.config.schema import schema_text

ROOT = Path(__file__).resolve().parent.parent


def files() -> dict[str, str]:
    """All generated files by their paths below docs/."""
    made = {
        "conformance.md": conformance(),
        "reference/configuration.md": configuration(),
        "metrics.md": metrics_page(),
        "reference/reasons.md": reasons(),
        "reference/signed-fields.md": signed_fields(),
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
