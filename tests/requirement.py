"""How a test names the requirements of docs/conformance.toml that it proves."""

from __future__ import annotations

import pytest


def requirement(*ids: str) -> pytest.MarkDecorator:
    """Mark a test with ids such as ``"C14"``. Its own name can hold them too: ``test_c14_leading_space``."""
    return pytest.mark.requirement(*ids)
