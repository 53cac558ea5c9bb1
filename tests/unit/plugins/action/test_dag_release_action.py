"""dag_release as a play uses it: the controller's part, the module, and what goes between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import yaml
from ansible_collections.flowstead.airflow.plugins.action import dag_release as action

ROOT = Path(__file__).resolve().parents[4]
Result = dict[str, t.Any]


class Target:
    """A host that answers as it is told, and keeps what it was asked."""

    def __init__(self, answers: list[Result]) -> None:
        self.answers = answers
        self.asked: list[Result] = []

    def run(self, check: bool = False, **arguments: t.Any) -> Result:
        with mock.patch.object(action.ActionBase, "__init__", return_value=None):
            plugin = action.ActionModule(None, None, None, None, None)
        plugin._task = SimpleNamespace(args=arguments, check_mode=check, diff=True)
        plugin._loader = SimpleNamespace(path_dwim=os.path.abspath)
        plugin._execute_module = self._module  # type: ignore[method-assign]
        with mock.patch.object(action.ActionBase, "run", return_value={}):
            return plugin.run(task_vars={})

    def _module(self, module_name: str, module_args: Result, task_vars: t.Any) -> Result:
        assert (module_name, task_vars) == ("flowstead.airflow.dag_release", {})
        self.asked.append(module_args)
        answer = dict(self.answers.pop(0))
        if answer.get("missing") == "all":
            files = action.manifest.unpack(module_args["_manifest"]).files
            answer["missing"] = sorted({file.sha256 for file in files.values()})
        return answer


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(action.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    one = tmp_path / "source"
    (one / "lib").mkdir(parents=True)
    (one / "a.py").write_text("a = 'content-of-a'\n")
    (one / "lib/b.py").write_text("b = 1\n")
    return one


LOOK: Result = {"changed": True, "release": "", "missing": "all", "warnings": []}
DONE: Result = {"changed": True, "release": "r", "missing": [], "transferred": {"files": 2}}


def stage(target: Target, top: Path, **more: t.Any) -> Result:
    return target.run(action="stage", bundle="shop", path="/x/shop", source={"directory": str(top)}, **more)


def test_a_release_takes_two_calls_of_the_module(top: Path) -> None:
    target = Target([LOOK, DONE])
    result = stage(target, top)
    assert (result["release"], result["changed"]) == ("r", True)
    assert result["transferred"]["sent"] > 0
    assert ["_content" in one for one in target.asked] == [False, True]


def test_content_that_is_there_already_takes_one_call(top: Path) -> None:
    target = Target([{"changed": False, "release": "r"}])
    assert stage(target, top) == {"changed": False, "release": "r"}


def test_content_that_disappeared_meanwhile_is_sent_after_all_and_not_forever(top: Path) -> None:
    one_missing = {"changed": True, "release": "", "missing": [], "warnings": ["w"]}
    target = Target([one_missing, LOOK, DONE])
    result = stage(target, top)
    assert (result["release"], len(target.asked), result["warnings"]) == ("r", 3, ["w"])
    assert "disappear" in stage(Target([LOOK] * 9), top)["msg"]


def test_nothing_is_asked_of_the_host_when_the_source_is_bad_and_all_problems_are_told(top: Path) -> None:
    (top / "bad.py").write_text("= =\n")
    (top / "loop").symlink_to("loop")
    target = Target([])
    result = stage(target, top, hash="0" * 12)
    assert result["failed"]
    assert [problem.partition(": ")[0] for problem in result["problems"]] == ["loop", "bad.py:1"]
    assert "There are 2 problems" in result["msg"]


def test_only_content_that_the_share_lacks_is_compiled(top: Path) -> None:
    (top / "bad.py").write_text("= =\n")
    target = Target([{**LOOK, "missing": []}, DONE])
    assert stage(target, top)["release"] == "r"
    assert "bad.py:1" in stage(Target([LOOK]), top)["msg"]
    assert stage(Target([LOOK, DONE]), top, check_syntax=False)["release"] == "r"


def test_other_content_than_the_promised_is_refused(top: Path) -> None:
    assert "this is other content" in stage(Target([]), top, hash="0" * 12)["msg"]
    assert "is no hash" in stage(Target([]), top, hash="short")["msg"]


def test_check_mode_only_looks(top: Path) -> None:
    target = Target([LOOK])
    assert stage(target, top, check=True)["changed"]
    assert len(target.asked) == 1


def test_building_needs_no_host_and_gives_the_same_bytes_once(top: Path, tmp_path: Path) -> None:
    def build(**more: t.Any) -> Result:
        return Target([]).run(
            action="build", bundle="shop", source={"directory": str(top)}, dest=str(tmp_path / "out"), **more
        )

    predicted = build(check=True)
    assert not (tmp_path / "out").exists()
    built = build()
    path = Path(built["artifact"])
    assert (built["changed"], built["files"]) == (True, 2)
    assert predicted == built
    assert path.name == f"shop-{built['hash'][:12]}.tar.gz"
    before = path.read_bytes()
    assert build() == {"artifact": str(path), "hash": built["hash"], "files": 2, "changed": False}
    assert path.read_bytes() == before
    assert os.listdir(tmp_path / "out") == [path.name]
    target = Target([LOOK, DONE])
    staged = target.run(
        action="stage", bundle="shop", path="/x/shop", source={"artifact": str(path)}, hash=built["hash"][:12]
    )
    assert staged["release"] == "r"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "stage", "path": "/x"}, "source"),
        ({"action": "stage", "path": "/x", "source": {}}, "one of the following is required"),
        ({"action": "stage", "path": "/x", "source": {"directory": "/a", "artifact": "/b"}}, "mutually exclusive"),
        ({"action": "stage", "path": "/x", "source": {"directory": "/a", "ref": "main"}}, "repository"),
        ({"action": "stage", "path": "/x", "source": {"directory": "/nowhere"}}, "is no directory on the controller"),
        ({"action": "activate", "path": "/x"}, "release"),
        ({"action": "status"}, "path"),
        ({"action": "status", "path": "x/../y"}, "is no absolute path"),
        ({"action": "prune", "path": "/x", "keep": 0}, "keep: 0"),
        ({"action": "status", "path": "/x", "bundle": "../x"}, "is no name of a bundle"),
        ({"action": "fly"}, "value of action must be one of"),
    ],
)
def test_options_that_cannot_work_are_refused_on_the_controller(
    top: Path, arguments: dict[str, t.Any], message: str
) -> None:
    result = Target([]).run(**{"bundle": "shop", **arguments})
    assert result["failed"]
    assert message in result["msg"]


def test_internal_options_cannot_be_given_from_a_playbook(top: Path) -> None:
    target = Target([{"changed": False}])
    target.run(action="status", bundle="shop", path="/x", _content="forged", _manifest="forged")
    assert target.asked == [{"action": "status", "bundle": "shop", "path": "/x"}]


def play(tmp_path: Path, tasks: list[Result], *more: str) -> tuple[int, str]:
    book = tmp_path / "play.yml"
    book.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local",
        "-e", f"ansible_python_interpreter={sys.executable}", str(book), *more,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_play_publishes_changes_and_goes_back_and_its_most_verbose_output_shows_no_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, share = tmp_path / "src", tmp_path / "share"
    source.mkdir()
    share.mkdir()
    (source / "a.py").write_text("a = 'canary-content'\n")
    noise = "".join(os.urandom(60).hex() + "\n" for _line in range(6000))  # more than fits into arguments
    (source / "big.txt").write_text(f"canary-content\n{noise}")
    path = str(share / "prod" / "shop")

    def task(name: str, **options: t.Any) -> Result:
        keep = {"register": name, "diff": True}
        return {"flowstead.airflow.dag_release": {"action": name, "bundle": "shop", "path": path, **options}, **keep}

    publish = [
        task("prepare"),
        task("stage", source={"directory": str(source)}),
        task("activate", release="{{ stage.release }}", expected="{{ stage.current }}"),
        task("verify"),
        {"ansible.builtin.copy": {
            "content": "{{ {'stage': stage, 'activate': activate} | to_json }}", "dest": str(tmp_path / "result"),
        }},
    ]  # fmt: skip

    def result() -> Result:
        return t.cast("Result", json.loads((tmp_path / "result").read_text()))

    code, output = play(tmp_path, publish, "-vvvv")
    assert code == 0, output
    assert "canary-content" not in output
    assert "+ a.py" in output
    assert result()["stage"]["transferred"]["files"] == 2
    assert result()["stage"]["transferred"]["sent"] > action.INLINE_BYTES

    (source / "a.py").write_text("a = 2\n")
    again = [*publish[1:3], publish[-1], task("rollback"), task("prune", keep=1)]
    code, output = play(tmp_path, again)
    assert code == 0, output
    assert "~ a.py" in output
    assert "changed=4 " in output  # all but prune: everything is needed
    assert {key: result()["stage"]["transferred"][key] for key in ("files", "linked")} == {"files": 1, "linked": 1}
    assert (share / "prod/shop/current/a.py").read_text() == "a = 'canary-content'\n"

    (source / "bad.py").write_text("a = 1\nb = = 'canary-content'\n")
    code, output = play(tmp_path, publish[1:2])
    assert code == 2
    assert "bad.py:2: invalid syntax" in output
    assert "canary-content" not in output
    assert (share / "prod/shop/current/a.py").read_text() == "a = 'canary-content'\n"
