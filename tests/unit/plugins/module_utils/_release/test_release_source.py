"""What is read from a directory, a commit and an artifact, and what is refused there."""

from __future__ import annotations

import gzip
import io
import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._release import artifact, git, manifest, syntax
from ansible_collections.flowstead.airflow.plugins.module_utils._release.errors import ReleaseError
from ansible_collections.flowstead.airflow.plugins.module_utils._release.manifest import BadManifest, File, Manifest
from ansible_collections.flowstead.airflow.plugins.module_utils._release.source import Limits, Source, read_directory


def lay(top: Path, **files: str) -> Path:
    for name, text in files.items():
        path = top / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


def read(top: Path, **limits: int) -> Source:
    return read_directory(str(top), "shop", Limits(**limits), {})


def test_content_paths_and_executable_bits_make_the_hash_and_times_do_not(tmp_path: Path) -> None:
    one, two = lay(tmp_path / "one", a_py="a\n", lib__b_py="b\n"), lay(tmp_path / "two", lib__b_py="b\n", a_py="a\n")
    os.utime(one / "a.py", (1, 1))
    (two / "a.py").chmod(0o600)
    assert read(one).manifest.hash == read(two).manifest.hash
    (two / "a.py").chmod(0o744)
    assert read(one).manifest.hash != read(two).manifest.hash


