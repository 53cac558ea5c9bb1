# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How DAGs reach those who read them, and what Airflow is told of it.

PRIVATE to the collection. Pure.

Sources: airflow/dag_processing/bundles of apache-airflow-core 3.3.2, providers/git/bundles/git.py and hooks/git.py of
apache-airflow-providers-git 1.0.1, providers/amazon/aws/bundles/s3.py of -amazon 9.39.0.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

#: Where containers see what comes from hosts, and what the image has.
BUNDLES = "/opt/airflow/bundles"
BAKED = "/opt/airflow/dags"

_LOCAL = "airflow.dag_processing.bundles.local.LocalDagBundle"
_CLASSES = {
    "release": "flowstead_airflow.releases.ReleaseBundle",
    "directory": _LOCAL,
    "image": _LOCAL,
    "git": "airflow.providers.git.bundles.git.GitDagBundle",
    "s3": "airflow.providers.amazon.aws.bundles.s3.S3DagBundle",
}
#: Deliveries that hosts bring, and containers see through a mount.
MOUNTED = ("release", "directory")
#: Keys that mean something with a delivery; name, delivery and refresh_seconds always do.
KEYS = {
    "release": ("directory", "owner", "group", "mode"),
    "directory": ("directory", "owner", "group", "mode"),
    "image": ("source",),
    "git": ("git",),
    "s3": ("s3",),
}


@dataclass(frozen=True)
class Bundle:
    """DAGs that belong together.

    Attributes:
        delivery: ``release``, ``directory``, ``image``, ``git`` or ``s3``.
        host_path: where hosts see it, for a delivery of :data:`MOUNTED`; else empty.
        owner, group, mode: of that directory; None leaves it as it is made.
        refresh_seconds: how often the dag-processor looks for a change.
        options: what its class is told beside that, without secrets.
        connection: an Airflow connection with the login, or None.
    """

    name: str
    delivery: str
    host_path: str
    refresh_seconds: int
    options: t.Mapping[str, t.Any] = field(default_factory=dict)
    connection: t.Mapping[str, t.Any] | None = field(default=None, repr=False)
    owner: str | None = None
    group: str | None = None
    mode: str = "0755"

    @property
    def mounted(self) -> bool:
        """Whether containers see a directory of the host."""
        return self.delivery in MOUNTED

    @property
    def entry(self) -> dict[str, t.Any]:
        """Its place in ``[dag_processor] dag_bundle_config_list``; the Config API may show it to users."""
        kwargs = {**self.options, "refresh_interval": self.refresh_seconds}
        return {"name": self.name, "classpath": _CLASSES[self.delivery], "kwargs": kwargs}


def build_bundle(item: t.Mapping[str, t.Any], root: str) -> Bundle:
    """A bundle from a checked item of airflow_bundles; root is the environment's directory on hosts."""
    name, delivery = item["name"], item["delivery"]
    host_path = ""
    connection = None
    if delivery in MOUNTED:
        host_path = f"{root}/{(item['directory'] or name).strip('/')}"
        options: dict[str, t.Any] = {"path": f"{BUNDLES}/{name}"}
    elif delivery == "image":
        options = {"path": f"{BAKED}/{name}"}
    elif delivery == "git":
        options, connection = _git(name, item["git"])
    else:
        options, connection = _s3(name, item["s3"])
    owners = {key: item[key] for key in ("owner", "group", "mode")}
    return Bundle(name, delivery, host_path, item["refresh_seconds"], options, connection, **owners)


def local_entry(name: str, path: str) -> dict[str, t.Any]:
    """An entry for a directory of the image."""
    return {"name": name, "classpath": _LOCAL, "kwargs": {"path": path}}


def _git(name: str, git: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], dict[str, t.Any] | None]:
    options = {"repo_url": git["repository"], "tracking_ref": git["ref"]}
    if git["subdirectory"]:
        options["subdir"] = git["subdirectory"].strip("/")
    connection = None
    if git["password"] or git["private_key"]:
        options["git_conn_id"] = _connection_id(name)
        login: dict[str, t.Any] = {"conn_type": "git", "host": git["repository"]}
        if git["username"]:
            login["login"] = git["username"]
        if git["password"]:
            login["password"] = git["password"]
        if git["private_key"]:
            login["extra"] = {"private_key": git["private_key"].strip() + "\n"}
        connection = login
    elif git["connection_id"]:
        options["git_conn_id"] = git["connection_id"]
    return options, connection


def _s3(name: str, s3: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], dict[str, t.Any] | None]:
    options = {"bucket_name": s3["bucket"], "prefix": (s3["prefix"] or "").strip("/")}
    connection = None
    extra = {key: s3[key] for key in ("region_name", "endpoint_url") if s3[key]}
    if s3["secret_access_key"] or extra:
        options["aws_conn_id"] = _connection_id(name)
        login: dict[str, t.Any] = {"conn_type": "aws"}
        if s3["secret_access_key"]:
            login.update(login=s3["access_key_id"], password=s3["secret_access_key"])
        if extra:
            login["extra"] = extra
        connection = login
    elif s3["connection_id"]:
        options["aws_conn_id"] = s3["connection_id"]
    return options, connection


def _connection_id(bundle: str) -> str:
    """Airflow's IDs of connections allow what names of bundles allow."""
    return f"bundle_{bundle}"


def connections(bundles: t.Sequence[Bundle]) -> dict[str, t.Any]:
    """Airflow's connections with the logins of bundles, by ID."""
    return {_connection_id(bundle.name): bundle.connection for bundle in bundles if bundle.connection}
