"""Modules beside the tests whose assertions tell what they compared, as those of test modules do."""

import os

import pytest

pytest.register_assert_rewrite("tables.judge")


@pytest.fixture
def unmeasured(monkeypatch):
    """Processes that the test starts run without coverage, which opens descriptors and files and handles SIGTERM."""
    for name in [name for name in os.environ if name.startswith("COVERAGE")]:
        monkeypatch.delenv(name)
