"""The textfile: whole or old, never in part (X8, X9)."""

import logging
import os
import subprocess

import pytest
from pydantic import ValidationError

from phoenixdkim.events import Action, MessageProcessed
from phoenixdkim.testing.exporter import FakeContext
from phoenixdkim_prometheus.textfile import FAILURES, LAST_WRITE, TextfileExporter, TextfileOptions


@pytest.fixture
def path(tmp_path):
    return tmp_path / "phoenixdkim.prom"


def started(path):
    context = FakeContext(TextfileOptions(path=str(path)), declared=[FAILURES, LAST_WRITE])
    exporter = TextfileExporter()
    exporter.phoenixdkim_start(context)
    return exporter, context


def test_written_at_each_tick_and_readable_by_all_whatever_the_umask(path):
    exporter, context = started(path)
    before = os.umask(0o077)
    try:
        exporter.phoenixdkim_tick(1.0)
        assert b"phoenixdkim_messages_total 0.0" in path.read_bytes()
        context.happened(MessageProcessed(Action.SIGN), 2, [0.1, 0.1])
        exporter.phoenixdkim_tick(2.0)
    finally:
        os.umask(before)
    assert b"phoenixdkim_messages_total 2.0" in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["phoenixdkim.prom"]
    assert b"phoenixdkim_exporter_textfile_last_write_timestamp_seconds 2.0" in path.read_bytes()


def test_a_link_is_replaced_and_never_followed(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    exporter, _ = started(path)
    exporter.phoenixdkim_tick(1.0)
    assert victim.read_text() == "precious"
    assert not path.is_symlink()


def test_what_a_killed_predecessor_left_is_removed_and_nothing_else(path):
    mine = path.parent / ".phoenixdkim.prom.0123456789abcdef.tmp"
    mine.write_text("half")
    planted = path.parent / ".phoenixdkim.prom.fedcba9876543210.tmp"
    planted.symlink_to("/etc/passwd")
    others = [path.parent / ".phoenixdkim.prom.tmp", path.parent / "other.prom"]
    for other in others:
        other.write_text("keep")
    started(path)
    assert not mine.exists()
    assert planted.is_symlink()
    assert all(other.exists() for other in others)


@pytest.mark.parametrize("fault", ["directory removed", "target is a directory", "no space"])
def test_a_failure_is_logged_once_and_counted_and_the_old_file_stays(tmp_path, fault):
    directory = tmp_path / "d"
    directory.mkdir()
    path = directory / "x.prom"
    exporter, context = started(path)
    if fault == "no space":
        if os.geteuid() != 0:
            pytest.fail("mounting a small file system needs root")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(directory)], check=True)
    try:
        if fault == "directory removed":
            directory.rmdir()
        elif fault == "target is a directory":
            path.mkdir()
        else:
            path.write_bytes(b"old\n")
            (directory / "fill").write_bytes(b"x" * 8192)
        for now in (1.0, 2.0, 3.0):
            exporter.phoenixdkim_tick(now)
        if fault == "no space":
            assert path.read_bytes() == b"old\n"
            assert sorted(os.listdir(directory)) == ["fill", "x.prom"], "no leftover"
    finally:
        if fault == "no space":
            subprocess.run(["umount", str(directory)], check=True)
    assert [level for level, _ in context.lines if level >= logging.ERROR] == [logging.ERROR]
    assert context.own[FAILURES.name, ()] == 3
    assert context.own[LAST_WRITE.name, ()] == 0
    if fault == "directory removed":
        directory.mkdir()
        exporter.phoenixdkim_tick(4.0)
        assert path.exists()
        assert context.lines[-1][0] == logging.INFO


def test_a_name_that_node_exporter_does_not_read_is_refused():
    with pytest.raises(ValidationError, match=r"end in \.prom"):
        TextfileOptions(path="/var/lib/x/metrics.txt")


def test_a_link_to_a_directory_is_replaced_too(path, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    exporter, context = started(path)
    exporter.phoenixdkim_tick(1.0)
    assert path.is_file()
    assert not path.is_symlink()
    assert (context.lines, os.listdir(tmp_path / "elsewhere")) == ([], [])


def test_a_failure_of_the_new_process_leaves_the_time_of_the_last_write(path):
    _, context = started(path)
    context.set(LAST_WRITE, 7.0)
    path.mkdir()
    exporter = TextfileExporter()
    exporter.phoenixdkim_start(context)
    exporter.phoenixdkim_tick(9.0)
    assert context.own[LAST_WRITE.name, ()] == 7.0
    assert os.listdir(path.parent) == ["phoenixdkim.prom"], "no leftover"


def test_who_must_be_able_to_write_is_told(path, monkeypatch):
    exporter, context = started(path)

    def refused(*_arguments, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    exporter.phoenixdkim_tick(1.0)
    assert context.lines == [
        (
            logging.ERROR,
            f"{path} can't be written: Permission denied; user id {os.geteuid()} must be able to write in its"
            " directory",
        )
    ]
