"""Key files: the way to them, who can replace them, and what they are."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import pytest

from key_files import ED25519, private_directory, written
from phoenixdkim.keystore import KeyStoreError, Permissions, load_private_key
from phoenixdkim.keystore import files as files_module
from phoenixdkim.keystore.files import KeyFile, KeyFiles

OWNERS = frozenset((os.getuid(),))
STRICT, WARN, OFF = Permissions.STRICT, Permissions.WARN, Permissions.OFF
STRANGER = 12345

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return private_directory(tmp_path)


def fault(path: Path | str, permissions: Permissions = STRICT, owners: frozenset[int] = OWNERS) -> str:
    with pytest.raises(KeyStoreError) as caught:
        load_private_key(str(path), permissions=permissions, owners=owners)
    assert str(caught.value) == str(caught.value.fault)
    return str(caught.value)


def read_key_file(path: str, owners: frozenset[int]) -> KeyFile:
    with KeyFiles(owners) as files:
        return files.read(path)


def loads(path: Path | str) -> None:
    assert load_private_key(str(path), permissions=STRICT, owners=OWNERS)[1] == ()


@pytest.mark.parametrize(
    "mode, fine",
    [(mode, True) for mode in (0o600, 0o400, 0o640, 0o440)]
    + [(mode, False) for mode in (0o644, 0o660, 0o604, 0o602, 0o620, 0o777)],
)
def test_f1_modes(keys: Path, mode: int, fine: bool) -> None:
    path = written(keys / "k.pem", mode=mode)
    if fine:
        loads(path)
        return
    text = fault(path)
    assert f"{mode:04o}" in text and f"chmod 0640 {path}" in text
    _, warnings = load_private_key(str(path), permissions=WARN, owners=OWNERS)
    assert [warning.path for warning in warnings] == [str(path)]
    assert load_private_key(str(path), permissions=OFF, owners=OWNERS)[1] == ()


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o702, 0o720])
def test_f1_directory_others_can_write(keys: Path, mode: int) -> None:
    path = written(keys / "k.pem")
    keys.chmod(mode)
    text = fault(path)
    assert text.startswith(f"{keys}: ") and f"chmod go-w {keys}" in text
    keys.chmod(mode | 0o1000)  # sticky: others can't replace what is ours
    loads(path)


def test_f1_grandparent_others_can_write(keys: Path) -> None:
    path = written(keys / "k.pem")
    keys.parent.chmod(0o777)
    assert fault(path).startswith(f"{keys.parent}: ")


def test_f1_directory_behind_a_symbolic_link(keys: Path) -> None:
    """Whoever may write where a linked directory lies can replace the key."""
    real = keys / "open" / "real"
    real.mkdir(parents=True, mode=0o700)
    written(real / "k.pem")
    (keys / "link").symlink_to(real)
    (keys / "relative").symlink_to("open/../open/./real/")
    (keys / "file").symlink_to(real / "k.pem")
    names = ("link/k.pem", "relative/k.pem", "file")
    for name in names:
        loads(keys / name)
    (keys / "open").chmod(0o777)
    for name in names:
        assert fault(keys / name).startswith(f"{keys / 'open'}: ")


def test_f1_owners(keys: Path) -> None:
    path = written(keys / "k.pem")
    uid = os.getuid()
    if uid == 0:
        # Root may own all; only root can give away what it owns.
        uid = STRANGER
        os.chown(path, uid, -1)
        assert "chown root" in fault(path)
        load_private_key(str(path), permissions=STRICT, owners=frozenset((uid,)))
        os.chown(path, 0, -1)
        os.chown(keys, uid, -1)
        assert fault(path).startswith(f"{keys}: the directory belongs to")
    else:
        assert "chown root" in fault(path, owners=frozenset())


def kubernetes(directory: Path, name: str, data: bytes) -> Path:
    """A secret as kubelet writes it: the directory is replaced by renaming a link over the old one."""
    directory.chmod(0o1777)
    version = directory / name
    version.mkdir()
    version.chmod(0o755)
    written(version / "key.pem", data, 0o400)
    (directory / "..data_tmp").symlink_to(name)
    (directory / "..data_tmp").rename(directory / "..data")
    if not (directory / "key.pem").is_symlink():
        (directory / "key.pem").symlink_to("..data/key.pem")
    return directory / "key.pem"


def test_kubernetes_secret(keys: Path) -> None:
    path = kubernetes(keys, "..2026_11_27_10_00_00.1", ED25519)
    loads(path)
    assert read_key_file(str(path), OWNERS).data == ED25519
    kubernetes(keys, "..2026_11_28_10_00_00.2", ED25519 + b"\n")
    assert read_key_file(str(path), OWNERS).data == ED25519 + b"\n"
    (keys / "..2026_11_28_10_00_00.2" / "key.pem").chmod(0o444)
    text = fault(path)
    assert text.startswith(f"{keys}/..2026_11_28_10_00_00.2/key.pem: its mode 0444")


def test_links_of_every_kind_are_followed(keys: Path) -> None:
    path = written(keys / "k.pem")
    (keys / "sub").mkdir(mode=0o700)
    for name, target in (
        ("absolute", str(path)),
        ("plain", "k.pem"),
        ("dotted", "./sub/../k.pem"),
        ("up", f"../{keys.name}/k.pem"),
        ("root", "../" * 40 + str(path).lstrip("/")),
        ("twice", "plain"),
        ("slash", f"//{path}"),
    ):
        (keys / name).symlink_to(target)
        loads(keys / name)


def test_what_a_link_must_not_be(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (keys / "dangling").symlink_to("gone/k.pem")
    assert "dangling symbolic link" in fault(keys / "dangling") and f"{keys}/gone" in fault(keys / "dangling")
    (keys / "self").symlink_to("self")
    (keys / "a").symlink_to("b")
    (keys / "b").symlink_to("a")
    for name in ("self", "a"):
        text = fault(keys / name)
        assert "loop" in text and text.startswith(f"{keys / name}: ")
    os.mkfifo(keys / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as unix:
        monkeypatch.chdir(keys)  # the path of a socket is short
        unix.bind("socket")
    for name, target, words in (
        ("to_fifo", "fifo", "named pipe"),
        ("to_null", "/dev/null", "character device"),
        ("to_socket", "socket", "a socket"),
        ("to_directory", "/usr", "is a directory"),
        ("to_root", "/", "is a directory"),
        ("to_parent", "..", "is a directory"),
        ("through_file", str(written(keys / "k.pem")) + "/x", "not a directory"),
    ):
        (keys / name).symlink_to(target)
        text = fault(keys / name, OFF)
        assert words in text and f"{keys / name} -> {target}" in text


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_link_through_a_directory_that_others_can_write(keys: Path, tmp_path: Path, mode: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    written(keys / "k.pem")
    (shared / "hop").symlink_to(keys)
    (keys / "link").symlink_to(shared / "hop" / "k.pem")
    if mode & 0o1000:
        loads(keys / "link")
    else:
        assert fault(keys / "link").startswith(f"{shared}: the directory's mode 0777")
        assert load_private_key(str(keys / "link"), permissions=WARN, owners=OWNERS)[1][0].path == str(shared)


@as_root
def test_what_belongs_to_others_in_a_sticky_directory(keys: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    written(keys / "k.pem")
    (shared / "link").symlink_to(keys / "k.pem")
    loads(shared / "link")
    os.chown(shared / "link", STRANGER, -1, follow_symlinks=False)
    text = fault(shared / "link")
    assert text.startswith(f"{shared}/link: the symbolic link belongs to") and "chmod" not in text
    load_private_key(str(shared / "link"), permissions=STRICT, owners=OWNERS | {STRANGER})
    (shared / "sub").mkdir(mode=0o700)
    written(shared / "sub" / "k.pem")
    loads(shared / "sub" / "k.pem")
    os.chown(shared / "sub", STRANGER, -1)
    assert fault(shared / "sub" / "k.pem").startswith(f"{shared}/sub: ")


def test_what_is_checked_is_what_is_read(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or directory replaced after its check is noticed, or not looked at."""
    good, evil = keys / "good", keys / "evil"
    good.mkdir(mode=0o700)
    evil.mkdir(mode=0o700)
    written(good / "k.pem", b"good")
    written(evil / "k.pem", b"evil", 0o666)
    path = good / "k.pem"
    genuine, swaps = os.open, 0

    def swapping(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        nonlocal swaps
        if name == "k.pem" and flags & os.O_PATH and not swaps:
            # The way has been checked by now.
            good.rename(keys / "old")
            evil.rename(good)
            swaps += 1
        return genuine(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(files_module.os, "open", swapping)
    assert read_key_file(str(path), OWNERS).data == b"good" and swaps
    assert b"evil" in path.read_bytes()


@pytest.mark.parametrize("attempts", [1, 2, 100])
def test_a_file_replaced_while_it_is_opened(keys: Path, attempts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(keys / "k.pem", b"one")
    genuine, swaps = os.open, 0

    def swapping(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        nonlocal swaps
        if name == "k.pem" and not flags & os.O_PATH and swaps < attempts:
            swaps += 1
            written(keys / "new", b"two", 0o600).rename(path)
        return genuine(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(files_module.os, "open", swapping)
    if attempts == 100:
        with pytest.raises(KeyStoreError, match="replaced again and again"):
            read_key_file(str(path), OWNERS)
    else:
        assert read_key_file(str(path), OWNERS).data == b"two"


def test_no_descriptor_stays_open(keys: Path) -> None:
    path = written(keys / "k.pem")
    (keys / "loop").symlink_to("loop")
    before = len(os.listdir("/proc/self/fd"))
    for name in (path, keys / "loop", keys / "none", keys, "/dev/null", path / "below"):
        try:
            read_key_file(str(name), OWNERS)
        except KeyStoreError:
            pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_f2_what_is_no_file(keys: Path) -> None:
    path = written(keys / "k.pem")
    os.mkfifo(keys / "fifo")
    assert "named pipe" in fault(keys / "fifo")  # and does not wait for a writer
    assert "is a directory" in fault(keys) and "is a directory" in fault("/")
    assert "character device" in fault("/dev/null")
    assert "no such file" in fault(keys / "none") and "no such file" in fault(keys / "none" / "k.pem")
    assert "absolute" in fault("k.pem")
    assert "absolute" in fault("/k\0.pem")
    assert "not a directory" in fault(path / "below")
    assert "10000000 octets" in fault(written(keys / "big", b"x" * 10_000_000))
    for empty in (b"", b"\n", b" \r\n\t"):
        assert "is empty" in fault(written(keys / "empty", empty))
    assert fault("/" + "x" * 300).endswith("File name too long")


def test_one_after_the_other_is_as_each_alone(keys: Path, tmp_path: Path) -> None:
    """Directories stay open between files; what was met on the way to one must not count for the next."""
    for name in ("a", "a/b", "a/b/c", "d", "open", "open/e"):
        (keys / name).mkdir(mode=0o700)
    (keys / "open").chmod(0o777)
    places = ("k", "a/k", "a/b/k", "a/b/c/k", "d/k", "open/k", "open/e/k")
    for number, place in enumerate(places):
        written(keys / place, b"%d" % number, 0o644 if number == 2 else 0o600)
    for name, target in (
        ("a/up", "../d/k"),
        ("a/b/through", "../../open/e/../../d/k"),
        ("d/absolute", f"{keys}/a/b/c/k"),
        ("to_b", "a/b"),
        ("open/link", "../a/k"),
        ("a/b/c/loop", "loop"),
        ("a/b/c/gone", "nowhere/k"),
    ):
        (keys / name).symlink_to(target)
    names = [
        *places,
        "a/up",
        "a/b/through",
        "d/absolute",
        "to_b/k",
        "to_b/c/k",
        "open/link",
        "a/b/c/loop",
        "a/b/c/gone",
    ]
    paths = [f"{keys}/{name}" for name in [*names, "none", "a/none/k", "a", "a/../d/k", "./a//b/k", "k/x"]]

    def outcome(files: KeyFiles, path: str) -> object:
        try:
            found = files.read(path)
        except KeyStoreError as error:
            return str(error)
        return found.data, found.faults, set(found.directories)

    alone = {}
    for path in paths:
        with KeyFiles(OWNERS) as files:
            alone[path] = outcome(files, path)
    assert len({str(result) for result in alone.values()}) > 12
    with KeyFiles(OWNERS) as files:
        for seed in range(40):
            for path in random.Random(seed).sample(paths, len(paths)):
                assert outcome(files, path) == alone[path], path
