"""Inputs that a target refused once; each stays as a test of its own."""

from __future__ import annotations

import importlib

import pytest

FOUND = [
    # Python's email package takes a label of any length, a word that does not end, and a dot for an underscore.
    ("authres_forged", "a-long-label", b" =?ut" + bytes(90) + b"f-8?b?bXguZXhhbXBsZS5jb207?= dkim=pass"),
    ("authres_forged", "a-word-without-an-end", b" =?utf-8?q?=6D=78=2Eexample.com=0\x9a=0A=20=3B=2Edkim=pass"),
    ("authres_forged", "a-dot-in-a-label", b" =?iso.2022-jp?q?=6Dx=1B=28=42=2Eexample.com?=; dkim=pass"),
    # The words after a version were not looked at.
    ("authres_forged", "our-name-after-a-version", b" mex 0 \x9e mex mx.example.com 5 \x9e xa\0.\0\0\x1c.\xd0"),
    # A form feed was counted as the end of a line.
    ("config", "a-form-feed-and-no-end", b"a = '\x0c"),
]


@pytest.mark.parametrize(("target", "data"), [pytest.param(t, d, id=f"{t}-{name}") for t, name, d in FOUND])
def test_found(target: str, data: bytes) -> None:
    importlib.import_module(f"fuzz.targets.{target}").TARGET.execute(data)
