"""The configuration file is read without waiting, and only when it is complete."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from phoenixdkim.config import source
from phoenixdkim.config.source import Completeness, QuietPeriod, SourceError, read_source


def test_a_regular_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"[log]\n")
    found = read_source(str(path))
    assert (found.data, found.stamp.size, found.path) == (b"[log]\n", 6, str(path))
    (tmp_path / "link").symlink_to(path)
    assert read_source(str(tmp_path / "link")).stamp == found.stamp


@pytest.mark.timeout(20)
def test_whatever_else_is_there_is_an_error_and_no_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, words in {
            "fifo": "is a fifo, not a regular file",
            "directory": "is a directory, not a regular file",
            "loop": "cannot be read: Too many levels of symbolic links",
            "gone": "cannot be read: No such file or directory; 'phoenixdkim check --sample'",
            "socket": "cannot be read: No such device or address",
            "missing": "cannot be read: No such file or directory",
            "directory/x/y": "cannot be read: No such file or directory",
            "/dev/zero": "is a device, not a regular file",
        }.items():
            with pytest.raises(SourceError, match=words):
                read_source(str(tmp_path / name))


def test_a_large_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_OCTETS", 10)
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert len(read_source(str(path)).data) == 10
    path.write_bytes(b"x" * 11)
    with pytest.raises(SourceError, match="is larger than 10 octets"):
        read_source(str(path))


def written(path: Path, text: str, mtime: float) -> None:
    path.write_text(text)
    os.utime(path, (mtime, mtime))


def test_an_old_file_is_complete_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    written(path, "x", 1000)
    assert QuietPeriod(str(path), 50.0).look(50.0, 1001) is Completeness.COMPLETE


def test_a_file_that_changes_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    written(path, "x", 1000)
    period = QuietPeriod(str(path), 50.0)
    assert period.look(50.0, 1000.2) is Completeness.CHANGING
    written(path, "xx", 1000.7)
    assert period.look(50.8, 1001.0) is Completeness.CHANGING
    assert period.look(51.4, 1001.6) is Completeness.CHANGING
    assert period.look(51.5, 1001.71) is Completeness.COMPLETE


@pytest.mark.parametrize("mtime", [1000.0 + 86400, 1000.5, 1000.0])
def test_a_file_seen_unchanged_for_a_second_is_complete_whatever_its_time(tmp_path: Path, mtime: float) -> None:
    path = tmp_path / "file"
    written(path, "x", mtime)
    period = QuietPeriod(str(path), 50.0)
    assert period.look(50.0, 1000) is Completeness.CHANGING
    assert period.look(50.9, 1000) is Completeness.CHANGING
    assert period.look(51.0, 1000) is Completeness.COMPLETE


def test_a_file_that_is_replaced_again_and_again_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "file"
    period = QuietPeriod(str(path), 50.0)
    for step in range(20):
        other = tmp_path / "other"
        written(other, "x", 1000 + step / 2)
        other.rename(path)
        assert period.look(50 + step / 2, 1000 + step / 2) is Completeness.CHANGING
    written(path, "y", 1010)
    assert period.look(60, 1010) is Completeness.GIVEN_UP


def test_what_cannot_be_looked_at_is_left_to_the_reader(tmp_path: Path) -> None:
    assert QuietPeriod(str(tmp_path / "none"), 0).look(0, 0) is Completeness.COMPLETE
    os.mkfifo(tmp_path / "fifo")
    assert QuietPeriod(str(tmp_path / "fifo"), 0).look(0, 0) is Completeness.COMPLETE
