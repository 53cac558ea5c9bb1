# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of a core image; runs inside the image with nothing but its own Python.

    python -c "<this file>" '{"canary": "/opt/flowstead/canary", "configuration": {}, "skip": []}'

Prints one line of JSON behind MARK. Ends with 0 when it could test, whether it found problems or not.

canary         directory with the canary DAGs
configuration  AIRFLOW__SECTION__OPTION -> value, for `airflow config lint`
skip           patterns of modules that may fail to import
"""

from __future__ import annotations

import ast
import fnmatch
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pkgutil
import platform
import re
import subprocess
import sys
import time
import traceback
import typing as t
from pathlib import Path

MARK = "FLOWSTEAD-IMAGE-TEST "
RUNTIME = "flowstead_airflow"
#: Seconds for one command of Airflow; each of them only reads.
COMMAND_SECONDS = 300
#: `airflow config lint` says this of an option that is set on purpose; it is no fault.
_ADVICE = "Changed default value of "
#: Parts of a provider's description that name no code.
_NO_CODE = frozenset({"config", "description", "integrations", "name", "package-name", "versions"})
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

Problem = t.Dict[str, str]  # noqa: UP006 - evaluated in any Python 3


def problem(kind: str, what: str, message: str, fix: str) -> Problem:
    """One thing that is wrong, in the words of the person who has to mend it."""
    return {"kind": kind, "what": what, "message": message, "fix": fix}


# --- what is installed --------------------------------------------------------------------------------------


def normalized(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions() -> dict[str, importlib.metadata.Distribution]:
    """Normalized name -> the distribution that imports find, the first on the path."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions():
        found.setdefault(normalized(distribution.metadata["Name"] or "unknown"), distribution)
    return dict(sorted(found.items()))


def requirements(distribution: importlib.metadata.Distribution, extras: bool = False) -> list[t.Any]:
    """What a distribution requires here; with ``extras`` only what its extras would add."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - Airflow brings it

    found = []
    for line in distribution.requires or []:
        requirement = Requirement(line)
        here = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if here is not extras:
            found.append(requirement)
    return found


def bytes_of(distribution: importlib.metadata.Distribution) -> int:
    """What the files of a distribution take, with what Python compiled from them."""
    total = 0
    paths = {str(distribution.locate_file(file)) for file in distribution.files or []}
    for path in list(paths):
        if path.endswith(".py"):
            paths.add(importlib.util.cache_from_source(path))
    for path in paths:
        try:
            total += os.lstat(path).st_size
        except OSError:
            continue  # listed and not there, for example documentation that the build removed
    return total


def license_of(metadata: t.Any) -> str:
    """The licence that a distribution declares, in the form it declares it; empty when it declares none."""
    if metadata.get("License-Expression"):
        return str(metadata["License-Expression"])
    trove = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or [] if line.startswith("License")]
    text = str(metadata.get("License") or "").strip()
    if text and "\n" not in text and len(text) < 100:
        return text
    return " AND ".join(sorted(set(trove)))


def python_packages(found: dict[str, importlib.metadata.Distribution]) -> list[dict[str, t.Any]]:
    """Every distribution of the image's Python."""
    return [
        {
            "name": name,
            "version": distribution.version,
            "license": license_of(distribution.metadata),
            "bytes": bytes_of(distribution),
            "requires": sorted({normalized(need.name) for need in requirements(distribution)} & set(found)),
        }
        for name, distribution in found.items()
    ]


