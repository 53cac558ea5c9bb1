from __future__ import annotations

import pathlib

from ansible_collections.flowstead.airflow.plugins.module_utils._platform.environment import SECRETS

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "secrets.md"


def documented() -> dict[str, frozenset[str]]:
    """The table "Which component holds which secret": secret to the components that hold it."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    start = next(number for number, line in enumerate(lines) if line.startswith("| Secret | From |"))
    header = [cell.strip() for cell in lines[start].strip("|").split("|")]
    found = {}
    for line in lines[start + 2 :]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != len(header):
            break
        found[cells[0].strip("`")] = frozenset(name for name, cell in zip(header[2:], cells[2:]) if cell == "yes")
    return found


def test_the_page_says_who_holds_which_secret_exactly_as_the_model_does() -> None:
    assert documented() == {secret.name: secret.components for secret in SECRETS}
