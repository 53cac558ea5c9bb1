# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection as a release would be built, then run ansible-test sanity and galaxy-importer on it.

No container and no ignore file is used. ansible-test makes one small virtual environment per test, the first
time from the package index; they are kept in .cache/sanity, so later runs need no network. What is skipped is
printed. Further arguments go to ansible-test, for example: scripts/sanity --test validate-modules
"""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.executable).parent
CACHE = ROOT / ".cache" / "sanity"
#: From the oldest Python a target may have to the newest a controller may have. Compiling and importing are tried on
#: the oldest and the newest that are installed here.
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
#: ansible-test downloads this script to put pip into its environments; Python's own ensurepip does the same.
GET_PIP = "import ensurepip\nensurepip.bootstrap()\n"
NOISE = re.compile(r"^(WARNING: Using locale|WARNING: Reviewing previous|Run command|Configured locale)")


class Outcome(t.NamedTuple):
    """How one of the checks went."""

    name: str
    ok: bool
    lines: list[str]
    seconds: float


def _run(command: list[str], cwd: pathlib.Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def _must(command: list[str], cwd: pathlib.Path, env: dict[str, str]) -> str:
    done = _run(command, cwd, env)
    if done.returncode:
        end = "\n  ".join(done.stdout.splitlines()[-20:])
        sys.exit(f"sanity: {' '.join(command)} failed:\n  {end}")
    return done.stdout


def link_interpreters(into: pathlib.Path) -> list[str]:
    """Link one working interpreter per version into ``into``; returns the versions that were found.

    Version managers put stand-ins on PATH that fail when their version is not selected; a broken one
    ends ansible-test. So every candidate is asked for its version before it is taken.
    """
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    managed = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"), "versions")
    found = []
    for version in PYTHONS:
        on_path = [pathlib.Path(folder, f"python{version}") for folder in os.get_exec_path()]
        for candidate in [*on_path, *sorted(managed.glob(f"{version}.*/bin/python{version}"))]:
            if not os.access(candidate, os.X_OK):
                continue
            ask = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2], sys.executable)"
            answer = _run([str(candidate), "-c", ask], cwd=pathlib.Path("/")).stdout.split()
            if answer[:1] == [version]:
                (into / f"python{version}").symlink_to(answer[1])
                found.append(version)
                break
    return found


def environment(links: pathlib.Path) -> dict[str, str]:
    """Our environment without settings of Ansible, with a home and a PATH that do not depend on the user's."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON", "VIRTUAL_ENV"))
    }
    path = [str(links), str(BIN), "/usr/local/bin", "/usr/bin", "/bin"]
    return {**kept, "HOME": str(CACHE / "home"), "PATH": os.pathsep.join(path), "LC_ALL": "C.UTF-8"}


def build(work: pathlib.Path, env: dict[str, str]) -> tuple[pathlib.Path, pathlib.Path]:
    """Build the tarball from what git knows or would add, and unpack it where ansible-test wants it.

    The changelog of the coming release is generated on the way, which proves that it can be.

    Returns:
        the tarball and the directory of the unpacked collection.
    """
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    place = pathlib.Path("ansible_collections", galaxy["namespace"], galaxy["name"])
    source, unpacked = work / "source" / place, work / "unpacked" / place
    listed = _must(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT, dict(os.environ))
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    if list((source / "changelogs" / "fragments").glob("*.yml")):
        version = str(galaxy["version"])
        _must(["antsibull-changelog", "release", "--version", version, "--date", "2000-01-01"], source, env)
    output = work / "dist"
    _must(["ansible-galaxy", "collection", "build", "--output-path", str(output)], source, env)
    (tarball,) = output.glob("*.tar.gz")
    unpacked.mkdir(parents=True)
    with tarfile.open(tarball) as archive:
        archive.extractall(unpacked, filter="data")
    settings = pathlib.Path("tests", "config.yml")
    (unpacked / settings.parent).mkdir(exist_ok=True)
    shutil.copy2(ROOT / settings, unpacked / settings)
    return tarball, unpacked


