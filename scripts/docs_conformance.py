"""The page of conformance: what the RFCs ask, the tests that prove it, and the code that does it."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from docs_markdown import page, table

from phoenixdkim.config.model import Config

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "docs" / "conformance.toml"
TESTS = (ROOT / "tests", ROOT / "plugins")
_ID = re.compile(r"(?:^|_)([vcdsae][0-9]{2})(?=_|$)")


@dataclass(frozen=True)
class Requirement:
    """One entry of conformance.toml."""

    id: str
    statement: str
    source: str
    code: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """A choice that the RFCs leave."""

    title: str
    ids: tuple[str, ...]
    choice: str
    reason: str
    options: tuple[str, ...]


@cache
def _source() -> dict[str, Any]:
    return tomllib.loads(SOURCE.read_text())


def groups() -> dict[str, str]:
    """Titles by letter."""
    return {entry["letter"]: entry["title"] for entry in _source()["groups"]}


def requirements() -> dict[str, Requirement]:
    """All requirements by id."""
    return {
        name: Requirement(name, entry["statement"], entry["source"], tuple(entry["code"]))
        for name, entry in _source()["requirements"].items()
    }


def choices() -> list[Choice]:
    """All choices."""
    return [
        Choice(entry["title"], tuple(entry["ids"]), entry["choice"], entry["reason"], tuple(entry["options"]))
        for entry in _source()["choices"]
    ]


def code_exists(reference: str) -> bool:
    """Whether ``module:name`` or ``module:Class.name`` is there."""
    module, _, name = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return bool(name)


def option_exists(name: str) -> bool:
    """Whether the configuration file has this option."""
    table_, _, option = name.partition(".")
    info = Config.model_fields.get(table_)
    fields: Mapping[str, object] = getattr(info.annotation, "model_fields", {}) if info is not None else {}
    return option in fields


@dataclass(frozen=True)
class Test:
    """A test function, and the ids that it names."""

    path: str
    name: str
    ids: frozenset[str]


def tests() -> Iterator[Test]:
    """All test functions that name a requirement, in their own name or by ``@requirement``."""
    for directory in TESTS:
        for path in sorted(directory.rglob("test_*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                    continue
                ids = {found.upper() for found in _ID.findall(node.name)} | set(_decorated(node))
                if ids:
                    yield Test(str(path.relative_to(ROOT)), node.name, frozenset(ids))


def _decorated(function: ast.FunctionDef) -> Iterator[str]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name):
            if decorator.func.id != "requirement":
                continue
            for argument in decorator.args:
                # Another value than a plain text would not be seen here, and so prove nothing.
                assert isinstance(argument, ast.Constant) and isinstance(argument.value, str), function.name
                yield argument.value


def rows() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """All rows of the tables: the table's module, the row's name, the ids that it names."""
    if str(ROOT / "tests") not in sys.path:
        sys.path.insert(0, str(ROOT / "tests"))
    every, signing = importlib.import_module("tables.every"), importlib.import_module("tables.signing")
    for module in (*every.MODULES, signing):
        for row in module.ROWS:
            yield module.__name__.rpartition(".")[2], row.name, row.ids


@cache
def evidence() -> tuple[dict[str, list[Test]], dict[str, dict[str, list[str]]]]:
    """Tests and rows by the ids that they name."""
    functions: dict[str, list[Test]] = defaultdict(list)
    for test in tests():
        for name in test.ids:
            functions[name].append(test)
    rows_of: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for module, row, ids in rows():
        for name in ids:
            rows_of[name][module].append(row)
    return functions, rows_of


def conformance() -> str:
    """The page."""
    functions, rows_of = evidence()
    signing = sum(module == "signing" for module, _, _ in rows())
    verifying = sum(1 for _ in rows()) - signing
    parts = [
        "What RFC 6376, 8301, 8463, 8601, 8616, 6008 and 6532 ask of a signer and verifier, in this project's words,"
        " with the tests that prove it and the code that does it. A test fails when a requirement has no test, or names"
        " code that does not exist.",
        f"Rows are those of `tests/tables`: {verifying} messages to verify, each valid but for one change and signed by"
        " hand over it, with the result and the reason that must come of it. Each goes through the session, through"
        f" `phoenixdkim verify` and through the running milter. {signing} messages are there to be signed.",
        "Where the RFCs leave a choice, [it is named below](#choices).",
    ]
    for letter, title in groups().items():
        parts.append(f"## {title}")
        entries = [entry for entry in requirements().values() if entry.id.startswith(letter)]
        parts += [_entry(entry, functions[entry.id], rows_of[entry.id]) for entry in entries]
    return page("Conformance", *parts, "## Choices", *map(_choice, choices()))


def _entry(entry: Requirement, functions: list[Test], rows_of: Mapping[str, list[str]]) -> str:
    lines = [
        f"### {entry.id}\n",
        f"{entry.statement}\n",
        f"- Source: {entry.source}",
        "- Code: " + ", ".join(f"`{reference}`" for reference in entry.code),
    ]
    by_file: dict[str, list[str]] = defaultdict(list)
    for test in functions:
        by_file[test.path].append(test.name)
    lines += [f"- `{path}`: " + ", ".join(f"`{name}`" for name in names) for path, names in sorted(by_file.items())]
    lines += [
        f"- {len(names)} row{'s' * (len(names) > 1)} of `tests/tables/{module}.py`: " + "; ".join(map(_code, names))
        for module, names in sorted(rows_of.items())
    ]
    return "\n".join(lines)


def _code(text: str) -> str:
    shown = text.encode("ascii", "backslashreplace").decode()
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"


def _choice(choice: Choice) -> str:
    options = ", ".join(f"`{name}`" for name in choice.options) or "none"
    rows_ = [("what is done", choice.choice), ("why", choice.reason), ("options", options)]
    return f"### {choice.title} ({', '.join(choice.ids)})\n\n" + table(("", ""), rows_)
