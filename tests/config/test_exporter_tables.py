"""Exporter tables that do not go together, each with its line."""

from __future__ import annotations

import pytest

from phoenixdkim.config.load import read_text

TEXTFILE = "[exporters.textfile]\npath = '/a/x.prom'\n"


def faults(text: str) -> list[str]:
    return [str(fault) for fault in read_text(text, "file").faults]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TEXTFILE, []),
        ("[exporters.http]\n", []),
        (TEXTFILE + "[exporters.http]\n", ['file:3: warning: exporters.http: exporter "textfile" is enabled too']),
        (TEXTFILE + "[exporters.http]\nbeside_textfile = true\n", []),
        (
            "[exporters.t]\ntype = 'textfile'\npath = '/a/x.prom'\n[exporters.h]\ntype = 'http'\n",
            ['file:4: warning: exporters.h: exporter "t" is enabled too'],
        ),
        (
            TEXTFILE + "[exporters.b]\ntype = 'textfile'\npath = '/a/./x.prom'\n",
            ['file:5: exporters.b.path: exporter "textfile" writes "/a/./x.prom" too; write another path'],
        ),
        (
            TEXTFILE + "[exporters.b]\ntype = 'textfile'\npath = '/a/y.prom'\n",
            ['file:5: warning: exporters.b.path: exporter "textfile" writes the same series into the same directory'],
        ),
        (TEXTFILE + "[exporters.b]\ntype = 'textfile'\npath = '/b/x.prom'\n", []),
        (TEXTFILE + "[exporters.b]\ntype = 'textfile'\npath = 1\n", []),
        ("[exporters.http]\nlisten = '127.0.0.2:9323'\n", []),
        ("[exporters.http]\nlisten = ['[::1]:9323']\n", []),
        (
            "[exporters.http]\nlisten = '[::]:9323'\n",
            ['file:2: warning: exporters.http.listen: "[::]:9323" can be reached'],
        ),
        (
            "[exporters.http]\nlisten = ['127.0.0.1:9323', '0.0.0.0:9323']\n",
            ['file:2: warning: exporters.http.listen[1]: "0.0.0.0:9323" can be reached'],
        ),
        ("[exporters.http]\nlisten = 'host:9323'\n", []),
        ("[exporters.http]\nlisten = 7\n", []),
    ],
)
def test_tables(text: str, told: list[str]) -> None:
    found = faults(text)
    assert len(found) == len(told), found
    for line, beginning in zip(found, told, strict=True):
        assert line.startswith(beginning)


def test_there_are_no_more_exporters_than_a_message_has_descriptors_for() -> None:
    def tables(number: int) -> str:
        return "".join(f"[exporters.e{n}]\n" for n in range(number))

    assert faults(tables(100)) == []
    assert [text for text in faults(tables(101)) if "101 exporters; 100 is the most" in text] != []