def sanity(collection: pathlib.Path, env: dict[str, str], pythons: list[str], arguments: list[str]) -> Outcome:
    """Run ansible-test sanity in ``collection``, for targets with ``pythons``, and say what it skipped."""
    start = time.monotonic()
    cache = pathlib.Path(env["HOME"], ".ansible", "test", "cache")
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "get_pip_24_2.py").write_text(GET_PIP, encoding="utf-8")
    targets = [f"--target-python={version}" for version in pythons]
    command = ["ansible-test", "sanity", "-v", "--color", "no", "--controller", "origin:python=default", *targets]
    done = _run([*command, *arguments], collection, env)
    lines = done.stdout.splitlines()
    named = [(re.match(r'Running sanity test "([^"]+)"', line), after) for line, after in zip(lines, [*lines[1:], ""])]
    every = {match[1] for match, _after in named if match}
    ran = {match[1] for match, after in named if match and not after.startswith("No tests applicable")}
    told = [line for line in lines if re.match(r"(WARNING|ERROR|FATAL|See documentation|\S+:\d+:\d+:)", line)]
    told = list(dict.fromkeys(line for line in told if not NOISE.match(line)))
    if done.returncode and not any(line.startswith(("ERROR", "FATAL")) for line in told):
        told = lines
    summary = f"{len(ran)} tests ran; no files for: {', '.join(sorted(every - ran)) or '-'}"
    return Outcome("ansible-test sanity", done.returncode == 0, [*told, summary], time.monotonic() - start)


def importer(tarball: pathlib.Path, work: pathlib.Path, env: dict[str, str]) -> Outcome:
    """Import ``tarball`` as Galaxy would; a warning counts as a failure."""
    start = time.monotonic()
    local = work / "importer"
    (local / "tmp").mkdir(parents=True)
    settings = {
        "GALAXY_IMPORTER_CONFIG": str(ROOT / ".config" / "galaxy-importer.cfg"),
        "GALAXY_IMPORTER_ANSIBLE_LOCAL_TMP": str(local / "tmp"),
    }
    done = _run([sys.executable, "-m", "galaxy_importer.main", str(tarball)], local, {**env, **settings})
    lines = done.stdout.splitlines()
    told = [line for line in lines if line.startswith(("WARNING", "ERROR", "CRITICAL"))]
    complete = done.returncode == 0 and any("Collection loading complete" in line for line in lines)
    if not complete:
        told = [line for line in lines if not line.startswith("Loading ")]
    return Outcome("galaxy-importer", complete and not told, told, time.monotonic() - start)


def main() -> int:
    """Entry point; returns the exit status."""
    found = link_interpreters(CACHE / "pythons")
    env = environment(CACHE / "pythons")
    pythons = sorted({found[0], found[-1]}, key=found.index)
    print(f"sanity: compile and import run on Python {' and '.join(pythons)}")
    for version in sorted({PYTHONS[0], PYTHONS[-1]} - set(found)):
        print(f"sanity: SKIPPED: compile and import on Python {version}, which is not installed here")
    with tempfile.TemporaryDirectory(prefix="sanity-") as temporary:
        work = pathlib.Path(temporary).resolve()
        tarball, collection = build(work, env)
        print(f"sanity: built {tarball.name}, {tarball.stat().st_size // 1024} KiB")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            running = [
                pool.submit(sanity, collection, env, pythons, sys.argv[1:]),
                pool.submit(importer, tarball, work, env),
            ]
            outcomes = [future.result() for future in running]
    for outcome in outcomes:
        print(f"sanity: {outcome.name}: {'passed' if outcome.ok else 'FAILED'} in {outcome.seconds:.0f} s")
        for line in outcome.lines:
            print(f"  {line}")
    return 0 if all(outcome.ok for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
