from __future__ import annotations

import importlib.util
import json
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(name="build", scope="module")
def _build() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("build_image", ROOT / "roles/airflow_image/files/build_image.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TARGETS = """\
Docker|https://packages.example.com/docker/|bookworm
Debian|http://mirror.example.com/debian/|bookworm
Debian|http://mirror.example.com/debian/|bookworm-updates
Debian|http://security.example.com/debian-security/|bookworm-security
Debian Backports|http://mirror.example.com/debian/|bookworm-backports
"""


def test_the_host_own_mirrors_serve_another_suite_of_the_same_distribution(build: types.ModuleType) -> None:
    key = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
    assert build.apt_sources(TARGETS, "trixie") == [
        f"deb [{key}] http://mirror.example.com/debian/ trixie main",
        f"deb [{key}] http://mirror.example.com/debian/ trixie-updates main",
        f"deb [{key}] http://security.example.com/debian-security/ trixie-security main",
    ]


def test_ubuntu_needs_universe_too(build: types.ModuleType) -> None:
    (line,) = build.apt_sources("Ubuntu|http://mirror.example.com/ubuntu/|jammy\n", "noble")
    assert line.endswith("http://mirror.example.com/ubuntu/ noble main universe")
    assert "ubuntu-archive-keyring" in line


def test_a_host_without_sources_of_the_distribution_is_told_what_to_set(build: types.ModuleType) -> None:
    for targets in ("", "Docker|https://packages.example.com/docker/|noble\n", TARGETS):
        with pytest.raises(build.BuildError, match=r"no Ubuntu source.* noble .*airflow_image\.mirror"):
            build.apt_sources(targets, "noble")


def test_a_given_mirror_replaces_the_host_own(build: types.ModuleType) -> None:
    lines = build.apt_sources(TARGETS, "trixie", mirror="http://inside.example.com/debian")
    assert [line.split("] ")[1] for line in lines] == [
        "http://inside.example.com/debian trixie main",
        "http://inside.example.com/debian trixie-updates main",
    ]
    lines = build.apt_sources(TARGETS, "trixie", "http://inside.example.com/debian", "http://inside.example.com/sec")
    assert lines[-1].endswith("http://inside.example.com/sec trixie-security main")


def test_only_what_reaches_the_mirrors_is_taken_from_the_apt_configuration(build: types.ModuleType) -> None:
    dump = "\n".join(
        [
            'APT::Architecture "amd64";',
            'Acquire::http "";',
            'Acquire::http::Proxy "http://proxy.example.com:3128";',
            'Acquire::https::CaInfo "/etc/ssl/inside.pem";',
            'Acquire::IndexTargets::deb::Packages::MetaKey "x";',
            'DPkg::Post-Invoke:: "rm -rf /";',
        ]
    )
    assert build.apt_options(dump) == [
        'Acquire::http::Proxy "http://proxy.example.com:3128";',
        'Acquire::https::CaInfo "/etc/ssl/inside.pem";',
    ]


def test_uv_gets_packages_from_where_pip_gets_them(build: types.ModuleType) -> None:
    listing = "\n".join(
        [
            ":env:.index-url='https://env.example.com/simple'",
            "global.index-url='https://file.example.com/simple'",
            "global.extra-index-url='\\nfile:///srv/one\\nfile:///srv/two'",
            "global.find-links='/srv/wheels /srv/more'",
            "install.trusted-host='inside.example.com'",
            "global.cert='/etc/ssl/inside.pem'",
            "global.no-cache-dir='true'",
        ]
    )
    assert build.pip_to_uv(listing) == {
        "UV_DEFAULT_INDEX": "https://env.example.com/simple",
        "UV_INDEX": "file:///srv/one file:///srv/two",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/srv/wheels,/srv/more",
        "UV_INSECURE_HOST": "inside.example.com",
        "SSL_CERT_FILE": "/etc/ssl/inside.pem",
    }
    assert build.pip_to_uv("") == {}


def test_the_files_that_the_settings_carry_are_written_beside_them(build: types.ModuleType, tmp_path: Path) -> None:
    files = {"lock": "a==1\n", "runtime/package/module.py": "x = 1\n"}
    build.unpack({"directory": str(tmp_path), "files": files, "environment": {"SSL_CERT_FILE": "/does/not/exist"}})
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in files} == files
    assert (tmp_path / "authorities.pem").read_bytes() == b""


def test_nothing_of_the_host_stays_in_the_image(
    build: types.ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = [
        "etc/apt/sources.list",
        "etc/apt/sources.list.d/0.list",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/apt/auth.conf.d/inside.conf",
        "var/lib/apt/lists/mirror.example.com_InRelease",
        "var/cache/apt/pkgcache.bin",
        "var/log/apt/history.log",
        "etc/hostname",
    ]
    kept = ["etc/apt/apt.conf.d/01autoremove", "usr/share/doc/tini/copyright", "opt/airflow-venv/bin/airflow"]
    for name in [*gone, *kept, "usr/share/doc/tini/changelog.gz", "etc/resolv.conf"]:
        path = tmp_path / "rootfs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("nameserver 192.0.2.53\n", encoding="utf-8")
    build.strip({"directory": str(tmp_path)})
    left = {path.relative_to(tmp_path / "rootfs").as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*kept, "etc/resolv.conf", "etc/hosts"}
    assert (tmp_path / "rootfs/etc/resolv.conf").read_bytes() == b""
    assert "of which Airflow" in capsys.readouterr().out


def test_a_step_that_fails_says_why_in_its_last_lines_and_hides_passwords(
    build: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_settings: object) -> None:
        build._run(["sh", "-c", "echo no route to https://user:hidden@inside.example.com/simple; exit 3"])

    monkeypatch.setattr(build, "strip", fail)
    (tmp_path / "settings.json").write_text(json.dumps({}), encoding="utf-8")
    assert build.main(["strip", str(tmp_path / "settings.json")]) == 1
    error = capsys.readouterr().err
    assert "no route to https://***@inside.example.com/simple" in error
    assert "ended with 3" in error
    assert "hidden" not in error


def test_a_step_inside_the_image_is_shown_without_its_wrapping(
    build: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "unshare").write_text("#!/bin/sh\nexit 4\n", encoding="utf-8")
    (tmp_path / "unshare").chmod(0o755)
    with pytest.raises(build.BuildError, match=r"^uv pip check \.\.\. ended with 4"):
        build._run(build._in_image_python(tmp_path, "uv", "pip", "check"))


def test_an_unknown_step_is_a_usage_error(build: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["push", "settings.json"]) == 2
    assert "unpack|rootfs|airflow|strip" in capsys.readouterr().err


def test_the_build_tool_gets_the_package_index_in_its_environment_and_never_as_an_argument(
    build: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(build, "_run", lambda command, environment=None: ran.append((command, environment or {})))
    settings = {
        "uv": str(tmp_path / "uv/bin/uv"),
        "uv_version": "1.2.3",
        "environment": {"PIP_INDEX_URL": "https://me:test-password@index.example.com/simple"},
    }

    build.install_tool(settings)

    venv, pip = ran
    assert venv[0][1:] == ["-m", "venv", str(tmp_path / "uv")]
    assert pip[0][-1] == "uv==1.2.3"
    assert pip[1]["PIP_INDEX_URL"].endswith("index.example.com/simple")
    assert not [word for command, _environment in ran for word in command if "test-password" in word]


def test_bundles_that_are_part_of_the_image_are_readable_by_all_and_writable_by_nobody(
    build: types.ModuleType, tmp_path: Path
) -> None:
    build.unpack({"directory": str(tmp_path), "files": {"dags/sales/a/b.py": "x = 1\n", "lock": ""}, "environment": {}})
    (tmp_path / "dags/sales/a/b.py").chmod(0o600)

    build.bake(tmp_path / "dags", tmp_path / "image/opt/airflow/dags")

    baked = tmp_path / "image/opt/airflow/dags/sales/a/b.py"
    assert baked.read_text() == "x = 1\n"
    assert (baked.stat().st_mode & 0o777, baked.parent.stat().st_mode & 0o777) == (0o644, 0o755)


def test_without_such_bundles_the_image_has_no_directory_for_them(build: types.ModuleType, tmp_path: Path) -> None:
    build.bake(tmp_path / "dags", tmp_path / "image/opt/airflow/dags")

    assert not (tmp_path / "image").exists()
