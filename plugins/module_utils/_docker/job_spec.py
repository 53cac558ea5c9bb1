# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a one-off job of the swarm is: a service that runs already, with another command.

PRIVATE to the collection. Pure: no I/O.

Source: Engine API 1.41, ``POST /services/create`` with mode ReplicatedJob.
"""

from __future__ import annotations

import copy
import re
import typing as t

from .diagnose import Mask
from .units import SECOND

#: What made the job, for which stack, and until when it may exist (seconds since 1970).
KIND_LABEL = "flowstead.airflow.job-kind"
OF_STACK_LABEL = "flowstead.airflow.job-stack"
UNTIL_LABEL = "flowstead.airflow.job-until"
#: A job looks for its own service by this label, because ``/services`` filters names by their beginning.
NAME_LABEL = "flowstead.airflow.job-name"
#: Swarm's longest name of a service.
LONGEST_NAME = 63
#: A log that can be read back, whatever the service's own driver is; it goes with the container.
LOG_DRIVER = {"Name": "local", "Options": {"max-size": "20m", "max-file": "1", "compress": "false"}}
_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|CONN_|_CONN$|_KEY$", re.IGNORECASE)
#: What is read from a file is no secret, only the way to it.
_WAY = ("_CMD", "_SECRET", "_FILE", "_PATH")
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
#: Shorter values would turn ordinary words into stars.
_SHORTEST_SECRET = 8

Item = dict[str, t.Any]


def clone(
    service: Item,
    name: str,
    args: t.Sequence[str],
    *,
    kind: str,
    stack: str,
    until: float,
    memory_mb: int = 0,
) -> Item:
    """The spec of a job that sees what a service sees: image, environment, secrets, configs, mounts, networks, user.

    It has no label of the stack, no alias and no port, so that nobody takes it for the service. Where the service may
    run, the job may run; limits of the service are raised where they are lower than the job's.

    Args:
        service: the live service.
        name: name of the job.
        args: takes the place of the command; the entrypoint stays.
        kind: what makes the job, for example ``dag_check``.
        stack: name of the stack, for ``sweep``.
        until: seconds since 1970 when the job's time is up.
        memory_mb: least limit of memory, in MiB.
    """
    template: Item = copy.deepcopy(service["Spec"]["TaskTemplate"])
    container = template["ContainerSpec"]
    # A fixed host name or health check is the service's own affair, and with a terminal there is only one stream.
    for field in ("Hostname", "Healthcheck", "TTY", "OpenStdin"):
        container.pop(field, None)
    labels = {KIND_LABEL: kind, OF_STACK_LABEL: stack, NAME_LABEL: name, UNTIL_LABEL: str(int(until))}
    container.update(Args=list(args), Labels=dict(labels), Healthcheck={"Test": ["NONE"]}, StopGracePeriod=5 * SECOND)
    template.pop("ForceUpdate", None)
    template["RestartPolicy"] = {"Condition": "none", "MaxAttempts": 0}
    template["Networks"] = [{"Target": network["Target"]} for network in template.get("Networks") or []]
    template["LogDriver"] = copy.deepcopy(LOG_DRIVER)
    limits = (template.get("Resources") or {}).get("Limits") or {}
    for field, least in (("MemoryBytes", memory_mb << 20), ("NanoCPUs", 10**9)):
        if limits.get(field):
            limits[field] = max(limits[field], least)
    limits.pop("Pids", None)
    return {
        "Name": name,
        "Labels": labels,
        "TaskTemplate": template,
        "Mode": {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def job_name(stack: str, purpose: str, token: str) -> str:
    """``<stack>_<purpose>-<token>``, cut to what Swarm allows; the token makes it unique."""
    head = re.sub(r"[^a-zA-Z0-9_-]+", "-", f"{stack}_{purpose}")[: LONGEST_NAME - len(token) - 1]
    return f"{head.rstrip('-_')}-{token}"


def mask_of(service: Item) -> t.Callable[[str], str]:
    """Hides, in what a job printed, secrets from the service's environment and passwords in URLs."""
    words = []
    for entry in service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Env") or []:
        key, _equals, value = entry.partition("=")
        secret = _SECRET_NAME.search(key) and not key.endswith(_WAY)
        if (secret and len(value) >= _SHORTEST_SECRET) or _URL_PASSWORD.search(value):
            words.append(value)
    mask = Mask(words)

    def hide(text: str) -> str:
        return _URL_PASSWORD.sub(r"\1:********@", mask(text))

    return hide
