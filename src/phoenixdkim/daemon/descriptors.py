"""Descriptors: each session has one, each question to a name server two.

A listening socket from which nothing can be accepted for want of descriptors stays readable, and libmilter's listener
then spins. So a worker's limit is raised to what its configuration can ask for, and where it may not be raised so far,
the worker stops taking connections before the last descriptor is gone: they wait for another worker, or for sessions
to end.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from phoenixdkim.log import Log
from phoenixdkim.milter.pymilter_listener import Listener

_OURS: Final = 64
"""Of the process itself: libraries, the ledger, pipes, the log, with room to spare."""


def raise_limit(sessions: int, questions: int) -> str | None:
    """Raise the limit of this process and its children to what they may need, or as far as it goes.

    Args:
        sessions: connections of one worker.
        questions: questions of one worker to name servers at one time.

    Returns:
        What the administrator should know when it does not go so far.
    """
    wanted = sessions + 2 * questions + _OURS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    return (
        f"{soft} open files are allowed, and milter.max_sessions = {sessions} with dns.max_concurrent = {questions}"
        f" may need {wanted}; raise the hard limit (LimitNOFILE={wanted} in systemd's unit, ulimit -Hn elsewhere)"
        " or lower these options"
    )


@contextmanager
def spare_descriptors(count: int) -> Iterator[None]:
    """Keep ``count`` descriptors free: what is opened meanwhile gets none of them.

    Raises:
        OSError: fewer are free (EMFILE).
    """
    with ExitStack() as taken:
        for _ in range(count):
            taken.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        yield


class Shortage:
    """Pauses the listener of a worker when its descriptors run short, and resumes it.

    Args:
        listener: where connections come in.
        log: told of each change.
        questions: as for ``raise_limit``; descriptors for them are kept free.
    """

    def __init__(self, listener: Listener, log: Log, questions: int) -> None:
        self._listener = listener
        self._log = log
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        # A limit far below what is wanted is used for sessions all the same.
        self._reserve = min(2 * questions + _OURS // 2, self._limit // 4)
        self._short = False

    def look(self) -> None:
        """Look how many are free. Costs a system call for each hundred that are open; to be called now and then."""
        if self._limit == resource.RLIM_INFINITY:
            return
        free = self._limit - _open_descriptors(self._limit)
        if not self._short and free < self._reserve:
            self._short = True
            self._listener.pause()
            self._log.warning(
                f"{self._limit - free} of {self._limit} open files are in use; no more connections are taken until some"
                " sessions end: add workers (milter.workers), or raise the limit (LimitNOFILE= in systemd's unit)"
            )
        elif self._short and free >= self._reserve + self._reserve // 2:
            self._short = False
            self._listener.resume()
            self._log.notice(f"{free} of {self._limit} open files are free again; connections are taken")


def _open_descriptors(limit: int) -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        # Not even one for the listing.
        return limit
