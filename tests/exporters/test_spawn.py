"""An exporter's process has the descriptors that it is given, whatever numbers they had."""

from __future__ import annotations

import os
from itertools import permutations

import pytest

from phoenixdkim.exporters.spawn import _become_exporter

NAMES = ("control", "ledger", "page", "output")


@pytest.mark.parametrize(
    "block", [(3, 4, 5, 6), (2, 5, 4, 1), (102, 103, 104, 105), (103, 104, 105, 106), (5, 6, 9, 10)]
)
def test_descriptors_do_not_cross(block: tuple[int, ...]) -> None:
    for numbers in permutations(block):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = _crossed(numbers)
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, numbers


def _crossed(numbers: tuple[int, ...]) -> int:
    """Become an exporter with sources of these numbers; 0 when each is where it should be."""
    made = [os.memfd_create(name) for name in NAMES]
    high = [os.dup2(fd, 200 + number) for number, fd in enumerate(made)]
    for fd, number in zip(high, numbers, strict=True):
        os.dup2(fd, number)
    control, ledger, page, output = numbers
    _become_exporter(os.getppid(), {control: 3, ledger: 4, page: 5}, output, None, False)
    links = [os.readlink(f"/proc/self/fd/{number}") for number in range(6)]
    expected = [
        "/dev/null",
        *(f"/memfd:{name} (deleted)" for name in ("output", "output", "control", "ledger", "page")),
    ]
    inherited = all(os.get_inheritable(number) for number in range(6))
    # The list itself has a descriptor.
    return int(links != expected or not inherited or len(os.listdir("/proc/self/fd")) != 7)
