"""What plugins write: lines within bounds, never waited for."""

from __future__ import annotations

import os

import pytest

from phoenixdkim.exporters.output import output_pipe
from phoenixdkim.exporters.said import ExporterLines, disarmed
from phoenixdkim.log import Level, printable


@pytest.fixture
def pipe():
    output, writing = output_pipe()
    os.set_blocking(writing, False)
    yield output, writing
    output.close()
    os.close(writing)


def test_lines_are_read_when_they_are_complete(pipe):
    output, writing = pipe
    assert output.read(0.0) == []
    os.write(writing, b"one\ntw")
    assert output.read(1.0) == ["one"]
    os.write(writing, b"o\r\n\n  \nthree\n")
    assert output.read(2.0) == ["two", "three"]


def test_octets_that_are_not_text_are_shown(pipe):
    output, writing = pipe
    os.write(writing, b"a\xff\x00b\x1b[31m\n")
    (line,) = output.read(0.0)
    assert printable(line) == "a\\xff\\x00b\\x1b[31m"


@pytest.mark.parametrize("piece", [b"x" * 65536, b"\0" * 65536, b"\xff" * 65536, "é".encode() * 30000])
def test_a_line_without_end_does_not_grow(pipe, piece):
    output, writing = pipe
    for _ in range(50):
        os.write(writing, piece)
        assert output.read(0.0) == []
        assert len(output._rest) <= 1001
    os.write(writing, b"\nnext\n")
    found = output.read(0.0)
    assert len(found) == 2
    assert found[0].endswith(" [cut]")
    assert len(found[0]) <= 4 * 1000 + 6
    assert found[1] == "next"


def test_a_flood_of_lines_is_counted(pipe):
    output, writing = pipe
    written = os.write(writing, b"a\n" * 32768) // 2
    found = output.read(0.0)
    assert len(found) == 50
    assert output.take_dropped() == written - 50
    assert output.take_dropped() == 0


def test_a_flood_is_read_ten_times_a_second(pipe):
    output, _ = pipe
    output.read(100.0)
    assert [output.due(now) for now in (100.0, 100.05, 100.11, 200.0)] == [False, False, True, True]


def test_the_end_is_noticed_and_nothing_is_lost():
    output, writing = output_pipe()
    os.write(writing, b"one\nlast words")
    os.close(writing)
    assert output.read(0.0) == ["one"]
    assert output.read(1.0) == ["last words"]
    assert output.ended
    assert not output.due(100.0)
    output.close()
    output.close()


def test_one_who_was_left_behind_and_holds_the_pipe_is_not_waited_for():
    output, writing = output_pipe()
    os.set_blocking(writing, False)
    os.write(writing, b"one\nlast words")
    assert output.finish(0.0) == ["one", "last words"]
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"more\n")
    os.close(writing)


def test_one_who_floods_to_the_end_is_not_waited_for():
    output, writing = output_pipe()
    while True:
        try:
            os.set_blocking(writing, False)
            os.write(writing, b"x\n" * 1000)
        except BlockingIOError:
            break
    assert len(output.finish(0.0)) <= 51
    os.close(writing)


@pytest.mark.parametrize(
    "text",
    [
        "4AAA: summary action=sign d=example.com",
        "summary action=sign",
        "x summary result=pass",
        "\n4AAA: summary action=sign",
        "4AAA: summary summary action=sign",
    ],
)
def test_nothing_looks_like_a_summary_line(text):
    assert "summary action=" not in disarmed(text)
    assert "summary result=" not in disarmed(text)
    assert disarmed("a summary of what was done") == "a summary of what was done"


def test_lines_have_a_name_and_a_limit_and_what_is_dropped_is_said():
    now = 0.0
    written: list[tuple[Level, str]] = []
    lines = ExporterLines("x", lambda level, text: written.append((level, text)), lambda: now)
    for number in range(100):
        lines.write(Level.INFO, f"line {number}")
    assert written == [(Level.INFO, f"exporter 'x': line {number}") for number in range(20)]
    written.clear()
    lines.drop(1000)
    lines.report_dropped()
    assert written == []
    now = 1.5
    lines.report_dropped()
    assert written == [(Level.WARNING, "exporter 'x': 1080 lines dropped: more than 20 at once or one a second")]
    written.clear()
    now = 10.0
    lines.write(Level.ERROR, "again")
    assert written == [(Level.ERROR, "exporter 'x': again")]
    for _ in range(100):
        lines.write(Level.ERROR, "and again")
    written.clear()
    lines.report_dropped(last=True)
    assert len(written) == 1
    lines.report_dropped(last=True)
    assert len(written) == 1


def test_over_time_there_is_a_line_a_second():
    now = 0.0
    written: list[str] = []
    lines = ExporterLines("x", lambda _, text: written.append(text), lambda: now)
    while now < 1000:
        lines.write(Level.INFO, "line")
        now += 0.01
    assert len(written) <= 20 + 1000 + 1
