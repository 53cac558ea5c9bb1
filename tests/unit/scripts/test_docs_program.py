from __future__ import annotations

import pathlib
import typing as t

import pytest


def run(docs: t.Any, repository: t.Any, *arguments: str) -> int:
    status = docs.main(["--root", str(repository.root), *arguments])
    assert isinstance(status, int)
    return status


def test_after_writing_the_pages_the_check_is_content(docs: t.Any, repository: t.Any) -> None:
    assert run(docs, repository) == 0
    assert run(docs, repository, "--check") == 0


def test_writing_twice_gives_the_same_bytes(docs: t.Any, repository: t.Any) -> None:
    run(docs, repository)
    first = repository.files()
    run(docs, repository)
    assert repository.files() == first


@pytest.mark.usefixtures("only_roles")
def test_the_check_writes_nothing_and_fails_when_pages_are_missing(docs: t.Any, repository: t.Any) -> None:
    before = repository.files()
    assert run(docs, repository, "--check") == 1
    assert repository.files() == before


@pytest.mark.usefixtures("only_roles")
def test_a_changed_description_fails_the_check_with_a_diff_of_that_page_only(
    docs: t.Any, repository: t.Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run(docs, repository)
    repository.replace("roles/lights/meta/argument_specs.yml", "Leaves the wires.", "Takes the wires too.")
    capsys.readouterr()
    assert run(docs, repository, "--check") == 1
    shown = capsys.readouterr()
    assert "-Leaves the wires." in shown.out
    assert "+Takes the wires too." in shown.out
    assert shown.out.count("+++ ") == 1
    assert "1 page(s) out of date; run: make docs" in shown.err


def test_a_module_page_has_options_attributes_examples_and_returns(docs: t.Any, repository: t.Any) -> None:
    run(docs, repository)
    page = repository.read("docs/modules/lamp.md")
    assert "# lamp\n\nSwitches a lamp.\n" in page
    assert "| `state` | str | `on` | What it should be. One of `on`, `off`. |" in page
    assert "| `check_mode` | full | Predicts. |" in page
    assert '```yaml\n- name: Switch it on\n  acme.house.lamp:\n    state: "on"\n```' in page
    assert "| `watts` | int | success. | What it draws. For example `40`. |" in page


@pytest.mark.usefixtures("only_roles")
def test_a_role_page_has_every_variable_and_escapes_bars(docs: t.Any, repository: t.Any) -> None:
    run(docs, repository)
    page = repository.read("roles/lights/README.md")
    assert "| `lights_rooms` | list of str | **required** | Rooms, a \\| b style. |" in page
    assert "| `lights_level` | int | `80` | Brightness in percent. |" in page
    assert "It needs `lights_rooms` to be set" in page
    assert "#### `lights_switch`" in page
    assert "| `port` | int | `22` | Its port. |" in page


@pytest.mark.usefixtures("only_roles")
def test_variables_that_an_entry_point_shares_with_main_are_named_once(docs: t.Any, repository: t.Any) -> None:
    run(docs, repository)
    page = repository.read("roles/lights/README.md")
    assert page.count("Brightness in percent.") == 1
    assert "It takes these variables of `main`: `lights_level`." in page


def test_the_index_links_guides_playbooks_roles_and_modules(docs: t.Any, repository: t.Any) -> None:
    run(docs, repository)
    page = repository.read("docs/README.md")
    assert "- [How it is meant](guide.md)" in page
    assert "| [site](../playbooks/site.yml) | Everything, in order. |" in page
    assert "| [lights](../roles/lights/README.md) | Keep the lights on. |" in page
    assert "| [lamp](modules/lamp.md) | Switches a lamp. |" in page


def test_a_page_whose_module_is_gone_is_removed_but_handwritten_pages_stay(docs: t.Any, repository: t.Any) -> None:
    run(docs, repository)
    repository.write("docs/modules/handwritten.md", "# Mine\n")
    (repository.root / "plugins/modules/lamp.py").unlink()
    repository.write("meta/runtime.yml", "action_groups: {}\n")
    assert run(docs, repository, "--check") == 1
    run(docs, repository)
    assert not (repository.root / "docs/modules/lamp.md").exists()
    assert (repository.root / "docs/modules/handwritten.md").exists()


def test_a_module_without_documentation_fails_and_is_named(
    docs: t.Any, repository: t.Any, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.write("plugins/modules/mute.py", "from __future__ import annotations\n")
    assert run(docs, repository) == 1
    assert "acme.house.mute" in capsys.readouterr().err
    assert not (repository.root / "docs/README.md").exists()


def test_an_example_with_an_option_that_does_not_exist_fails(
    docs: t.Any, repository: t.Any, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.replace("plugins/modules/lamp.py", '    state: "on"\n"""\n\nRETURN', '    power: "on"\n"""\n\nRETURN')
    assert run(docs, repository, "--check") == 1
    assert "module lamp: an example gives acme.house.lamp the unknown power" in capsys.readouterr().err


def test_a_member_of_an_action_group_that_is_no_module_fails(
    docs: t.Any, repository: t.Any, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.write("meta/runtime.yml", "action_groups: {lights: [lamp, ghost]}\n")
    assert run(docs, repository, "--check") == 1
    assert "meta/runtime.yml: ghost is in an action group but is no module" in capsys.readouterr().err


def test_a_module_outside_of_every_action_group_fails(
    docs: t.Any, repository: t.Any, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.write("meta/runtime.yml", "action_groups: {}\n")
    assert run(docs, repository, "--check") == 1
    assert "meta/runtime.yml: module lamp is in no action group" in capsys.readouterr().err


@pytest.mark.usefixtures("only_roles")
def test_all_problems_are_told_at_once_and_nothing_is_written(
    docs: t.Any, repository: t.Any, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.write("roles/bare/tasks/main.yml", "---\n")
    repository.write("roles/broken/tasks/main.yml", "---\n")
    repository.write("roles/broken/meta/argument_specs.yml", "argument_specs:\n  main: {{\n")
    repository.replace("roles/lights/defaults/main.yml", "lights_level: 80", "lights_level: 70")
    assert run(docs, repository) == 1
    told = capsys.readouterr().err
    assert "roles/bare/meta/argument_specs.yml: there is no argument specification" in told
    assert "roles/broken/meta/argument_specs.yml:" in told
    assert "lights_level defaults to 70 in defaults/main.yml, but to 80 in meta/argument_specs.yml" in told
    assert not (repository.root / "roles/lights/README.md").exists()


def test_pages_do_not_depend_on_where_the_checkout_lies(docs: t.Any, repository: t.Any, tmp_path: pathlib.Path) -> None:
    moved = type(repository)(tmp_path / "elsewhere" / "deep")
    run(docs, repository)
    run(docs, moved)
    assert repository.files() == moved.files()
