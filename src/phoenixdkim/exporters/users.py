"""The users that exporters run as when the daemon is started as root: one for each.

An exporter with a user id of its own cannot signal, trace or read the daemon or another exporter: the kernel refuses.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_UIDS: Final = "60706-61183"
"""Neither a login, nor systemd's DynamicUser and homed, nor a container has these (systemd.io/UIDS-GIDS), and they
exist in a user namespace of 65,536 ids."""
USER_PREFIX: Final = "phoenixdkim-"
"""An exporter NAME without ``user`` runs as the user phoenixdkim-NAME if there is one."""
_MAX_ID: Final = 2**32 - 2
"""The next one is (uid_t) -1, which setresuid(2) takes for "leave it as it is"."""
_NO_SHELL: Final = "/usr/sbin/nologin"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user to run as."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides which users exporters get.

    Attributes:
        worker: user of leader and workers, by name or number; no exporter gets it.
        uids: user ids for exporters without a named user.
    """

    worker: str
    uids: range


@dataclass(frozen=True, slots=True)
class UserFault:
    """Why an exporter has no user.

    Attributes:
        exporter: its table's name.
        option: whether it is about the table's option ``user``.
        message: what is wrong and what to do.
    """

    exporter: str
    option: bool
    message: str


def identity(user: str) -> Identity:
    """Look up a user by name or number.

    Raises:
        LookupError: the user does not exist.
    """
    if user.isascii() and user.isdigit():
        uid = int(user)
        if uid > _MAX_ID:
            raise LookupError(f"{user} is not a user id; the largest is {_MAX_ID}")
        try:
            return Identity(uid, pwd.getpwuid(uid).pw_gid, user)
        except KeyError:
            return Identity(uid, uid, user)
    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError) as error:
        raise LookupError(f"there is no user {json.dumps(user, ensure_ascii=False)}") from error
    return Identity(entry.pw_uid, entry.pw_gid, user)


def useradd(name: str) -> str:
    """The command that makes a system user."""
    return f"useradd --system --home-dir /nonexistent --no-create-home --shell {_NO_SHELL} {name}"


def parse_uids(text: str) -> range:
    """Read ``FIRST-LAST``.

    Raises:
        ValueError: not a range of user ids; the message says what to write.
    """
    first, dash, last = text.partition("-")
    wanted = f'write the first and the last user id, as in "{DEFAULT_UIDS}"'
    if not dash or not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in (first, last)):
        raise ValueError(f"{text!r} is not a range of user ids; {wanted}")
    if not 0 < int(first) <= int(last) <= _MAX_ID:
        raise ValueError(f"{text!r}: user ids go from 1 to {_MAX_ID}, and the first is not above the last; {wanted}")
    return range(int(first), int(last) + 1)


def assign(
    options: Mapping[str, str],
    rules: Rules,
    kept: Iterable[tuple[str, Identity]] = (),
    busy: Set[int] = frozenset(),
) -> tuple[dict[str, Identity], list[UserFault]]:
    """Give each exporter a user that no other one has.

    That is ``user`` of its table, else the user phoenixdkim-NAME, else a free id of ``rules.uids``: where to begin
    looking follows from the name alone, so that an exporter has the same id after a restart.

    Args:
        options: the tables' options ``user`` by the tables' names; empty for none.
        rules: the process-wide options.
        kept: exporters whose processes run, and their users.
        busy: user ids of processes that are not ours, as ``uids_in_use`` finds them.

    Returns:
        Users by name, and a fault for each exporter that cannot have one.
    """
    try:
        worker = identity(rules.worker)
    except LookupError:
        # A fault of its own, at process.user.
        worker = Identity(0, 0, rules.worker)
    kept = list(kept)
    users: dict[str, Identity] = {}
    faults: list[UserFault] = []
    owners = {found.uid: name for name, found in kept}
    for name, option in options.items():
        try:
            user = _named(name, option)
            if user is None:
                continue
            _refuse_shared(user, worker)
            if owners.get(user.uid, name) != name:
                raise LookupError(
                    f"exporter '{owners[user.uid]}' runs as it too (user id {user.uid}); give each exporter its own"
                )
        except LookupError as error:
            faults.append(UserFault(name, bool(option), str(error.args[0])))
            continue
        users[name] = user
        owners[user.uid] = name
    refused = {fault.exporter for fault in faults}
    for name in options:
        if name in users or name in refused:
            continue
        before = next(
            (user for owner, user in kept if owner == name and user.uid in rules.uids and may_stay(user, rules)), None
        )
        uid = before.uid if before is not None else _free(name, rules.uids, worker, {*owners, *busy})
        if uid is None:
            message = (
                f"no free user id in {rules.uids.start}-{rules.uids.stop - 1} (process.exporter_uids): each has an"
                f" account, a group or a process, or is outside this user namespace; name another range, or make a"
                f" user: {useradd(USER_PREFIX + name)}"
            )
            faults.append(UserFault(name, False, message))
            continue
        users[name] = Identity(uid, uid, str(uid))
        owners[uid] = name
    return users, faults