def system_packages() -> list[dict[str, t.Any]]:
    """Every installed Debian package; empty where the image's distribution has no dpkg."""
    layout = "${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${Installed-Size}\n"
    try:
        done = subprocess.run(
            ["dpkg-query", "--show", f"--showformat={layout}"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError:
        return []
    lines = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("installed\t")]
    return [
        {"name": name, "version": version, "architecture": architecture, "bytes": int(size or 0) * 1024}
        for _status, name, version, architecture, size in sorted(lines)
    ]


def unsatisfied(found: dict[str, importlib.metadata.Distribution]) -> list[Problem]:
    """Requirements that nothing here satisfies, as `pip check` finds them; an image need not have pip."""
    problems = []
    for name, distribution in found.items():
        for need in requirements(distribution):
            other = found.get(normalized(need.name))
            if other is None:
                message = f"needs {need}, which the image does not have"
            elif not need.specifier.contains(other.version, prereleases=True):
                message = f"needs {need}, and the image has {other.version}"
            else:
                continue
            fix = "pin versions that fit together in airflow_image.requirements, airflow_image.constraints or the lock"
            problems.append(problem("requirement", f"{name} {distribution.version}", message, fix))
    return problems


# --- imports ------------------------------------------------------------------------------------------------


def declared(description: t.Any) -> list[str]:
    """Every module, class and function that a provider's description names."""
    if isinstance(description, str):
        return [description] if _DOTTED.fullmatch(description) else []
    if isinstance(description, dict):
        inner = [entry for key, entry in description.items() if key not in _NO_CODE]
    else:
        inner = list(description) if isinstance(description, (list, tuple)) else []
    return sorted({name for entry in inner for name in declared(entry)})


def providers() -> tuple[dict[str, list[str]], list[Problem]]:
    """Provider -> what it declares, and the providers that cannot say."""
    found: dict[str, list[str]] = {}
    problems = []
    for point in importlib.metadata.entry_points(group="apache_airflow_provider"):
        owner = normalized(point.dist.name if point.dist else point.name)
        try:
            found[owner] = declared(point.load()())
        except Exception as error:
            fix = "install another version of it, or take it out of the image"
            problems.append(problem("provider", owner, f"cannot describe itself: {type(error).__name__}: {error}", fix))
    return dict(sorted(found.items())), problems


def load(name: str) -> None:
    """Import a module, or the module of a class or function and look that up.

    Raises:
        Exception: whatever the import raises; AttributeError when the module has no such name.
    """
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        module, _dot, attribute = name.rpartition(".")
        getattr(importlib.import_module(module), attribute)


def missing_provider(module: str) -> bool:
    """Whether a module name belongs to a provider that is not installed."""
    if not module.startswith("airflow.providers."):
        return False
    try:
        return importlib.util.find_spec(module) is None
    except ModuleNotFoundError:
        return True


def foreign(filename: str) -> str:
    """The first import in a file that needs a provider which is not installed; empty when there is none."""
    try:
        tree = ast.parse(Path(filename).read_bytes())
    except (OSError, SyntaxError):
        return ""
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        for name in names:
            if missing_provider(name):
                return name
    return ""


def is_optional(error: BaseException, owner: str) -> str:
    """Why a failed import is none of the image's faults; empty when it is one.

    A provider's code may need what only its extras bring, and code for two providers needs both. What a provider
    always needs is looked at beside this, by its requirements.
    """
    if any(base.__name__ == "AirflowOptionalProviderFeatureException" for base in type(error).__mro__):
        return str(error)
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    files = {frame.filename: None for frame in frames if "/airflow/providers/" in frame.filename}
    other = error.name if missing_provider(error.name) else next(filter(None, map(foreign, files)), "")
    if other:
        return f"needs {other}, of a provider that is not installed"
    installed = distributions()
    if owner not in installed:
        return ""
    top = normalized(error.name.partition(".")[0])
    for need in requirements(installed[owner], extras=True):
        name = normalized(need.name)
        if name not in installed and (name == top or name.startswith(f"{top}-") or name.endswith(f"-{top}")):
            return f"needs {need.name}, which an extra of the provider brings"
    return ""


def attempt(name: str, owner: str) -> tuple[str, str]:
    """Import one name: ("", "") when it works, ("optional", reason), or ("broken", message)."""
    try:
        load(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        reason = is_optional(error, owner)
        if reason:
            return "optional", reason.splitlines()[0]
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        first = (str(error).splitlines() or [""])[0]
        return "broken", f"{type(error).__name__}: {first}{place}"
    return "", ""


def in_child(work: t.Sequence[tuple[str, str]]) -> t.Iterator[tuple[str, str, str]]:
    """Import (name, owner) in a child process, which a broken extension module may kill; yields (name, kind, text)."""
    pending = list(work)
    while pending:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            quiet = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(quiet, descriptor)
            with os.fdopen(writer, "w", encoding="utf-8") as out:
                for name, owner in pending:
                    out.write(json.dumps([name, *attempt(name, owner)]) + "\n")
                    out.flush()
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as answers:
            done = 0
            for line in answers:
                yield tuple(json.loads(line))
                done += 1
        status = os.waitpid(child, 0)[1]
        if done < len(pending):
            how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
            yield pending[done][0], "broken", f"the interpreter ended with {how} while it imported this"
            done += 1
        pending = pending[done:]


def test_imports(
    found: t.Mapping[str, t.Sequence[str]], skip: t.Sequence[str]
) -> tuple[list[Problem], list[dict[str, str]], int]:
    """Import everything that providers declare, and every module of the runtime package."""
    work = [(name, owner) for owner, names in found.items() for name in names]
    spec = importlib.util.find_spec(RUNTIME)
    if spec is not None:
        paths = list(spec.submodule_search_locations or [])
        modules = [RUNTIME, *(entry.name for entry in pkgutil.iter_modules(paths, f"{RUNTIME}."))]
        work += [(name, "flowstead-airflow") for name in modules]
    owners = dict(work)
    problems, skipped = [], []
    for name, kind, text in in_child(work):
        may_fail = any(fnmatch.fnmatch(name, pattern) for pattern in skip)
        if kind == "optional" or (kind == "broken" and may_fail):
            skipped.append({"module": name, "provider": owners[name], "reason": text})
        elif kind == "broken":
            fix = "add what it needs to the image, or name it in airflow_image_test_skip if nobody uses it"
            problems.append(problem("import", f"{name} of {owners[name]}", text, fix))
    return problems, skipped, len(work)


def test_runtime(canary: str) -> list[Problem]:
    """The runtime package is there, and the link to its canary DAGs leads to them."""
    problems = []
    fix = "install roles/airflow/files/runtime with pip, and link its canary directory as the role's README says"
    if importlib.util.find_spec(RUNTIME) is None:
        problems.append(problem("runtime", RUNTIME, "the image does not have this package", fix))
    files = sorted(Path(canary).glob("*.py")) if Path(canary).is_dir() else []
    if not files:
        problems.append(problem("runtime", canary, "there is no canary DAG", fix))
    for file in files:
        try:
            compile(file.read_bytes(), str(file), "exec")
        except SyntaxError as error:
            problems.append(problem("runtime", f"{file}:{error.lineno}", str(error.msg), fix))
    return problems


# --- Airflow's own commands ---------------------------------------------------------------------------------


def run(command: t.Sequence[str], extra: t.Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run a command of Airflow; returns status, output and errors. A command that hangs has status -1."""
    environment = {**os.environ, "COLUMNS": "10000", "TERM": "dumb", "PYTHONWARNINGS": "ignore", **(extra or {})}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS
        )
    except subprocess.TimeoutExpired:
        return -1, "", f"no end after {COMMAND_SECONDS} seconds"
    except OSError as error:
        return -1, "", str(error)
    return done.returncode, done.stdout, done.stderr


def failed(command: t.Sequence[str], status: int, output: str) -> Problem:
    """A command that ended badly, with its last lines."""
    tail = " | ".join(output.strip().splitlines()[-3:])
    return problem("command", " ".join(command), f"ended with {status}: {tail}", "see its last lines")


def test_configuration(configuration: t.Mapping[str, str]) -> tuple[list[Problem], list[str]]:
    """`airflow config lint`: problems and advice. It ends with 0 whatever it finds, so what it says decides."""
    command = ["airflow", "config", "lint"]
    status, output, errors = run(command, configuration)
    if status:
        return [failed(command, status, errors or output)], []
    lines = [line.strip()[2:] for line in output.splitlines() if line.strip().startswith("- ")]
    if not lines and "No issues found" not in output:
        return [failed(command, status, f"it names neither issues nor none: {output}")], []
    fix = "change the option in airflow_config, or in the environment of the image"
    faults = [line for line in lines if not line.startswith(_ADVICE)]
    advice = [line for line in lines if line.startswith(_ADVICE)]
    return [problem("configuration", "airflow config lint", line, fix) for line in faults], advice


def test_providers(
    installed: t.Mapping[str, importlib.metadata.Distribution], known: t.Container[str]
) -> tuple[dict[str, str], list[Problem]]:
    """`airflow providers list`: name -> version, and the providers that are installed and that Airflow does not see."""
    command = ["airflow", "providers", "list", "--output", "json"]
    status, output, errors = run(command)
    try:
        # A line of a log may stand before the document.
        listed = {
            normalized(entry["package_name"]): entry["version"] for entry in json.loads(output[output.find("[{") :])
        }
    except (ValueError, KeyError, TypeError):
        return {}, [failed(command, status, errors or output)]
    if status:
        return listed, [failed(command, status, errors or output)]
    fix = "install a version of it that fits this Airflow"
    lost = [name for name in installed if name.startswith("apache-airflow-providers-") and name not in listed]
    lost += [name for name in listed if name not in known and name not in lost]
    return listed, [
        problem("provider", name, "is installed, and Airflow and its entry points differ", fix) for name in lost
    ]


def main(arguments: t.Sequence[str]) -> int:
    """Run every test; prints the report."""
    settings = json.loads(arguments[1])
    seconds: dict[str, float] = {}
    began = time.monotonic()

    def lap(name: str) -> None:
        nonlocal began
        seconds[name] = round(time.monotonic() - began, 1)
        began = time.monotonic()

    installed = distributions()
    packages = {"python": python_packages(installed), "system": system_packages()}
    problems = unsatisfied(installed)
    lap("packages")
    found, broken = providers()
    problems += broken + test_runtime(settings["canary"])
    imports, skipped, modules = test_imports(found, settings["skip"])
    problems += imports
    lap("imports")
    faults, advice = test_configuration(settings["configuration"])
    problems += faults
    lap("config lint")
    listed, lost = test_providers(installed, {*found, *(entry["what"] for entry in broken)})
    problems += lost
    lap("providers list")
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    airflow = installed.get("apache-airflow")
    report = {
        "problems": problems,
        "skipped": skipped,
        "advice": advice,
        "airflow": airflow.version if airflow else "",
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": {"id": release.get("ID", ""), "version": release.get("VERSION_ID", "")},
        "providers": listed,
        "modules": modules,
        "packages": packages,
        "seconds": seconds,
    }
    # On a line of its own: whatever stood before may have no newline.
    print(f"\n{MARK}{json.dumps(report, separators=(',', ':'))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