def test_the_hash_is_that_of_canonical_json() -> None:
    files = {"b.py": File("b" * 64, 2, True), "a.py": File("a" * 64, 1, False)}
    # printf '{"a.py":{"executable":false,"sha256":"aaa...","size":1},"b.py":{...}}' | sha256sum
    assert manifest.hash_files(files) == "30e21fe796f35b003d80a66e88cd31d303dc4d842897379a35b79422d2aac4ba"
    assert manifest.hash_files({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_what_tools_and_editors_leave_is_left_out(tmp_path: Path) -> None:
    lay(tmp_path, a_py="a\n")
    for name in (".git/config", "__pycache__/a.pyc", "b.pyc", ".DS_Store", ".a.py.swp", "a.py~", ".#a.py", "#a.py#"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".airflowignore").write_text("x")
    source = read(tmp_path)
    assert (sorted(source.manifest.files), source.problems) == ([".airflowignore", "a.py"], [])


def test_a_link_to_a_file_inside_becomes_a_file(tmp_path: Path) -> None:
    lay(tmp_path, lib__a_py="a\n")
    (tmp_path / "b.py").symlink_to("lib/a.py")
    source = read(tmp_path)
    assert source.problems == []
    assert source.manifest.files["b.py"] == source.manifest.files["lib/a.py"]


def test_all_problems_are_told_at_once_each_with_its_path(tmp_path: Path) -> None:
    top = lay(tmp_path / "top", a_py="a\n", big_py="x" * 2_000_001, lib__b_py="b\n")
    (tmp_path / "secret").write_text("s")
    (top / "out.py").symlink_to("../secret")
    (top / "etc").symlink_to("/etc")
    (top / "loop1").symlink_to("loop2")
    (top / "loop2").symlink_to("loop1")
    (top / "round").symlink_to(".")
    (top / "gone.py").symlink_to("nowhere")
    (top / "new\nline.py").write_text("x")
    (top / "back\\slash.py").write_text("x")
    (top / "MANIFEST.json").write_text("{}")
    Path(os.fsdecode(os.fsencode(top) + b"/caf\xe9.py")).write_text("x")
    os.mkfifo(top / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(top / "socket"))
    problems = read(top, max_file_mb=1, max_files=2, max_total_mb=1).problems
    found = {problem.partition(": ")[0]: problem.partition(": ")[2] for problem in problems}
    assert len(problems) == 15
    assert "goes in a circle" in found["loop1"]
    assert "goes in a circle" in found["loop2"]
    assert "leads out of the source (../secret)" in found["out.py"]
    assert "leads out" in found["etc"]
    assert "to a directory" in found["round"]
    assert "leads to nothing (nowhere)" in found["gone.py"]
    assert "control character" in found["'new\\nline.py'"]
    assert "backslash" in found["'back\\\\slash.py'"]
    assert "not UTF-8" in found["'caf\\xe9.py'"]
    assert "own description" in found["'MANIFEST.json'"]
    assert "has 2.0 MB, and limits.max_file_mb is 1" in found["big.py"]
    assert "pipe or device" in found["pipe"]
    assert "pipe or device" in found["socket"]
    assert all("\n" not in problem for problem in problems)


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "would take all DAGs away" in read(tmp_path).problems[0]


@pytest.mark.parametrize("many", [0, syntax._MANY])
def test_syntax_errors_are_told_with_file_and_line_and_without_running_anything(tmp_path: Path, many: int) -> None:
    texts = {"ok.py": "import sys\nsys.exit(1)\n", "bad.py": "a = 1\nb = = 2\n", "late.py": "\n\nreturn 1\n",
             "null.py": "a\0b", "data.txt": "= =", "latin.py": "# -*- coding: latin-1 -*-\na = '\xe9'\n",
             "warns.py": "a = '\\d'\n"}  # fmt: skip
    texts.update({f"more{number}.py": "x = 1\n" for number in range(many)})
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    errors = syntax.find_errors({name: str(tmp_path / name) for name in texts})
    assert [error.partition(": ")[0] for error in errors][:2] == ["bad.py:2", "late.py:3"]
    assert (
        errors[0] == f"bad.py:2: invalid syntax (Python {sys.version_info[0]}.{sys.version_info[1]} of the controller)."
    )
    assert errors[2].startswith("null.py")
    assert len(errors) == 3


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    top = lay(tmp_path / "repository", dags__a_py="a\n", dags__run="run\n", other_py="o\n")
    (top / "dags/run").chmod(0o755)
    (top / "dags/link.py").symlink_to("a.py")
    (top / "dags/out.py").symlink_to("../other.py")
    run(top, "init", "-q", "-b", "main")
    run(top, "add", ".")
    run(top, "commit", "-qm", "one")
    return top


def run(top: Path, *arguments: str) -> str:
    who = ["-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", "-C", str(top), *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_commit_is_read_and_not_the_working_tree(repository: Path, tmp_path: Path) -> None:
    (repository / "dags/a.py").write_text("uncommitted\n")
    (repository / "dags/untracked.py").write_text("u\n")
    into = tmp_path / "into"
    into.mkdir()
    origin, problems = git.export(str(repository), "main", "dags", str(into))
    assert origin == {"ref": "main", "commit": run(repository, "rev-parse", "HEAD"), "path": "dags"}
    assert problems == []
    source = read(into)
    assert {path: file.executable for path, file in source.manifest.files.items()} == {
        "a.py": False, "link.py": False, "run": True
    }  # fmt: skip
    assert Path(source.paths["a.py"]).read_text() == "a\n"
    assert [problem.partition(":")[0] for problem in source.problems] == ["out.py"]


def test_a_submodule_is_refused_since_its_files_would_be_missing(repository: Path, tmp_path: Path) -> None:
    other = lay(tmp_path / "other", x_py="x\n")
    run(other, "init", "-q")
    run(other, "add", ".")
    run(other, "commit", "-qm", "x")
    run(repository, "submodule", "add", "-q", str(other), "dags/sub")
    run(repository, "commit", "-qm", "two")
    into = tmp_path / "into"
    into.mkdir()
    _origin, problems = git.export(str(repository), "HEAD", "dags", str(into))
    assert problems == ["sub: is a submodule, and archives hold none of its files. Release it from its own repository."]


@pytest.mark.parametrize(
    ("ref", "below", "message"),
    [
        ("nowhere", "", "rev-parse nowhere"),
        ("--output=/tmp/x", "", "is no branch"),
        ("main", "nothing", "ls-tree"),
        ("main", "../..", "leads out"),
        ("main", "/etc", "leads out"),
    ],
)
def test_a_commit_that_is_not_there_is_explained(
    repository: Path, tmp_path: Path, ref: str, below: str, message: str
) -> None:
    with pytest.raises(ReleaseError, match=message):
        git.export(str(repository), ref, below, str(tmp_path))
    with pytest.raises(ReleaseError, match="Clone it first"):
        git.export(str(tmp_path / "none"), "main", "", str(tmp_path))


def build(source: Source) -> bytes:
    stream = io.BytesIO()
    artifact.write_artifact(stream, source)
    return stream.getvalue()


def test_an_artifact_is_the_same_bytes_whenever_and_wherever_it_is_built(tmp_path: Path) -> None:
    one = lay(tmp_path / "one", a_py="a\n", lib__b_py="b\n")
    two = lay(tmp_path / "two" / "three", lib__b_py="b\n", a_py="a\n")
    os.utime(two / "a.py", (1, 1))
    (two / "a.py").chmod(0o600)
    assert build(read(one)) == build(read(two))


def test_an_artifact_comes_back_as_it_was(tmp_path: Path) -> None:
    before = read(lay(tmp_path / "one", a_py="a\n", lib__b_py="b\n", same_py="a\n"))
    (tmp_path / "x.tar.gz").write_bytes(build(before))
    into = tmp_path / "into"
    into.mkdir()
    after = artifact.read_artifact(str(tmp_path / "x.tar.gz"), "shop", Limits(), str(into))
    assert (after.problems, after.manifest.files) == ([], before.manifest.files)
    assert Path(after.paths["lib/b.py"]).read_text() == "b\n"


def changed(data: bytes, change: dict[str, bytes | None], extra: str = "") -> bytes:
    """An artifact with members that have other content, are left out, or are added."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=stream, mode="w:gz") as new:
        for member in old:
            found = old.extractfile(member)
            assert found
            content = change.get(member.name, found.read())
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
        if extra:
            new.addfile(tarfile.TarInfo(extra), io.BytesIO())
    return stream.getvalue()


def test_an_artifact_that_somebody_changed_is_refused(tmp_path: Path) -> None:
    data = build(read(lay(tmp_path / "one", a_py="a\n", lib__b_py="b\n")))
    path = tmp_path / "x.tar.gz"

    def attempt(content: bytes, bundle: str = "shop") -> list[str]:
        path.write_bytes(content)
        into = tmp_path / os.urandom(4).hex()
        into.mkdir()
        return artifact.read_artifact(str(path), bundle, Limits(), str(into)).problems

    assert "other content" in attempt(changed(data, {"files/a.py": b"x\n"}))[0]
    assert "does not belong" in attempt(changed(data, {"files/a.py": b"longer\n"}))[0]
    assert "is missing" in attempt(changed(data, {"files/a.py": None}))[0]
    assert "does not belong" in attempt(changed(data, {}, extra="../../etc/cron.d/x"))[0]
    with pytest.raises(ReleaseError, match="is of the bundle 'shop', not of 'billing'"):
        attempt(data, "billing")
    for broken in (b"", b"no gzip", data[:-30], gzip.compress(b"no tar"), changed(data, {manifest.NAME: b"{}"}),
                   changed(data, {manifest.NAME: None})):  # fmt: skip
        with pytest.raises(ReleaseError, match=r"source\.artifact: .*"):
            attempt(broken)
    with pytest.raises(ReleaseError, match="does not exist"):
        artifact.read_artifact(str(tmp_path / "none"), "shop", Limits(), str(tmp_path))


def test_a_file_that_changes_while_it_is_sent_is_noticed(tmp_path: Path) -> None:
    source = read(lay(tmp_path, a_py="a\n"))
    (tmp_path / "a.py").write_text("b\n")
    with pytest.raises(ReleaseError, match="while it was released"):
        build(source)
    with pytest.raises(ReleaseError, match="while it was released"):
        artifact.write_upload(io.BytesIO(), source, set(source.places))


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../b", "a//b", "", "a\nb", "MANIFEST.json", "x" * 256, "\udce9"])
def test_a_manifest_that_leads_out_of_the_release_is_refused(path: str) -> None:
    text = Manifest("shop", {path: File("a" * 64, 1, False)}).text()
    with pytest.raises(BadManifest, match="names"):
        manifest.parse(text)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "files": 3}', '{"format": 1, "files": {"a": {}}}']
)
def test_a_manifest_that_is_damaged_is_refused(text: str) -> None:
    with pytest.raises(BadManifest):
        manifest.parse(text)


def test_a_manifest_whose_file_is_also_a_directory_is_refused() -> None:
    file = File("a" * 64, 1, False)
    with pytest.raises(BadManifest, match="as a file and as a directory"):
        manifest.parse(Manifest("shop", {"a": file, "a/b": file}).text())
