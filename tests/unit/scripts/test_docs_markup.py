from __future__ import annotations

import typing as t

import pytest


@pytest.fixture
def markup() -> t.Any:
    from _docs import markup as module  # noqa: PLC0415 (its directory is put on the path by conftest.py)

    return module


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("Use C(a b) here", "Use `a b` here"),
        ("O(name=x) or O(name)", "`name=x` or `name`"),
        ("see L(the guide,https://example.com/a_b)", "see [the guide](https://example.com/a_b)"),
        ("M(ansible.builtin.copy) and P(a.b.c#filter)", "`ansible.builtin.copy` and `a.b.c`"),
        ("V(a`b)", "`` a`b ``"),
        ("B(now) I(or) never", "**now** *or* never"),
        ("<stack>_x", "\\<stack>_x"),
    ],
)
def test_ansible_markup_becomes_plain_markdown(markup: t.Any, source: str, shown: str) -> None:
    assert markup.paragraphs(source) == [shown]


def test_broken_markup_is_an_error_that_quotes_it(markup: t.Any) -> None:
    with pytest.raises(ValueError, match="O\\("):
        markup.paragraphs("an O(open one")


def test_a_cell_never_breaks_its_table(markup: t.Any) -> None:
    lines = markup.table(("A", "B"), [("x | y", "one\ntwo")])
    assert lines[-1] == "| x \\| y | one two |"


def test_a_long_default_is_shown_below_the_table(markup: t.Any) -> None:
    default = {"key": "v" * 80}
    lines = markup.options_section({"big": {"type": "dict", "default": default, "description": "d"}}, "Variable", 3)
    assert any("*see below*" in line for line in lines)
    assert '  "key": "' + "v" * 80 + '"' in lines


def test_keys_of_lists_of_dicts_are_marked_as_such(markup: t.Any) -> None:
    inner = {"type": "list", "elements": "dict", "options": {"c": {"type": "int", "description": "x"}}}
    option = {"type": "dict", "description": "d", "options": {"b": {**inner, "description": "d"}}}
    assert "| `b[].c` | int |  | x |" in markup.options_section({"a": option}, "Variable", 3)
