"""The fence around what the supervisor does about one child."""

from __future__ import annotations

from phoenixdkim import events
from phoenixdkim.daemon.fence import Fence


def test_what_is_raised_is_counted_each_time_and_logged_once_a_minute():
    now = 0.0
    lines: list[str] = []
    counted: list[events.Event] = []
    fence = Fence(lines.append, counted.append, lambda: now)

    def fails():
        raise OverflowError("int too large")

    assert fence.run("exporter 'x'", lambda: None)
    for _ in range(5):
        assert not fence.run("exporter 'x'", fails)
    assert len(lines) == 1
    assert lines[0].startswith("exporter 'x': internal error: OverflowError: int too large")
    assert not fence.run("exporter 'y'", fails)
    now = 61.0
    assert not fence.run("exporter 'x'", fails)
    assert len(lines) == 3
    assert counted == [events.InternalError(events.Stage.PROCESSES)] * 7


def test_what_is_remembered_is_bounded():
    lines: list[str] = []
    fence = Fence(lines.append, lambda _: None)
    for number in range(1000):
        fence.run(f"exporter '{number}'", lambda: 1 / 0)
    assert len(lines) == 1000
    assert len(fence._reported) <= 101
