"""Name servers that are dead, restarted or replaced, without a restart of ours (N5, N7)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.dns_bench import PATIENT, DnsBench, dns_bench
from phoenixdkim.keystore import public_record
from phoenixdkim.testing.dns_server import Behaviour, Fault, ScriptedDnsServer, txt
from signed_mail import MESSAGE, ed_key, signed

pytestmark = pytest.mark.daemon

FOUND = Behaviour((txt(public_record(ed_key().private)),), ttl=0)
GOOD = signed(MESSAGE, [ed_key()])
PASS = ((b"pass", None),)


@pytest.fixture
def server() -> Iterator[ScriptedDnsServer]:
    with ScriptedDnsServer() as running:
        running.set_default(FOUND)
        yield running


def verdict(bench: DnsBench) -> bytes:
    told = bench.send(GOOD)
    assert told.questions == 1
    return told.results[0][0]


def test_n5_the_first_server_is_dead(server: ScriptedDnsServer) -> None:
    with ScriptedDnsServer() as dead:
        dead.set_default(Behaviour(fault=Fault.DROP))
        dns = f'nameservers = ["{dead.address}", "{server.address}"]\nquery_timeout = 1.0\nmessage_timeout = 60.0\n'
        with dns_bench(dns + 'dnssec_probe = ""') as bench:
            told = bench.send(GOOD)
            assert (told.results, told.questions) == (PASS, 1)
            assert told.counted("dns_responses_total", result="success") == 1
            assert told.counted("dns_duration_seconds_sum") >= 1.0
            asked = len(dead.questions())
            # The one that answered is asked first for half a minute.
            for _ in range(5):
                assert verdict(bench) == b"pass"
            assert len(dead.questions()) == asked == 1


def test_n5_the_first_server_is_not_there(server: ScriptedDnsServer) -> None:
    with ScriptedDnsServer() as gone:
        address = gone.address
    with dns_bench(f'nameservers = ["{address}", "{server.address}"]\n{PATIENT}') as bench:
        assert verdict(bench) == b"pass"


def test_n7_the_server_is_restarted() -> None:
    with ScriptedDnsServer() as first:
        first.set_default(FOUND)
        dns = f'nameservers = ["{first.address}"]\nfailure_ttl = 0\ndnssec_probe = ""\n{PATIENT}'
        with dns_bench(dns) as bench:
            (worker,) = bench.house.workers()
            assert verdict(bench) == b"pass"
            first.close()
            for _ in range(3):
                assert verdict(bench) == b"temperror"
            with ScriptedDnsServer(port=first.port) as second:
                second.set_default(FOUND)
                assert verdict(bench) == b"pass"
                assert len(second.questions()) == 1
            assert bench.house.workers() == [worker]


def test_n7_resolv_conf_is_replaced(tmp_path: Path) -> None:
    """Servers of resolv.conf are asked on port 53: each has a loopback address of its own."""
    block = f"127.53.{os.getpid() % 250}"
    conf = tmp_path / "resolv.conf"
    for directory in (tmp_path, *tmp_path.parents[:3]):
        # The workers are another user.
        if directory.stat().st_uid == os.geteuid() and directory != Path("/tmp"):
            directory.chmod(directory.stat().st_mode | 0o055)
    with ScriptedDnsServer(f"{block}.1", 53) as old, ScriptedDnsServer(f"{block}.2", 53) as new:
        for server in (old, new):
            server.set_default(FOUND)
        conf.write_text(f"nameserver {block}.1\n")
        conf.chmod(0o644)
        with dns_bench(f'resolv_conf = "{conf}"\nfailure_ttl = 0\ndnssec_probe = ""\n{PATIENT}') as bench:
            (worker,) = bench.house.workers()
            assert verdict(bench) == b"pass"
            assert (len(old.questions()), len(new.questions())) == (1, 0)
            other = tmp_path / "other"
            other.write_text(f"search example\nnameserver {block}.2\n")
            other.chmod(0o644)
            other.replace(conf)
            old.close()
            assert verdict(bench) == b"pass"
            assert len(new.questions()) == 1
            # Away for a moment, as while it is written anew: what was read last still serves.
            conf.unlink()
            assert verdict(bench) == b"pass"
            assert len(new.questions()) == 2
            assert bench.house.workers() == [worker]
