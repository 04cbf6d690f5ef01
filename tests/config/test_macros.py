from __future__ import annotations

import pytest

from phoenixdkim.config.build import build
from phoenixdkim.config.load import read_text
from phoenixdkim.config.macros import macro_conditions, macro_name

SIGNING = "[signing]\nenabled = false\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{daemon_name}", "{daemon_name}"),
        ("daemon_name", "{daemon_name}"),
        ("i", "i"),
        ("{i}", "i"),
        ("_", "_"),
        ("{x-y9}", "{x-y9}"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert macro_name(text) == name


@pytest.mark.parametrize("text", ["", "{}", "{a", "a}", "a b", "{a b}", "${a}", "ä", "{{a}}", "{rcpt_addr}", "msg_id"])
def test_invalid_names(text: str) -> None:
    with pytest.raises(ValueError, match=r"macro"):
        macro_name(text)


def test_conditions() -> None:
    assert macro_conditions({"daemon_name": ("A", "B"), "{auth_authen}": ()}) == {
        "{daemon_name}": ("A", "B"),
        "{auth_authen}": (),
    }
    with pytest.raises(ValueError, match="already"):
        macro_conditions({"daemon_name": ("A",), "{daemon_name}": ("B",)})
    with pytest.raises(ValueError, match="empty"):
        macro_conditions({"daemon_name": ("",)})


def test_from_the_file_to_the_policy() -> None:
    loaded = read_text(
        SIGNING + 'trusted_macros = { "{daemon_name}" = ["A", "B"] }\nrequired_macros = { auth_type = [] }\n', "file"
    )
    assert loaded.config is not None, loaded.faults
    policy = build(loaded.config, uid_is_root=False, loaded=loaded)[0]
    assert policy is not None
    assert policy.trusted_macros == {"{daemon_name}": frozenset({"A", "B"})}
    assert policy.required_macros == {"{auth_type}": frozenset()}
    assert policy.macro_names == ("{daemon_name}", "{auth_type}")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ('trusted_macros = { "a b" = [] }', "file:3: signing.trusted_macros: 'a b' is not the name of a macro"),
        ('required_macros = { "{rcpt_addr}" = [] }', "file:3: signing.required_macros: '{rcpt_addr}'"),
        ('trusted_macros = { x = [""] }', "file:3: signing.trusted_macros: 'x': a value is empty"),
        ('trusted_macros = { xy = "z" }', "file:3: signing.trusted_macros.xy: "),
        ("trusted_macros = { xy = [1] }", "file:3: signing.trusted_macros.xy[0]: "),
        ("trusted_macros = ['xy']", "file:3: signing.trusted_macros: "),
        ("max_line = 77", "file:3: signing.max_line: 77 is not a line length"),
        ("max_line = 'long'", "file:3: signing.max_line: 'long' is not a line length"),
        ("max_line = true", "file:3: signing.max_line: True is not a line length"),
        ("max_line = 998.0", "file:3: signing.max_line: 998.0 is not a line length"),
    ],
)
def test_faults_are_one_line(option: str, words: str) -> None:
    loaded = read_text(SIGNING + option, "file")
    assert loaded.config is None
    (fault,) = loaded.faults
    assert str(fault).startswith(words)


@pytest.mark.parametrize(("written", "octets"), [("'auto'", None), ("990", 990), ("78", 78), ("100000", 100_000)])
def test_line_lengths(written: str, octets: int | None) -> None:
    loaded = read_text(SIGNING + f"max_line = {written}", "file")
    assert loaded.config is not None
    policy = build(loaded.config, uid_is_root=False, loaded=loaded)[0]
    assert policy is not None
    assert policy.max_line == octets
