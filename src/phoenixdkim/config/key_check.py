"""Check keys in a process of their own: a key that crashes or hangs a library is an error like any other."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
from collections.abc import Iterator
from typing import Final

from phoenixdkim.config.build import build, faults_of_parts
from phoenixdkim.config.faults import Fault, Severity
from phoenixdkim.config.load import Loaded
from phoenixdkim.keystore.progress import LoadProgress, crashed, hung
from phoenixdkim.process_status import ended_how

_TIMEOUT: Final = 120.0
"""Seconds for everything, keys included."""
_LOOK: Final = 0.2


def check_parts(loaded: Loaded, *, uid_is_root: bool) -> list[Fault]:
    """Return what is wrong with keys, users and zone of a configuration, also when other parts are not valid.

    Args:
        loaded: the configuration.
        uid_is_root: the daemon would be started as root and become other users.
    """
    progress = LoadProgress()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            _report(writing, loaded, uid_is_root, progress)
            os._exit(0)
        except Exception:  # noqa: BLE001 - nothing may return into the parent's code
            traceback.print_exc()
        finally:
            os._exit(70)
    os.close(writing)
    try:
        return list(_faults(loaded, progress, pid, reading))
    finally:
        os.close(reading)
        progress.close()


def _report(writing: int, loaded: Loaded, uid_is_root: bool, progress: LoadProgress) -> None:
    if loaded.config is not None:
        found = build(loaded.config, uid_is_root=uid_is_root, loaded=loaded, progress=progress.note)[2]
    else:
        found = faults_of_parts(loaded, uid_is_root=uid_is_root, progress=progress.note)
    with os.fdopen(writing, "w", encoding="utf-8", errors="surrogatepass") as file:
        json.dump([(fault.line, fault.path, fault.message, fault.severity) for fault in found], file)


def _faults(loaded: Loaded, progress: LoadProgress, pid: int, reading: int) -> Iterator[Fault]:
    data, hangs = _answer(progress, pid, reading)
    status = os.waitpid(pid, 0)[1]
    name = progress.key()
    if status == 0:
        for line, path, message, severity in json.loads(data.decode("utf-8", "surrogatepass")):
            yield Fault(loaded.path, line, tuple(path), message, Severity(severity))
    elif name:
        yield loaded.fault(("keys", name, "file"), hung() if hangs else crashed(ended_how(status)))
    else:
        yield loaded.fault((), f"the check of keys and users did not end well ({ended_how(status)})")


def _answer(progress: LoadProgress, pid: int, reading: int) -> tuple[bytes, bool]:
    """What the child wrote until it ended, and whether it was killed because it hung."""
    data = b""
    deadline = time.monotonic() + _TIMEOUT
    while True:
        if select.select([reading], [], [], _LOOK)[0]:
            chunk = os.read(reading, 1 << 20)
            if not chunk:
                return data, False
            data += chunk
        now = time.monotonic()
        if progress.hanging(now) or now > deadline:
            os.kill(pid, signal.SIGKILL)
            return data, True
