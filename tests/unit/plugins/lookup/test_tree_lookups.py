from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible_collections.flowstead.airflow.plugins.lookup.tree_content import content
from ansible_collections.flowstead.airflow.plugins.lookup.tree_digest import digest


@pytest.fixture(name="tree")
def _tree(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package/b.py").write_text("b = 1\n", encoding="utf-8")
    (tmp_path / "a.toml").write_text("a = 1\n", encoding="utf-8")
    return tmp_path


def test_the_digest_does_not_depend_on_where_the_tree_lies(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    for name in ("package/b.py", "a.toml"):
        (other / name).parent.mkdir(exist_ok=True)
        (other / name).write_bytes((tree / name).read_bytes())
    assert digest([str(tree)]) == digest([str(other)])


def test_what_tools_leave_behind_does_not_count(tree: Path) -> None:
    before = digest([str(tree)])
    (tree / "package/__pycache__").mkdir()
    (tree / "package/__pycache__/b.pyc").write_bytes(b"\x00")
    (tree / ".cache").write_text("x", encoding="utf-8")
    assert digest([str(tree)]) == before
    assert sorted(content(str(tree))) == ["a.toml", "package/b.py"]


def test_content_name_and_data_count(tree: Path) -> None:
    seen = {digest([str(tree)]), digest([str(tree)], ["tini"]), digest([str(tree), str(tree)])}
    (tree / "a.toml").write_text("a = 2\n", encoding="utf-8")
    seen.add(digest([str(tree)]))
    (tree / "a.toml").rename(tree / "c.toml")
    seen.add(digest([str(tree)]))
    assert len(seen) == 5


def test_moving_bytes_from_one_file_to_the_next_counts(tmp_path: Path) -> None:
    for name, text in {"one/a": "xy", "one/b": "", "two/a": "x", "two/b": "y"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert digest([str(tmp_path / "one")]) != digest([str(tmp_path / "two")])


def test_the_order_of_keys_in_the_data_does_not_count(tree: Path) -> None:
    assert digest([str(tree)], {"a": 1, "b": 2}) == digest([str(tree)], {"b": 2, "a": 1})


def test_the_content_has_paths_below_the_tree_with_the_prefix(tree: Path) -> None:
    assert content(str(tree), "runtime/") == {"runtime/a.toml": "a = 1\n", "runtime/package/b.py": "b = 1\n"}


def test_a_missing_tree_and_a_file_that_is_no_text_are_named(tree: Path) -> None:
    with pytest.raises(AnsibleError, match="nowhere does not exist on the controller"):
        digest([str(tree / "nowhere")])
    (tree / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(AnsibleError, match="binary cannot be read as text"):
        content(str(tree))


def test_what_airflow_is_told_to_ignore_is_part_of_the_tree(tree: Path) -> None:
    before = digest([str(tree)])
    (tree / ".airflowignore").write_text("drafts/\n")

    assert digest([str(tree)]) != before
    assert content(str(tree))[".airflowignore"] == "drafts/\n"
