"""Inputs that a target refused once; each stays as a test of its own."""

from __future__ import annotations

import importlib

import pytest

FOUND = [
    # The words after a version were not looked at.
    ("authres_forged", "our-name-after-a-version", b" mex 0 \x9e mex mx.example.com 5 \x9e xa\0.\0\0\x1c.\xd0"),
    # A form feed was counted as the end of a line.
    ("config", "a-form-feed-and-no-end", b"a = '\x0c"),
]


@pytest.mark.parametrize(("target", "data"), [pytest.param(t, d, id=f"{t}-{name}") for t, name, d in FOUND])
def test_found(target: str, data: bytes) -> None:
    importlib.import_module(f"fuzz.targets.{target}").TARGET.execute(data)
