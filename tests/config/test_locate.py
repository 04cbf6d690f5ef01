"""Lines of keys in TOML texts."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from phoenixdkim.config.locate import Path, line_of, locate

TEXT = '''\
# comment with [brackets] = "and" quotes
top = 1
[a]
x = "text # no comment ] }" # comment ]
'single quoted' = 2
"basic \\" quoted".inner = 3
[a . b]
list = [ # comment ]
  "one", # two
  "]",
  [ 1,
    2 ],
]
many = """
[not.a.table]
quote \\""" still \\\\""""
after = \'\'\'
x = 1
\'\'\'
inline = { p = 1, q = { r = "}" }, s = [1, 2] }
when = 2026-11-24T01:02:03Z
[[rules]]
from = 1
[rules.sub]
y = 1
[[rules]]
from = 2
[[rules.deep]]
z = 1
[[rules.deep]]
z = 2
last = true'''

LINES: dict[Path, int] = {
    ("top",): 2,
    ("a",): 3,
    ("a", "x"): 4,
    ("a", "single quoted"): 5,
    ("a", 'basic " quoted', "inner"): 6,
    ("a", "b"): 7,
    ("a", "b", "list"): 8,
    ("a", "b", "list", 0): 9,
    ("a", "b", "list", 1): 10,
    ("a", "b", "list", 2): 11,
    ("a", "b", "list", 2, 1): 12,
    ("a", "b", "many"): 14,
    ("a", "b", "after"): 17,
    ("a", "b", "inline", "q", "r"): 20,
    ("a", "b", "inline", "s", 1): 20,
    ("a", "b", "when"): 21,
    ("rules",): 22,
    ("rules", 0): 22,
    ("rules", 0, "from"): 23,
    ("rules", 0, "sub"): 24,
    ("rules", 0, "sub", "y"): 25,
    ("rules", 1): 26,
    ("rules", 1, "from"): 27,
    ("rules", 1, "deep", 0, "z"): 29,
    ("rules", 1, "deep", 1): 30,
    ("rules", 1, "deep", 1, "z"): 31,
    ("rules", 1, "deep", 1, "last"): 32,
}


def _paths(value: Any, path: Path = ()) -> list[Path]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, below in value.items():
            found += _paths(below, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            found += _paths(below, (*path, number))
    return found


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_lines(ends: str) -> None:
    lines = locate(TEXT.replace("\n", ends))
    assert {path: lines.get(path) for path in LINES} == LINES


def test_every_path_of_the_text_is_found_and_no_other() -> None:
    assert set(_paths(tomllib.loads(TEXT))) == set(locate(TEXT))


def test_the_nearest_table_stands_for_what_is_missing() -> None:
    lines = locate(TEXT)
    assert line_of(lines, ("rules", 1, "keys")) == 26
    assert line_of(lines, ("nothing", "here")) == 1


@pytest.mark.parametrize("text", ["", "\n", "# only", "[t]", "k=''", 'k=""', "k=[]", "k={}", 'k=""""""', "a.b.c=1"])
def test_small_texts(text: str) -> None:
    assert set(_paths(tomllib.loads(text))) == set(locate(text))
