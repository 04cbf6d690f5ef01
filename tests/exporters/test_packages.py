"""Damaged metadata of one package does not hide the exporters of others."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from phoenixdkim.exporters.packages import find_exporter, installed, plugin_name, read_packages

GOOD = "Metadata-Version: 2.1\nName: good\nVersion: 1\n"
POINTS = "[phoenixdkim.exporters]\nmine = m:X\n"


def package(site: Path, directory: str, metadata: bytes | None, points: bytes | None = None) -> Path:
    """Install a package that has metadata only."""
    place = site / directory
    place.mkdir()
    if metadata is not None:
        (place / "METADATA").write_bytes(metadata)
    if points is not None:
        (place / "entry_points.txt").write_bytes(points)
    return place


def damage(site: Path) -> None:
    """Install packages, each damaged in another way."""
    theirs = b"[phoenixdkim.exporters]\nmine = damaged:X\n"
    package(site, "a_empty-1.dist-info", None)
    package(site, "a_points-1.dist-info", None, theirs)
    package(site, "a_garbage-1.dist-info", os.urandom(500) + b"\xff\xfe", theirs)
    package(site, "a_nameless-1.dist-info", b"Metadata-Version: 2.1\nVersion: 1\n", theirs)
    package(site, "a_blank-1.dist-info", b"Name:   \nVersion: 1\n", theirs)
    (package(site, "a_directory-1.dist-info", None, theirs) / "METADATA").mkdir()
    (package(site, "a_loop-1.dist-info", None, theirs) / "METADATA").symlink_to("METADATA")
    (package(site, "a_points_directory-1.dist-info", b"Name: pd\nVersion: 1\n") / "entry_points.txt").mkdir()
    package(site, "a_binary-1.dist-info", b"Name: binary\nVersion: 1\n", b"\xff\xfe\x00\x01" * 100)
    package(site, "a_syntax-1.dist-info", b"Name: syntax\nVersion: 1\n", b"no section\n = \n[")
    package(site, "a_versionless-1.dist-info", b"Name: versionless\n", b"[phoenixdkim.exporters]\nother = m:Y\n")
    package(site, ".dist-info", b"", theirs)
    (site / "a_file-1.dist-info").write_text("no directory")
    (site / "a_file.egg-info").write_bytes(b"\xff" * 10)
    (site / "a_archive.egg").write_bytes(b"PK no archive")
    unreadable = package(site, "a_unreadable-1.dist-info", b"Name: unreadable\nVersion: 1\n", theirs)
    unreadable.chmod(0)


@pytest.fixture
def site(tmp_path, monkeypatch):
    damage(tmp_path)
    package(tmp_path, "good-1.dist-info", GOOD.encode(), POINTS.encode())
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "a_archive.egg")])
    yield tmp_path
    (tmp_path / "a_unreadable-1.dist-info").chmod(0o755)


def test_damaged_packages_do_not_hide_the_others(site):
    if os.geteuid() == 0:
        # Nothing is unreadable to root; other users are tested with the daemon.
        (site / "a_unreadable-1.dist-info" / "METADATA").write_bytes(b"\xff")
    (found,) = installed()["mine"]
    assert (found.value, found.package) == ("m:X", "good 1")
    assert str(find_exporter("mine")) == plugin_name("mine") == "plugin 'mine' (good 1, m:X)"
    assert [one.package for one in installed()["other"]] == ["versionless"], "a version is not needed"


def test_the_message_for_a_missing_exporter_names_damaged_metadata(site):
    with pytest.raises(
        LookupError, match=r"no installed package has an exporter 'theirs'.*cannot read the metadata in"
    ):
        find_exporter("theirs")
    assert any(place.endswith("a_garbage-1.dist-info") for place in read_packages().damaged)
    assert plugin_name("theirs") == "plugin 'theirs'"


def test_messages_are_printable(tmp_path, monkeypatch):
    package(tmp_path, "x-1.dist-info", b"Name: x\x1b[2J\nVersion: 1\n", b"[phoenixdkim.exporters]\nm\x1b = m:X\x07\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for found in installed().values():
        assert str(found[0]).isprintable()
    with pytest.raises(LookupError) as caught:
        find_exporter("\x1b[31m")
    assert str(caught.value).isprintable()


def test_an_exporter_of_two_packages_names_both(tmp_path, monkeypatch):
    package(tmp_path, "a-1.dist-info", b"Name: a\nVersion: 1\n", POINTS.encode())
    package(tmp_path, "b-2.dist-info", b"Name: b\nVersion: 2\n", b"[phoenixdkim.exporters]\nmine = n:X\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(LookupError, match="several packages have an exporter 'mine': a 1, b 2; uninstall all but one"):
        find_exporter("mine")