def users_of(
    options: Mapping[str, str], rules: Rules, others: Iterable[tuple[str, Identity | UserFault | None]]
) -> dict[str, Identity | UserFault | None]:
    """Users for exporters of this process, or why they cannot have one; None: ours, which is not root.

    Args:
        options: the tables' options ``user`` by the tables' names.
        rules: the process-wide options.
        others: all exporters that run, and their users.
    """
    if os.geteuid() != 0 or not options:
        return dict.fromkeys(options)
    kept = [(name, user) for name, user in others if isinstance(user, Identity)]
    users, faults = assign(options, rules, kept, uids_in_use(os.getpid()))
    return {**users, **{fault.exporter: fault for fault in faults}}


def may_stay(user: Identity | UserFault | None, rules: Rules) -> bool:
    """Whether a running exporter's user is none that ``rules`` reserve for the daemon."""
    if not isinstance(user, Identity):
        return True
    try:
        worker = identity(rules.worker)
    except LookupError:
        return True
    return user.uid != worker.uid and user.gid != worker.gid


def uids_in_use(ours: int) -> set[int]:
    """User ids of all processes that do not descend from process ``ours``; 0 for all processes."""
    parents: dict[int, int] = {}
    uids: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            status = Path("/proc", entry, "status").read_bytes()
        except OSError:
            # It ended meanwhile.
            continue
        fields = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
        parents[int(entry)] = int(fields[b"PPid"])
        uids[int(entry)] = [int(number) for number in fields[b"Uid"].split()]
    found: set[int] = set()
    for pid, numbers in uids.items():
        ancestor, steps = pid, 0
        while ancestor not in (0, ours) and steps < len(parents):
            ancestor, steps = parents.get(ancestor, 0), steps + 1
        if ancestor != ours or not ours:
            found.update(numbers)
    return found


def _named(name: str, option: str) -> Identity | None:
    """The user that the table or the system names; None when neither does."""
    if option:
        try:
            return identity(option)
        except LookupError as error:
            raise LookupError(f"{error.args[0]}; make it: {useradd(option)}") from error
    try:
        return identity(USER_PREFIX + name)
    except LookupError:
        return None


def _refuse_shared(user: Identity, worker: Identity) -> None:
    """Refuse users and groups that may do or read what an exporter must not."""
    own = "give each exporter a user of its own"
    if user.uid == 0:
        raise LookupError(f"'{user.name}' is root; {own}")
    if user.uid in (worker.uid, os.getuid(), os.geteuid()):
        raise LookupError(f"'{user.name}' is the user of the daemon's own processes, which has the keys; {own}")
    if user.gid == 0:
        raise LookupError(f"'{user.name}' has the primary group of root; {own}, with a group of its own")
    if user.gid == worker.gid:
        raise LookupError(
            f"'{user.name}' has the primary group of '{worker.name}' (process.user), which may read the keys; {own},"
            " with a group of its own"
        )


def _free(name: str, uids: range, worker: Identity, taken: Set[int]) -> int | None:
    begin = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % len(uids)
    for offset in range(len(uids)):
        uid = uids[(begin + offset) % len(uids)]
        if uid in taken or uid in (0, worker.uid, worker.gid, os.getuid(), os.geteuid()):
            continue
        if _mapped("uid", uid) and _mapped("gid", uid) and not _has_account(uid):
            return uid
    return None


def _has_account(uid: int) -> bool:
    for look_up in (pwd.getpwuid, grp.getgrgid):
        try:
            look_up(uid)
        except KeyError:
            continue
        return True
    return False


def _mapped(kind: str, number: int) -> bool:
    """Whether an id exists in this user namespace (user_namespaces(7))."""
    for line in Path(f"/proc/self/{kind}_map").read_text().splitlines():
        first, _, count = (int(field) for field in line.split())
        if first <= number < first + count:
            return True
    return False
