from __future__ import annotations

import typing as t

import pytest

SPEC = "roles/lights/meta/argument_specs.yml"
DEFAULTS = "roles/lights/defaults/main.yml"


def problems(repository: t.Any) -> list[str]:
    from _docs import specs  # noqa: PLC0415 (its directory is put on the path by conftest.py)

    return specs.problems(specs.read_role(repository.root / "roles" / "lights"))


def test_a_role_whose_files_agree_has_no_problems(repository: t.Any) -> None:
    assert problems(repository) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (SPEC, "    short_description: Keep the lights on\n", "", "entry point main has no short_description"),
        (SPEC, "    description: Leaves the wires.\n", "", "entry point remove has no description"),
        (SPEC, "        description: Rooms, a | b style.\n", "", "option lights_rooms has no description"),
        (SPEC, "            description: Its port.\n", "", "option lights_switch.port has no description"),
        (SPEC, "        elements: str\n", "", "option lights_rooms is a list without elements"),
        (SPEC, "        required: true\n", "        required: true\n        default: []\n", "can be only one of both"),
        (DEFAULTS, "lights_level: 80", "lights_level: '80'", "lights_level defaults to '80' in defaults/main.yml"),
        (DEFAULTS, "lights_level: 80\n", "", "lights_level names a default that defaults/main.yml does not set"),
        (DEFAULTS, "lights_level: 80", "lights_level: 80\nlights_colour: red", "lights_colour has a default"),
        (DEFAULTS, "---\n", "---\nlights_rooms: []\n", "lights_rooms is required by the specification but has"),
        (DEFAULTS, "switch: {}", "switch: {hots: a}", "lights_switch.hots has a default in defaults/main.yml but"),
        (DEFAULTS, "switch: {}", "switch: {port: 23}", "lights_switch.port defaults to 23 in defaults/main.yml"),
        (DEFAULTS, "lights_level: 80", 'lights_level: "{{ other }}"', "lights_level defaults to '{{ other }}'"),
    ],
)
def test_each_disagreement_is_found_and_names_the_file(
    repository: t.Any, file: str, old: str, new: str, told: str
) -> None:
    repository.replace(file, old, new)
    found = problems(repository)
    assert any(told in line for line in found), found
    assert all(line.startswith("roles/lights/meta/argument_specs.yml: ") for line in found)


def test_a_default_of_an_undescribed_value_needs_a_default_in_the_specification(repository: t.Any) -> None:
    repository.replace(SPEC, "        default: 80\n", "")
    assert any("lights_level defaults to 80, but" in line for line in problems(repository))


def test_a_computed_default_may_stay_out_of_the_specification(repository: t.Any) -> None:
    repository.write(SPEC, repository.read(SPEC).replace("        default: 80\n", ""))
    repository.replace(DEFAULTS, "lights_level: 80", 'lights_level: "{{ ansible_facts.level }}"')
    assert problems(repository) == []


def test_null_means_that_there_is_no_default(repository: t.Any) -> None:
    repository.write(SPEC, repository.read(SPEC).replace("        default: 80\n", ""))
    repository.replace(DEFAULTS, "lights_level: 80", "lights_level: null")
    assert problems(repository) == []


def test_tags_of_ansible_in_defaults_are_understood(repository: t.Any) -> None:
    repository.write(SPEC, repository.read(SPEC).replace("default: 80", 'default: "a{b"'))
    repository.replace(DEFAULTS, "lights_level: 80", "lights_level: !unsafe 'a{b'")
    assert problems(repository) == []
