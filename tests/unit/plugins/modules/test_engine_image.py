from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineUnreachable
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.image_store import ImageFailed
from ansible_collections.flowstead.airflow.plugins.modules import engine_image

NAME = "registry.example.com/airflow:3.3.2-aa"


class Store:
    """An engine's images: name -> ID; refuses what the engine refuses."""

    def __init__(self, **names: str) -> None:
        self.names = dict(names)
        self.ids = set(names.values())
        self.pushed: list[str] = []
        self.registry: dict[str, str] = {}
        self.tried: list[list[str]] = []
        self.broken: list[str] = []
        self.slow = False
        self.imports = 0

    def find(self, reference: str) -> dict[str, t.Any] | None:
        found = self.names.get(reference, reference if reference in self.ids else None)
        if found is None:
            return None
        return {"Id": found, "Size": 700 << 20, "RepoDigests": list(self.pushed)}

    def import_directory(self, directory: str, changes: list[str]) -> str:
        assert directory == "/rootfs"
        assert changes == ["ENV A=b"]
        self.imports += 1
        self.ids.add("sha256:new")
        return "sha256:new"

    def attempt(self, image: str, command: list[str], environment: dict[str, str]) -> tuple[int, str]:
        assert self.find(image)
        assert environment == {"E": "1"}
        self.tried.append(command)
        if self.slow:
            raise EngineUnreachable("no answer")
        return (1, "line one\nImportError: retry") if command == self.broken else (0, "")

    def tag(self, image: str, reference: str) -> None:
        found = self.find(image)
        assert found
        self.names[reference] = found["Id"]

    def remove(self, reference: str) -> None:
        self.ids.discard(self.names.pop(reference, reference))
        self.ids.update(self.names.values())

    def push(self, reference: str, username: str, password: str) -> str:
        assert reference in self.names
        assert (username, password) == ("builder", "hidden")
        self.pushed.append(f"{reference.rpartition(':')[0]}@sha256:dd")
        return "sha256:dd"

    def in_registry(self, reference: str, username: str, password: str) -> bool:
        assert (username, password) == ("builder", "hidden")
        return reference in self.registry

    def pull(self, reference: str, username: str, password: str) -> None:
        assert (username, password) == ("builder", "hidden")
        self.names[reference] = self.registry[reference]
        self.ids.add(self.registry[reference])

    def layers(self, reference: str) -> list[dict[str, t.Any]]:
        assert self.find(reference)
        return [{"bytes": 7, "created_by": "import"}]

    def data_root(self) -> str:
        return "/"


def params(**changes: t.Any) -> dict[str, t.Any]:
    return {
        "name": NAME,
        "state": "present",
        "directory": None,
        "source": None,
        "changes": ["ENV A=b"],
        "checks": [["airflow", "version"], ["python", "-V"]],
        "check_environment": {"E": "1"},
        "username": None,
        "password": None,
        **changes,
    }


def run(store: Store, check_mode: bool = False, **changes: t.Any) -> dict[str, t.Any]:
    return engine_image.run(params(**changes), t.cast("t.Any", store), check_mode)


def test_an_image_is_imported_tried_and_then_named() -> None:
    store = Store()
    result = run(store, directory="/rootfs")
    assert (result["changed"], result["exists"], result["image"]["id"]) == (True, True, "sha256:new")
    assert store.tried == [["airflow", "version"], ["python", "-V"]]
    assert store.names == {NAME: "sha256:new"}


def test_an_image_that_exists_is_left_alone() -> None:
    store = Store(**{NAME: "sha256:old"})
    result = run(store, directory="/rootfs")
    assert (result["changed"], result["image"]["id"], store.imports, store.tried) == (False, "sha256:old", 0, [])


def test_an_image_that_does_not_work_never_gets_the_name_and_is_removed() -> None:
    store = Store()
    store.broken = ["python", "-V"]
    with pytest.raises(ImageFailed, match=r"python -V ended with 1:\nline one\nImportError: retry"):
        run(store, directory="/rootfs")
    assert (store.names, store.ids) == ({}, set())


def test_a_candidate_that_was_built_elsewhere_is_tried_and_renamed() -> None:
    store = Store(**{"candidate:1": "sha256:cand"})
    assert run(store, source="candidate:1")["changed"]
    assert store.names == {NAME: "sha256:cand"}


