"""Inventories of a test's own: other hosts than those of inventories/lab, with the same variables."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import yaml
from conftest_shared import INVENTORY
from lab_hosts import Hosts


def write_inventory(
    directory: Path, hosts: Hosts, groups: t.Mapping[str, t.Sequence[str]], variables: t.Mapping[str, t.Any]
) -> Path:
    """An inventory below ``directory``, which exists; its path.

    Args:
        groups: hosts of each group.
        variables: what each of the hosts has beside, or instead of, the variables of inventories/lab.
    """
    content = yaml.safe_load((INVENTORY / "hosts.yml").read_text(encoding="utf-8"))
    content["all"]["children"] = {
        group: {"hosts": {host: dict(variables) for host in members}} for group, members in groups.items()
    }
    # There it is found from the directory of the inventory.
    content["all"]["vars"]["lab_directory"] = str(Path(hosts.facts["ssh_config"]).parent)
    (directory / "hosts.yml").write_text(json.dumps(content, indent=2), encoding="utf-8")
    (directory / "group_vars").symlink_to(INVENTORY / "group_vars")
    return directory
