"""The textfile: node_exporter reads it, whatever is wrong with the disk mail goes on, and it is never half a file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from daemon.house import House, Load
from receivers.programs import Program, eventually, fetch, free_port
from receivers.truth import ledger, mixed_mail, parsed, scrape, series

NAME = "phoenixdkim.prom"
MESSAGES = series("phoenixdkim_messages_total")
FAILURES = series("phoenixdkim_exporter_textfile_failures_total")
LAST_WRITE = series("phoenixdkim_exporter_textfile_last_write_timestamp_seconds")
TEXTFILE = '[exporters.textfile]\npath = "{metrics}/phoenixdkim.prom"\ninterval = 0.2\n'


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def test_node_exporter_shows_every_number_of_the_ledger_and_no_error(key, umask):
    port = free_port()
    arguments = [
        "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    house = House(key, exporters=TEXTFILE)
    umask(0o077)
    with house:
        # Another user than the exporter's: only the file's mode lets it read.
        program = Program(
            [*arguments, f"--collector.textfile.directory={house.metrics}"],
            lambda _: fetch(f"http://127.0.0.1:{port}/metrics"),
            user="games",
        )
        with program:

            def shown():
                return parsed(parse(fetch(f"http://127.0.0.1:{port}/metrics").decode()))

            mixed_mail(house)
            truth = ledger(house)
            found = eventually("the numbers of now", lambda: (v := shown()).get(MESSAGES) == truth[MESSAGES] and v)
            assert {name: found.get(name) for name in truth} == truth
            assert found[series("node_textfile_scrape_error")] == 0
            mtime = found[series("node_textfile_mtime_seconds", file=str(house.metrics / NAME))]
            assert abs(mtime - found[LAST_WRITE]) < 5
            # What is sent just before a clean stop is in the last file.
            mixed_mail(house, 1)
            truth = ledger(house)
            assert house.stop() == 0
            found = shown()
            del truth[series("phoenixdkim_sessions")]
            assert {name: found.get(name) for name in truth} == truth
            assert program.output() == ""


def unwritable(house):
    house.metrics.chmod(0o555)
    return lambda: house.metrics.chmod(0o777)


def removed(house):
    house.metrics.rename(house.base / "away")
    return lambda: (house.base / "away").rename(house.metrics)


def target_is_a_directory(house):
    (house.metrics / NAME).unlink()
    (house.metrics / NAME).mkdir()
    return (house.metrics / NAME).rmdir


def owned_by_another(house):
    (house.metrics / NAME).unlink()
    (house.metrics / NAME).write_text("mine\n")
    house.metrics.chmod(0o1777)
    return lambda: house.metrics.chmod(0o777)


def mounted(house, options):
    if os.geteuid() != 0:
        pytest.fail("mounting a small file system needs root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"mode=0777,{options}", "none", str(house.metrics)], capture_output=True
    )
    if done.returncode:
        pytest.fail(f"a small file system can't be mounted: {done.stderr.decode()}")
    return lambda: subprocess.run(["umount", "-l", str(house.metrics)], check=True)


def full(house):
    cure = mounted(house, "size=64k")
    # Room for a new file and for its first octets, not for all.
    (house.metrics / "fill").write_bytes(b"x" * 57344)
    return cure


def no_inodes(house):
    cure = mounted(house, "nr_inodes=2")
    (house.metrics / "fill").write_bytes(b"x")
    return cure


FAULTS = [
    (unwritable, "Permission denied"),
    (removed, "No such file or directory"),
    (target_is_a_directory, "Is a directory"),
    (owned_by_another, "Operation not permitted"),
    (full, "No space left on device"),
    (no_inodes, "No space left on device"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_disk_that_refuses_is_told_once_and_counted_and_mail_goes_on(key, fault, reason):
    port = free_port()
    with House(key, exporters=f'{TEXTFILE}[exporters.http]\nlisten = "127.0.0.1:{port}"\n') as house:

        def shown():
            return parsed(parse(scrape(port).decode()))

        # Both exporters, and no word that this is meant: told at the start as by check.
        assert 'exporters.http: exporter "textfile" is enabled too' in house.log()
        file = house.metrics / NAME
        eventually(
            "the file and the port are there", lambda: file.exists() and fetch(f"http://127.0.0.1:{port}/metrics")
        )
        cure = fault(house)
        try:
            kept = file.read_bytes() if file.is_file() else None
            with Load(house, 2, messages=40) as load:
                eventually("five failures", lambda: shown()[FAILURES] >= 5)
                load.join()
            assert (load.good, load.bad) == (40, [])
            assert house.log().count("can't be written") == 1
            assert f"{reason}" in house.log()
            last = shown()[LAST_WRITE]
            assert (file.read_bytes() if file.is_file() else None) == kept, "the old file stays"
            if house.metrics.exists():
                left = set(os.listdir(house.metrics)) - {"fill", NAME}
                # One may be under way just now; none stays.
                eventually("no leftover", lambda: not left & set(os.listdir(house.metrics)))
        finally:
            cure()
        found = eventually("written again", lambda: (v := shown())[LAST_WRITE] > last and v)
        house.wait_for("is written again")
        assert found[series("phoenixdkim_exporter_up", exporter="textfile")] == 1
        assert found[series("phoenixdkim_exporter_failures_total", exporter="textfile")] == 0
        eventually("the file is of now", lambda: parsed(parse(file.read_text()))[MESSAGES] == 40)


def test_planted_links_lead_nowhere(key):
    with House(key, exporters=TEXTFILE) as house:
        file = house.metrics / NAME
        eventually("the file", file.exists)
        victim = house.base / "victim"
        victim.write_text("precious")
        victim.chmod(0o666)
        planted = [
            house.metrics / f".{NAME}.tmp",
            house.metrics / f".{NAME}.{0:016x}.tmp",
            house.metrics / f"{NAME}.tmp",
        ]
        for link in planted:
            link.symlink_to(victim)
        file.unlink()
        file.symlink_to(victim)
        eventually("the link is replaced", lambda: not file.is_symlink() and file.is_file())
        assert victim.read_text() == "precious"
        assert all(link.is_symlink() for link in planted)
        assert "exporter 'textfile'" not in house.log().replace("exporter 'textfile' runs as user id", ""), "no fault"


class Reader(threading.Thread):
    """Does what node_exporter does, without a pause: reads and parses each file that it would read."""

    def __init__(self, directory):
        super().__init__(daemon=True)
        self.directory = directory
        self.ending = False
        self.parsed = 0
        self.faults = []

    def run(self):
        while not self.ending:
            for name in os.listdir(self.directory):
                if not name.endswith(".prom"):
                    continue
                text = (self.directory / name).read_text()
                found = parsed(parse(text))
                if MESSAGES not in found or LAST_WRITE not in found or not text.endswith("\n"):
                    self.faults.append(text)
                self.parsed += 1
            time.sleep(0.001)


def written(directory):
    """When the file was last written, in nanoseconds; 0 while there is none."""
    try:
        return os.stat(directory / NAME).st_mtime_ns
    except FileNotFoundError:
        return 0


def kill_at_random(directory, kills, seed):
    """Kill a process that writes without a pause, again and again; how often a temporary file was left."""
    generator = random.Random(seed)
    left = 0
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("writer.py"), directory / NAME],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as writer:
        for _ in range(kills):
            before = written(directory)
            writer.stdin.write("\n")
            pid = int(writer.stdout.readline())
            eventually("a write", lambda before=before: written(directory) > before)
            time.sleep(generator.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
            assert writer.stdout.readline() == "gone\n"
            names = os.listdir(directory)
            assert all(name == NAME or not name.endswith(".prom") for name in names)
            tmp = [name for name in names if name.endswith(".tmp")]
            assert len(tmp) <= 1, "the next one removes what a killed one left"
            left += len(tmp)
        writer.stdin.close()
    return left


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [20, pytest.param(500, marks=pytest.mark.long)])
def test_killed_at_random_points_it_never_leaves_half_a_file(tmp_path, kills, record_property):
    reader = Reader(tmp_path)
    reader.start()
    try:
        left = kill_at_random(tmp_path, kills, seed=kills)
    finally:
        reader.ending = True
        reader.join()
    record_property("temporary files left", left)
    print(f"{kills} kills, {left} left a temporary file, {reader.parsed} files parsed")
    assert reader.faults == []
    assert reader.parsed > 10
    assert left > 0, "no kill hit a write: the test shows nothing"


def test_mail_does_not_notice_that_the_exporter_is_killed(key):
    with House(key, exporters=TEXTFILE) as house:
        file = house.metrics / NAME
        eventually("the file", file.exists)
        with Load(house, 4) as load:
            for _ in range(2):
                (pid,) = (pid for pid, line in house.descendants().items() if "exporters.process" in line)
                file.unlink()
                eventually("a write", file.exists)
                before = load.good
                os.kill(pid, signal.SIGKILL)
                eventually("mail goes on without it", lambda before=before: load.good > before + 20)
                file.unlink(missing_ok=True)
                eventually("a new one writes", file.exists)
        assert load.bad == []
        sent = load.good
        assert house.stop() == 0
        assert parsed(parse(file.read_text()))[MESSAGES] == sent