def test_a_candidate_that_does_not_work_is_removed() -> None:
    store = Store(**{"candidate:1": "sha256:cand"})
    store.broken = ["airflow", "version"]
    with pytest.raises(ImageFailed):
        run(store, source="candidate:1")
    assert (store.names, store.ids) == ({}, set())


def test_a_missing_candidate_and_a_missing_source_are_explained() -> None:
    with pytest.raises(ImageFailed, match="no image candidate:1"):
        run(Store(), source="candidate:1")
    with pytest.raises(ImageFailed, match="neither directory nor source"):
        run(Store())


@pytest.mark.parametrize("changes", [{"directory": "/rootfs"}, {}, {"source": "candidate:1"}])
def test_check_mode_predicts_the_import_and_does_nothing(changes: dict[str, t.Any]) -> None:
    store = Store()
    result = run(store, check_mode=True, **changes)
    assert (result["changed"], result["exists"], store.imports) == (True, False, 0)


def test_info_never_changes_and_tells_where_images_lie() -> None:
    result = run(Store(), state="inspected")
    assert (result["changed"], result["exists"], result["data_root"]) == (False, False, "/")
    assert result["data_root_free_mb"] > 0


def test_a_push_happens_once() -> None:
    store = Store(**{NAME: "sha256:old"})
    login = {"state": "pushed", "username": "builder", "password": "hidden"}
    assert run(store, check_mode=True, **login)["changed"]
    assert store.pushed == []
    assert run(store, **login)["digest"] == "sha256:dd"
    assert run(store, **login)["changed"] is False
    assert store.pushed == ["registry.example.com/airflow@sha256:dd"]


def test_a_digest_of_another_registry_is_no_push_to_this_one() -> None:
    store = Store(**{NAME: "sha256:old"})
    store.pushed = ["elsewhere.example.com/airflow@sha256:dd"]
    assert run(store, state="pushed", username="builder", password="hidden")["changed"]


def test_nothing_can_be_pushed_that_is_not_there() -> None:
    with pytest.raises(ImageFailed, match="no such image to push"):
        run(Store(), state="pushed")


def test_a_name_is_removed_once() -> None:
    store = Store(**{NAME: "sha256:old"})
    assert run(store, check_mode=True, state="absent")["changed"]
    assert NAME in store.names
    assert run(store, state="absent")["changed"]
    assert run(store, state="absent")["changed"] is False


def test_an_image_that_the_registry_has_is_taken_from_there() -> None:
    store = Store()
    store.registry = {NAME: "sha256:there"}
    result = run(store, state="pulled", username="builder", password="hidden")
    assert (result["changed"], result["exists"], result["in_registry"]) == (True, True, True)
    assert store.names == {NAME: "sha256:there"}


def test_an_image_that_the_registry_does_not_have_is_no_error() -> None:
    store = Store()
    result = run(store, state="pulled", username="builder", password="hidden")
    assert (result["changed"], result["exists"], result["in_registry"]) == (False, False, False)


def test_an_image_that_the_engine_has_is_not_asked_for() -> None:
    store = Store(**{NAME: "sha256:old"})
    store.registry = {NAME: "sha256:there"}
    assert run(store, state="pulled", username="nobody", password="wrong")["changed"] is False


def test_check_mode_predicts_a_pull_and_pulls_nothing() -> None:
    store = Store()
    store.registry = {NAME: "sha256:there"}
    result = run(store, True, state="pulled", username="builder", password="hidden")
    assert (result["changed"], result["exists"], store.names) == (True, False, {})


def test_every_check_is_tried_and_none_of_them_fails_the_module() -> None:
    store = Store(**{NAME: "sha256:old"})
    store.broken = ["airflow", "version"]
    result = run(store, state="tried")
    assert [(said["command"], said["code"]) for said in result["checks"]] == [
        (["airflow", "version"], 1),
        (["python", "-V"], 0),
    ]
    assert (result["changed"], result["layers"]) == (False, [{"bytes": 7, "created_by": "import"}])
    assert store.names == {NAME: "sha256:old"}


def test_an_image_that_is_missing_cannot_be_tried_except_in_check_mode() -> None:
    with pytest.raises(ImageFailed, match="no such image to try"):
        run(Store(), state="tried")
    assert run(Store(), check_mode=True, state="tried") == {"changed": False, "exists": False}


def test_a_check_that_takes_too_long_is_told_with_its_limit() -> None:
    store = Store(**{NAME: "sha256:old"})
    store.slow = True
    with pytest.raises(ImageFailed, match=r"airflow \.\.\. did not end within 9 s"):
        run(store, state="tried", timeout=9)
