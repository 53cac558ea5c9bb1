# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of modules and filters, from what ``ansible-doc`` says about them."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import typing as t

import yaml

from _docs import markup

Document = dict[str, t.Any]
#: Kinds of plugins that have pages, and where they live below plugins/.
ROOMS = {"module": "modules", "filter": "filter", "lookup": "lookup"}


class AnsibleDocError(Exception):
    """ansible-doc refused; the message is its own."""


def _ansible_doc(collections: str, arguments: list[str]) -> dict[str, Document]:
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": collections,
        "ANSIBLE_CONFIG": str(pathlib.Path(collections, "ansible.cfg")),
        "ANSIBLE_NOCOLOR": "1",
    }
    program = pathlib.Path(sys.executable).with_name("ansible-doc")
    command = [str(program), *arguments, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        message = re.sub(rf"{re.escape(collections)}/ansible_collections/\w+/\w+/", "", done.stderr.strip())
        raise AnsibleDocError(message)
    answer: dict[str, Document] = json.loads(done.stdout or "{}")
    return answer


def _read_kind(collections: str, collection: str, kind: str) -> dict[str, Document]:
    room = pathlib.Path(collections, "ansible_collections", *collection.split("."), "plugins", ROOMS[kind])
    files = sorted(path.stem for path in room.glob("*.py") if path.stem != "__init__")
    if kind != "filter" or not files:  # only filters can be many in a file
        names = [f"{collection}.{name}" for name in files]
    else:
        names = sorted(_ansible_doc(collections, ["--type", kind, "--list", collection]))
    return _ansible_doc(collections, ["--type", kind, *names]) if names else {}


def read_plugins(root: pathlib.Path, collection: str) -> dict[str, dict[str, Document]]:
    """Ask ansible-doc for every plugin of the collection in ``root``.

    The collection need not be installed: a link in a temporary directory makes its names resolve.

    Returns:
        kind to short plugin name to ansible-doc's document (``doc``, ``examples``, ``return``).

    Raises:
        AnsibleDocError: a plugin has no documentation, or documentation that Ansible cannot read.
    """
    namespace, name = collection.split(".")
    with tempfile.TemporaryDirectory(prefix="docs-") as temporary:
        link = pathlib.Path(temporary, "ansible_collections", namespace, name)
        link.parent.mkdir(parents=True)
        link.symlink_to(root.resolve(), target_is_directory=True)
        pathlib.Path(temporary, "ansible.cfg").touch()  # the user's own settings must not change the pages
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answers = pool.map(lambda kind: _read_kind(temporary, collection, kind), ROOMS)
            found = dict(zip(ROOMS, answers))
    shorten = len(collection) + 1
    return {
        kind: {fqcn[shorten:]: document for fqcn, document in sorted(plugins.items())}
        for kind, plugins in found.items()
    }


def _attributes(doc: Document) -> list[str]:
    attributes = doc.get("attributes") or {}
    if not attributes:
        return []
    rows = []
    for name, attribute in sorted(attributes.items()):
        what = [*markup.paragraphs(attribute.get("description")), *markup.paragraphs(attribute.get("details"))]
        extra = attribute.get("platforms") or attribute.get("membership")
        if extra:
            what.append(", ".join([extra] if isinstance(extra, str) else extra) + ".")
        rows.append((markup.code(name), str(attribute.get("support", "")), " ".join(what)))
    return ["", "## Attributes", "", *markup.table(("Attribute", "Support", "Meaning"), rows)]


def _bullets(title: str, entries: list[str] | None) -> list[str]:
    return ["", f"## {title}", "", *(f"- {line}" for line in markup.paragraphs(entries))] if entries else []


def _see_also(doc: Document) -> list[str]:
    lines = []
    for entry in doc.get("seealso") or []:
        name = entry.get("module") or entry.get("plugin") or entry.get("name")
        label = f"[{entry['name']}]({entry['link']})" if "link" in entry else markup.code(str(name))
        lines.append(f"- {label} {' '.join(markup.paragraphs(entry.get('description')))}".rstrip())
    return ["", "## See also", "", *lines] if lines else []


def _returns(returned: dict[str, t.Any], prefix: str = "") -> t.Iterator[tuple[str, str, str, str]]:
    for name, entry in returned.items():
        meaning = " ".join(markup.paragraphs(entry.get("description")))
        if entry.get("sample") is not None:
            sample = markup.value(entry["sample"])
            meaning += f" For example {markup.code(sample)}." if len(sample) <= 2 * markup.LONGEST_DEFAULT else ""
        when = markup.sentence(entry.get("returned"))
        yield markup.code(prefix + name), str(entry.get("type", "")), when, meaning
        many = "[]" if entry.get("type") == "list" else ""
        yield from _returns(entry.get("contains") or {}, f"{prefix}{name}{many}.")


def page(fqcn: str, document: Document, title_level: int = 1) -> str:
    """A plugin's documentation as Markdown; with ``title_level`` 2 it can be a chapter of a longer page."""
    doc = document["doc"]
    lines = [f"# {fqcn.rsplit('.', 1)[1]}", "", markup.sentence(doc.get("short_description")), ""]
    added = doc.get("version_added")
    lines.append(f"{markup.code(fqcn)}" + (f", added in {added}." if added else "."))
    for paragraph in markup.paragraphs(doc.get("description")):
        lines += ["", paragraph]
    lines += _bullets("Requirements", doc.get("requirements"))
    options = dict(sorted((doc.get("options") or {}).items(), key=lambda item: not item[1].get("required")))
    if options:
        lines += ["", "## Options", "", *markup.options_section(options, "Option", level=3)]
    lines += _attributes(doc) + _bullets("Notes", doc.get("notes")) + _see_also(doc)
    examples = (document.get("examples") or "").strip("\n")
    if examples:
        lines += ["", "## Examples", "", "```yaml", *examples.splitlines(), "```"]
    if document.get("return"):
        header = ("Value", "Type", "Returned", "Meaning")
        lines += ["", "## Returns", "", *markup.table(header, list(_returns(document["return"])))]
    deeper = "#" * (title_level - 1)
    fenced = False
    shown = []
    for line in lines:
        fenced = fenced != line.startswith("```")
        shown.append(deeper + line if line.startswith("#") and not fenced else line)
    return "\n".join(shown) + "\n"


def problems(collection: str, modules: dict[str, Document]) -> list[str]:
    """Modules without examples, and examples that use options which the modules do not have."""
    found = []
    for name, document in modules.items():
        try:
            tasks = yaml.safe_load(document.get("examples") or "") or []
        except yaml.YAMLError as error:
            found.append(f"module {name}: its examples are no YAML: {error}")
            continue
        if not isinstance(tasks, list) or not tasks:
            found.append(f"module {name}: it has no examples, or they are no list of tasks")
            continue
        for task in tasks:
            for key, arguments in task.items() if isinstance(task, dict) else []:
                used = modules.get(key.removeprefix(f"{collection}."))
                if not key.startswith(f"{collection}.") or not isinstance(arguments, dict):
                    continue
                if used is None:
                    found.append(f"module {name}: an example uses {key}, which does not exist")
                    continue
                unknown = sorted(set(arguments) - set(used["doc"].get("options") or {}))
                if unknown:
                    found.append(f"module {name}: an example gives {key} the unknown {', '.join(unknown)}")
    return found


def group_problems(groups: dict[str, list[str]], modules: t.Iterable[str]) -> list[str]:
    """Modules in no action group of meta/runtime.yml, and members that are no modules."""
    existing, members = set(modules), {member for group in groups.values() for member in group}
    return [
        *(f"meta/runtime.yml: module {name} is in no action group" for name in sorted(existing - members)),
        *(f"meta/runtime.yml: {name} is in an action group but is no module" for name in sorted(members - existing)),
    ]
