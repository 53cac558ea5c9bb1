# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the program ``flowstead_airflow.release_check`` of the image is called, and what its answer means.

PRIVATE to the collection. Pure: no I/O.
"""

from __future__ import annotations

import json
import re
import typing as t

#: Where containers see bundles.
BUNDLES = "/opt/airflow/bundles"
RELEASE = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}")
BUNDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
#: The one line that counts begins with it.
MARK = "FLOWSTEAD-RELEASE-CHECK "
DUPLICATE = "duplicate_dag_id"
INVISIBLE = "no_such_path"

#: Longest JSON that goes with the command. Linux takes 128 KiB in one word (MAX_ARG_STRLEN).
_LONGEST_KNOWN = 100_000

Item = dict[str, t.Any]


class BadAnswer(Exception):
    """The program did not print what it has to print; the text says what to do."""


def command(
    bundle: str, release: str, queues: t.Sequence[str], parse_seconds: float, known: t.Mapping[str, str]
) -> list[str]:
    """The command that checks a release.

    Args:
        bundle: name of the bundle.
        release: the release, which nobody need use yet.
        queues: queues that have workers; tasks on any other are a problem.
        parse_seconds: longest time that one file may take.
        known: DAG ID to bundle, of all that Airflow knows. Too many for a command are left to ``duplicates``.
    """
    root = f"{BUNDLES}/{bundle}"
    words = ["python", "-m", "flowstead_airflow.release_check", "--bundle", bundle]
    words += ["--path", f"{root}/releases/{release}", "--root", root, "--queues", ",".join(queues)]
    words += ["--parse-seconds", f"{parse_seconds:g}"]
    others = _others(known, bundle)
    if len(others) <= _LONGEST_KNOWN:
        words += ["--known", others]
    return words


def has_answer(lines: t.Sequence[str]) -> bool:
    """Whether the answer is among the lines."""
    return any(line.startswith(MARK) for line in lines)


def answer_of(lines: t.Sequence[str]) -> Item:
    """The answer: ``problems``, ``dags``, ``files`` and ``seconds``.

    DAG files print as they like, so only the last line with the mark counts.

    Raises:
        BadAnswer: there is none, or it is of another form.
    """
    marked = [line[len(MARK) :] for line in lines if line.startswith(MARK)]
    if not marked:
        shown = "\n".join(f"  | {line}" for line in lines[-10:]) or "  | (nothing)"
        raise BadAnswer(f"The check ended without an answer. Its last lines were:\n{shown}")
    try:
        found = json.loads(marked[-1])
        answer: Item = {key: found[key] for key in ("problems", "dags", "files", "seconds")}
        # Whoever reads the answer may rely on these.
        needed = [problem[key] for problem in answer["problems"] for key in ("kind", "file", "message")]
        needed += [dag["file"] for dag in answer["dags"].values()]
        if not all(isinstance(value, str) for value in needed):
            raise ValueError("a kind, a file or a message is no text")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadAnswer(
            f"The answer of the check is of another form ({error!r}). The image holds another version of this "
            "collection's runtime: build and deploy the image again."
        ) from None
    return answer


def duplicates(dags: t.Mapping[str, t.Mapping[str, t.Any]], known: t.Mapping[str, str], bundle: str) -> list[Item]:
    """DAG IDs that another bundle holds already, when they were too many for the command; then without a line.

    Args:
        dags: DAG ID to ``file`` and more, of the release.
        known: DAG ID to bundle, of all that Airflow knows.
        bundle: the release's bundle.
    """
    if len(_others(known, bundle)) <= _LONGEST_KNOWN:
        return []
    return [
        {
            "kind": DUPLICATE,
            "file": dag["file"],
            "line": None,
            "message": f"DAG {dag_id} is in bundle {known[dag_id]} already",
            "fix": f"give it another dag_id here, or remove it from bundle {known[dag_id]} first",
        }
        for dag_id, dag in sorted(dags.items())
        if known.get(dag_id, bundle) != bundle
    ]


def line_of(problem: t.Mapping[str, t.Any]) -> str:
    """One problem as ``file:line: message. Fix: ...``, the way editors and CI systems find the place."""
    place = "release" if problem["file"] in ("", ".") else str(problem["file"])
    if problem.get("line"):
        place += f":{problem['line']}"
    fix = f" Fix: {_sentence(problem['fix'])}" if problem.get("fix") else ""
    return f"{place}: {_sentence(problem['message'])}{fix}"


def report(bundle: str, release: str, problems: t.Sequence[t.Mapping[str, t.Any]], node: str) -> str:
    """All problems of a release in one text."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"Release {release} of bundle {bundle} has {count} and was not activated:"]
    lines += [f"  - {line_of(problem)}" for problem in problems]
    if any(problem["kind"] == INVISIBLE for problem in problems):
        lines.append(
            f"The check ran on node {node or '(unknown)'}, where the service's container sees {BUNDLES}/{bundle}. "
            "Look there whether the share is mounted (findmnt) and shows the release; a mount that came after the "
            "engine has to be shared with it (role flowstead.airflow.dag_share), and the release has to be staged on "
            "the share of this environment."
        )
    return "\n".join(lines)


def _others(known: t.Mapping[str, str], bundle: str) -> str:
    return json.dumps({dag_id: owner for dag_id, owner in known.items() if owner != bundle}, sort_keys=True)


def _sentence(text: t.Any) -> str:
    stripped = str(text).strip()
    return stripped if stripped.endswith((".", "!", "?")) else f"{stripped}."
