from __future__ import annotations

import pathlib
import subprocess
import sys
import typing as t

import pytest


def executable(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def test_a_stand_in_that_fails_is_passed_over_for_a_working_interpreter(
    sanity_program: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = "{}.{}".format(*sys.version_info[:2])
    executable(tmp_path / "shims" / f"python{version}", "#!/bin/sh\nexit 127\n")
    executable(tmp_path / "good" / f"python{version}", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'good'}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    monkeypatch.setattr(sanity_program, "PYTHONS", (version, "3.0"))
    assert sanity_program.link_interpreters(tmp_path / "links") == [version]
    assert (tmp_path / "links" / f"python{version}").readlink() == pathlib.Path(sys.executable)


def test_settings_of_the_user_do_not_reach_the_checks(
    sanity_program: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_CONFIG", "/somewhere/ansible.cfg")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    env = sanity_program.environment(tmp_path)
    assert not {"ANSIBLE_CONFIG", "PYTHONPATH"} & set(env)
    assert env["PATH"].split(":")[0] == str(tmp_path)


class FakeRun:
    """Answers one command with a fixed transcript."""

    def __init__(self, status: int, output: str) -> None:
        self.status, self.output = status, output

    def __call__(self, command: list[str], cwd: pathlib.Path, env: dict[str, str] | None = None) -> t.Any:
        assert command[0] in ("ansible-test", sys.executable)
        assert cwd.is_dir()
        assert env is not None
        return sanity_result(self.status, self.output)


def sanity_result(status: int, output: str) -> t.Any:
    return subprocess.CompletedProcess([], status, output)


def test_what_ansible_test_did_not_look_at_is_named(
    sanity_program: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript = (
        'Running sanity test "compile" on Python 3.9\nNo tests applicable.\n'
        'Running sanity test "compile" on Python 3.11\nRun command: x\n'
        'Running sanity test "pslint"\nNo tests applicable.\n'
        "WARNING: Required program not found: shellcheck\n"
    )
    monkeypatch.setattr(sanity_program, "_run", FakeRun(0, transcript))
    outcome = sanity_program.sanity(tmp_path, {"HOME": str(tmp_path)}, ["3.9"], [])
    assert outcome.ok
    assert outcome.lines == ["WARNING: Required program not found: shellcheck", "1 tests ran; no files for: pslint"]


@pytest.mark.parametrize(
    ("transcript", "ok"),
    [
        ((0, "Loading role a\nCollection loading complete\n"), True),
        ((0, "Collection loading complete\nWARNING: No changelog found.\n"), False),
        ((0, "Loading role a\n"), False),
        ((1, "Loading role a\nERROR: The import failed for the following reason: No role readme found.\n"), False),
    ],
)
def test_an_import_passes_only_when_it_is_complete_and_without_warnings(
    sanity_program: t.Any,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    transcript: tuple[int, str],
    ok: bool,
) -> None:
    monkeypatch.setattr(sanity_program, "_run", FakeRun(*transcript))
    outcome = sanity_program.importer(tmp_path / "a.tar.gz", tmp_path, {})
    assert outcome.ok is ok
    assert not any(line.startswith("Loading role") for line in outcome.lines)
