"""The lab checks what it needs first, and names all that is missing with the command that installs it."""

from __future__ import annotations

import pytest
from _lab import commands, guests, kernel, run
from _lab.settings import LabError, load


def test_a_tool_that_no_path_has_is_missing():
    assert run.missing_tools(["sh", "no-such-tool"]) == ["no-such-tool"]


def test_all_that_is_missing_comes_in_one_message_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    lab = load("unit")
    monkeypatch.setattr(commands.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(commands, "needs", lambda _lab: ["iproute2", "mmdebstrap"])
    monkeypatch.setattr(guests, "processes", lambda _umid: [])
    monkeypatch.setattr(commands.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 64 * 2**20})())
    with pytest.raises(LabError) as caught:
        commands.check_needs(lab, lab.select([]))
    said = str(caught.value)
    for words in ("as root", "apt-get install iproute2 mmdebstrap", "64 MiB free"):
        assert words in said


def test_building_a_kernel_needs_its_tools_only_where_no_kernel_is(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FLOWSTEAD_LAB_KERNEL", raising=False)
    monkeypatch.setattr(kernel, "missing_tools", lambda _tools: ["flex"])
    monkeypatch.setattr(kernel, "_prebuilt", lambda: [])
    assert "flex" in kernel.packages(tmp_path)
    monkeypatch.setattr(kernel, "_prebuilt", lambda: [tmp_path / "linux-uml-7.2.13-x86_64.xz"])
    assert kernel.packages(tmp_path) == set()


def test_a_machine_that_has_everything_passes(monkeypatch: pytest.MonkeyPatch):
    lab = load("unit")
    monkeypatch.setattr(commands.os, "geteuid", lambda: 0)
    monkeypatch.setattr(commands, "needs", lambda _lab: [])
    monkeypatch.setattr(commands.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(guests, "processes", lambda _umid: [])
    monkeypatch.setattr(commands.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 2**36})())
    commands.check_needs(lab, lab.select([]))


def test_a_command_that_fails_says_what_was_run_and_what_it_answered():
    with pytest.raises(LabError, match=r"sh -c .* ended with 3: no luck"):
        run.run("sh", "-c", "echo no luck >&2; exit 3")
