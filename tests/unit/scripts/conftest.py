from __future__ import annotations

import importlib
import pathlib
import sys
import types

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[3] / "scripts"
if str(SCRIPTS) not in sys.path:
    sys.path.insert(0, str(SCRIPTS))


@pytest.fixture(scope="session")
def docs() -> types.ModuleType:
    return importlib.import_module("_docs.program")


@pytest.fixture(scope="session")
def sanity_program() -> types.ModuleType:
    return importlib.import_module("_sanity.program")


GALAXY = """\
namespace: acme
name: house
version: 1.0.0
"""

ROLE_SPEC = """\
argument_specs:
  main:
    short_description: Keep the lights on
    description:
      - Turns on what O(lights_rooms) names.
      - Nothing else is touched.
    options:
      lights_rooms:
        type: list
        elements: str
        required: true
        description: Rooms, a | b style.
      lights_level:
        type: int
        default: 80
        description: Brightness in percent.
      lights_switch:
        type: dict
        default: {}
        description: Where the switch is.
        options:
          host:
            type: str
            required: true
            description: Its name.
          port:
            type: int
            default: 22
            description: Its port.
  remove:
    short_description: Turn the lights off
    description: Leaves the wires.
    options:
      lights_level:
        type: int
        default: 80
        description: Brightness in percent.
"""

ROLE_DEFAULTS = """\
---
lights_level: 80
lights_switch: {}
__lights_internal: 1
"""

MODULE = '''\
from __future__ import annotations

DOCUMENTATION = r"""
module: lamp
short_description: Switches a lamp
description:
  - Asks first, see O(state).
author: [acme contributors]
options:
  state:
    description: What it should be.
    type: str
    choices: ["on", "off"]
    default: "on"
attributes:
  check_mode:
    support: full
    description: Predicts.
"""

EXAMPLES = r"""
- name: Switch it on
  acme.house.lamp:
    state: "on"
"""

RETURN = r"""
watts:
  description: What it draws.
  returned: success
  type: int
  sample: 40
"""
'''


class Repository:
    """A small collection with one role, one module and one playbook; it can be made wrong."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.write("galaxy.yml", GALAXY)
        self.write("roles/lights/tasks/main.yml", "---\n")
        self.write("roles/lights/meta/argument_specs.yml", ROLE_SPEC)
        self.write("roles/lights/defaults/main.yml", ROLE_DEFAULTS)
        self.write("plugins/modules/lamp.py", MODULE)
        self.write("meta/runtime.yml", "action_groups:\n  lights:\n    - lamp\n")
        self.write("playbooks/site.yml", "# Everything, in order.\n#   not this example\n---\n")
        self.write("docs/guide.md", "# How it is meant\n\ntext\n")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def replace(self, path: str, old: str, new: str) -> None:
        before = self.read(path)
        assert old in before
        self.write(path, before.replace(old, new, 1))

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text(encoding="utf-8")
            for path in sorted(self.root.rglob("*.md"))
        }


@pytest.fixture
def repository(tmp_path: pathlib.Path) -> Repository:
    return Repository(tmp_path / "checkout")


@pytest.fixture
def only_roles(repository: Repository) -> None:
    """Takes the module away, so that tests about roles need not wait for ansible-doc."""
    (repository.root / "plugins/modules/lamp.py").unlink()
    repository.write("meta/runtime.yml", "action_groups: {}\n")
