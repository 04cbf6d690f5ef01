"""Users of exporters: one for each, never root's or the daemon's, and the same after a restart."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import subprocess
import sys

import pytest

from phoenixdkim.exporters import users
from phoenixdkim.exporters.users import (
    DEFAULT_UIDS,
    Identity,
    Rules,
    assign,
    identity,
    may_stay,
    parse_uids,
    uids_in_use,
)

UIDS = parse_uids(DEFAULT_UIDS)
RULES = Rules("daemon", UIDS)
NAMES = [f"exporter{number}" for number in range(40)]


class Accounts:
    """The system's users and groups, as a test wants them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.users: dict[str, tuple[int, int]] = {"daemon": (1, 1), "root": (0, 0)}
        self.groups: set[int] = set()
        monkeypatch.setattr(users.pwd, "getpwnam", self._by_name)
        monkeypatch.setattr(users.pwd, "getpwuid", self._by_uid)
        monkeypatch.setattr(users.grp, "getgrgid", self._group)

    def _entry(self, name: str) -> pwd.struct_passwd:
        uid, gid = self.users[name]
        return pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/false"))

    def _by_name(self, name: str) -> pwd.struct_passwd:
        return self._entry(name)

    def _by_uid(self, uid: int) -> pwd.struct_passwd:
        return self._entry(next((name for name, ids in self.users.items() if ids[0] == uid), ""))

    def _group(self, gid: int) -> grp.struct_group:
        if gid not in self.groups:
            raise KeyError(gid)
        return grp.struct_group(("group", "x", gid, []))


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Accounts:
    return Accounts(monkeypatch)


def test_each_has_an_id_of_its_own_and_the_same_one_each_time(accounts: Accounts) -> None:
    first, faults = assign(dict.fromkeys(NAMES, ""), RULES)
    assert faults == []
    assert len({user.uid for user in first.values()}) == len(NAMES)
    assert all(user.uid in UIDS and user.gid == user.uid for user in first.values())
    assert assign(dict.fromkeys(NAMES, ""), RULES) == (first, [])


def test_another_exporter_beside_it_does_not_change_an_id(accounts: Accounts) -> None:
    alone = {name: assign({name: ""}, RULES)[0][name] for name in ("textfile", "http", "statsd")}
    together, _ = assign(dict.fromkeys(alone, ""), RULES)
    assert together == alone


def test_a_user_of_the_exporters_name_is_taken(accounts: Accounts) -> None:
    accounts.users["phoenixdkim-http"] = (777, 778)
    found, faults = assign({"http": "", "statsd": ""}, RULES)
    assert faults == []
    assert found["http"] == Identity(777, 778, "phoenixdkim-http")
    assert found["statsd"].uid in UIDS


def test_the_tables_user_comes_first_by_name_or_number(accounts: Accounts) -> None:
    accounts.users |= {"phoenixdkim-http": (777, 778), "metrics": (500, 501)}
    found, faults = assign({"http": "metrics", "statsd": "60000"}, RULES)
    assert faults == []
    assert found == {"http": Identity(500, 501, "metrics"), "statsd": Identity(60000, 60000, "60000")}


@pytest.mark.parametrize(
    ("options", "exporter", "message"),
    [
        ({"a": "metrics", "b": "metrics"}, "b", "exporter 'a' runs as it too (user id 500)"),
        ({"a": "metrics", "b": "500"}, "b", "exporter 'a' runs as it too"),
        ({"a": "000500", "b": "metrics"}, "b", "exporter 'a' runs as it too"),
        ({"a": "alias", "b": "metrics"}, "b", "exporter 'a' runs as it too"),
        ({"named": "", "b": "70"}, "b", "exporter 'named' runs as it too (user id 70)"),
        ({"a": "root"}, "a", "'root' is root"),
        ({"a": "0"}, "a", "'0' is root"),
        ({"a": "toor"}, "a", "'toor' is root"),
        ({"a": "daemon"}, "a", "'daemon' is the user of the daemon's own processes"),
        ({"a": "1"}, "a", "'1' is the user of the daemon's own processes"),
        ({"a": "wheel"}, "a", "'wheel' has the primary group of root"),
        ({"a": "friend"}, "a", "'friend' has the primary group of 'daemon' (process.user), which may read the keys"),
        ({"a": "nobody-here"}, "a", 'there is no user "nobody-here"; make it: useradd --system'),
        ({"a": "4294967295"}, "a", "4294967295 is not a user id"),
        ({"a": "4294967296"}, "a", "4294967296 is not a user id"),
        ({"a": "a\0b"}, "a", "there is no user"),
    ],
)
def test_a_user_that_an_exporter_must_not_have_is_refused(
    accounts: Accounts, options: dict[str, str], exporter: str, message: str
) -> None:
    accounts.users |= {
        "metrics": (500, 501),
        "alias": (500, 9),
        "toor": (0, 5),
        "wheel": (501, 0),
        "friend": (502, 1),
        "phoenixdkim-named": (70, 70),
    }
    found, (fault,) = assign(options, RULES)
    assert (fault.exporter, fault.option) == (exporter, True)
    assert fault.message.startswith(message)
    assert exporter not in found
    assert len(found) == len(options) - 1


