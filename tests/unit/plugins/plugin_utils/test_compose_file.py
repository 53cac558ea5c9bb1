"""Compose files on the controller."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.plugin_utils.compose_file import ComposeFileError, read

TEXT = """
x-base: &base
  image: registry.test/shop:${TAG}
  env_file: shop.env
services:
  web:
    <<: *base
    environment: ["LEVEL=${LEVEL:-info}", "PRICE=5$$", "EMPTY=${NOTHING-}"]
    command: "serve ${EXTRA:+--extra}"
secrets:
  db: {file: ./db.txt, name: old_name}
  token: {environment: TOKEN}
configs:
  ca: {file: ca.pem}
"""


def write(folder: Path, text: str = TEXT) -> Path:
    for name, content in {
        "compose.yml": text,
        "shop.env": "# comment\nexport LEVEL=debug\nQUOTED='a # b'\nPLAIN=x # c\n\n",
        "db.txt": "password\n",
        "ca.pem": "certificate\n",
    }.items():
        (folder / name).write_text(content)
    return folder / "compose.yml"


def test_variables_files_and_anchors_are_put_in(tmp_path: Path) -> None:
    found = read(write(tmp_path), {"TAG": 1.4, "TOKEN": "t", "EXTRA": True})

    assert found["services"]["web"] == {
        "image": "registry.test/shop:1.4",
        "environment": {"LEVEL": "info", "QUOTED": "a # b", "PLAIN": "x", "PRICE": "5$", "EMPTY": ""},
        "command": "serve --extra",
    }
    assert found["secrets"] == {"db": {"data": "password\n"}, "token": {"data": "t"}}
    assert found["configs"] == {"ca": {"data": "certificate\n"}}


def test_the_controller_s_environment_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAG", "from-the-shell")

    with pytest.raises(ComposeFileError, match="TAG is not in compose_variables"):
        read(write(tmp_path), {"TOKEN": "t"})


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "db.txt").unlink()
    (tmp_path / "shop.env").unlink()
    path.write_text(TEXT.replace("5$$", "5$-").replace("${LEVEL:-info}", "${LEVEL:?which level}"))

    with pytest.raises(ComposeFileError) as caught:
        read(path, {"TAG": "1"})

    text = str(caught.value)
    assert len(text.splitlines()) == 6
    assert "services.web.environment[0]: LEVEL is not in compose_variables: which level" in text
    assert "'$-' is no variable; write $$ for a dollar sign" in text
    assert "services.web.env_file: shop.env cannot be read" in text
    assert "secrets.db.file: ./db.txt cannot be read" in text
    assert "secrets.token.environment: TOKEN is not in compose_variables" in text


@pytest.mark.parametrize("text", ["- a list", "services: [", ""])
def test_what_is_no_compose_file_is_refused(tmp_path: Path, text: str) -> None:
    path: t.Any = write(tmp_path, text)

    with pytest.raises(ComposeFileError, match=r"compose\.yml"):
        read(path, {})