def test_a_user_of_the_exporters_name_that_it_must_not_have_is_refused_and_no_other_taken(accounts: Accounts) -> None:
    accounts.users["phoenixdkim-a"] = (0, 7)
    found, (fault,) = assign({"a": ""}, RULES)
    assert found == {}
    assert (fault.option, fault.message[:28]) == (False, "'phoenixdkim-a' is root; giv")


def test_ids_with_an_account_a_group_or_a_process_are_passed_over(accounts: Accounts) -> None:
    rules = Rules("daemon", range(60706, 60711))
    accounts.users["somebody"] = (60706, 5)
    accounts.groups.add(60707)
    found, faults = assign({"a": "", "b": "60709"}, rules, busy={60708})
    assert faults == []
    assert (found["a"].uid, found["b"].uid) == (60710, 60709)
    found, (fault,) = assign({"a": "", "b": "60709", "c": ""}, rules, busy={60708})
    assert sorted(found) == ["a", "b"]
    assert fault.exporter == "c"
    assert fault.message.startswith("no free user id in 60706-60710 (process.exporter_uids)")


def test_the_workers_user_and_group_are_passed_over(accounts: Accounts) -> None:
    accounts.users["worker"] = (60706, 60707)
    found, faults = assign({"a": ""}, Rules("worker", range(60706, 60709)))
    assert (found["a"].uid, faults) == (60708, [])


def test_ids_outside_this_user_namespace_are_passed_over(accounts: Accounts) -> None:
    (before,) = assign({"a": ""}, RULES)[0].values()
    assert users._mapped("uid", before.uid)
    assert not users._mapped("uid", 2**32 - 1)


def test_a_running_exporter_keeps_its_id_and_nobody_else_gets_it(accounts: Accounts) -> None:
    rules = Rules("daemon", range(60706, 60708))
    running = [("a", Identity(60707, 60707, "60707")), ("gone", Identity(60706, 60706, "60706"))]
    assert assign({"a": ""}, rules, running)[0]["a"].uid == 60707
    found, (fault,) = assign({"b": ""}, rules, running)
    assert (found, fault.exporter) == ({}, "b")
    found, (fault,) = assign({"b": "60707"}, rules, running)
    assert fault.message.startswith("exporter 'a' runs as it too")


@pytest.mark.parametrize(
    "text", ["", "5", "0-10", "10-5", "1-4294967295", "a-b", "1-2-3", "-1-5", "1 - 5", "\uff11-\uff15", "1-99999999999"]
)
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f'write the first and the last user id, as in "{DEFAULT_UIDS}"'):
        parse_uids(text)


def test_numbers_without_an_account_are_users_too() -> None:
    assert identity("60999") == Identity(60999, 60999, "60999")
    assert identity("root") == Identity(0, 0, "root")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as another user")
def test_processes_of_others_are_seen_and_our_own_are_not() -> None:
    program = [sys.executable, "-c", "import time; print(flush=True); time.sleep(1000)"]
    with subprocess.Popen(program, user=60999, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            assert 60999 in uids_in_use(0)
            assert 60999 in uids_in_use(process.pid + 1 if process.pid > 1 else 2)
            assert 60999 not in uids_in_use(os.getpid())
            assert 60999 not in uids_in_use(process.pid)
        finally:
            process.send_signal(signal.SIGKILL)


def test_one_stays_unless_its_user_or_group_is_the_workers(accounts: Accounts) -> None:
    ours = Identity(60706, 60706, "60706")
    accounts.users |= {"same": (60706, 5), "group": (5, 60706), "other": (5, 5)}
    assert [may_stay(ours, Rules(name, UIDS)) for name in ("same", "group", "other", "60706", "missing")] == [
        False,
        False,
        True,
        False,
        True,
    ]
    assert may_stay(None, Rules("same", UIDS))
