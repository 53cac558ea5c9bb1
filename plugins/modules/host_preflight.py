#!/usr/bin/python
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a host, and the services it has to reach, before anything is changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_preflight
short_description: Check a host, and the services it has to reach, before a deploy
version_added: 0.1.0
description:
  - Looks at ports, memory, disk, architecture, distribution, Python, clock and commands of the host, and logs in to the
    database, the broker and the image registry from this host, with the credentials, the TLS settings and the protocol
    that Airflow and the engine will use.
  - Reports every problem at once, each with the variable, its value (never a secret's) and what to do.
  - Changes nothing, on the host or in the services.
author:
  - flowstead.airflow contributors (@flowstead)
extends_documentation_fragment:
  - flowstead.airflow.attributes
attributes:
  check_mode:
    support: full
    details: [It does the same in check mode.]
  diff_mode:
    support: none
    details: [It changes nothing.]
  idempotent:
    support: full
options:
  ports:
    description: TCP ports that must be free, or held by the stack that is being deployed.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port.
        type: int
        required: true
      purpose:
        description: What it is for, in words for a person.
        type: str
        required: true
      variable:
        description: The inventory variable that sets it.
        type: str
        default: ports
      address:
        description: The address it is published on. Empty means all.
        type: str
        default: ""
  memory_mb:
    description:
      - MiB of memory that the platform needs on this host.
      - What the running stack O(stack_name) uses counts as available.
    type: int
  memory_variable:
    description: The inventory variable that leads to O(memory_mb).
    type: str
    default: airflow_components
  disk:
    description: Paths with the free space they need. Paths on one file system share its space.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: An absolute path. When it does not exist, its nearest existing parent counts.
        type: path
        required: true
      free_mb:
        description: MiB that must be free.
        type: int
        required: true
      variable:
        description: The inventory variable that names the path.
        type: str
        default: disk
  architectures:
    description: Architectures that are fine, as C(uname -m) says them. Empty means any.
    type: list
    elements: str
    default: []
  distributions:
    description: Distributions that are fine, as C(ID) in C(/etc/os-release) says them. Empty means any.
    type: list
    elements: str
    default: []
  controller_time:
    description:
      - The controller's clock when it sent the task, in seconds since 1970 (C(now(\).timestamp(\))).
      - It comes back beside this host's clock, for the filter P(flowstead.airflow.preflight_verdict#filter).
    type: float
  commands:
    description: Commands that must exist on the host.
    type: list
    elements: str
    default: []
  endpoints:
    description: Services to log in to.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: How a person calls it, for example V(metadata database).
        type: str
        required: true
      variable:
        description: The inventory variable that describes it.
        type: str
        required: true
      protocol:
        description:
          - What it speaks. V(tcp) only connects.
          - V(nfs) walks to the exported directory. Nothing is mounted, and the host needs no package.
        type: str
        choices: [postgresql, redis, rabbitmq, registry, nfs, tcp]
        required: true
      host:
        description: Name or address.
        type: str
        required: true
      port:
        description: Port.
        type: int
        required: true
      user:
        description: User. Redis before version 6 knows none.
        type: str
        default: ""
      password:
        description: Password.
        type: str
        default: ""
      database:
        description: Database of PostgreSQL, number of the Redis database, or virtual host of RabbitMQ.
        type: str
        default: ""
      tls:
        description: Encrypt the connection. PostgreSQL has O(endpoints[].sslmode) instead.
        type: bool
        default: false
      sslmode:
        description: As in libpq. PostgreSQL only.
        type: str
        choices: [disable, require, verify-ca, verify-full]
        default: verify-full
      ca_certificate:
        description:
          - PEM text of the authority that signed the server's certificate.
          - Empty means those that the host trusts.
        type: str
        default: ""
      proxy:
        description: Forward proxy for V(registry), C(http://[user:password@]host:port). Empty means none.
        type: str
        default: ""
      no_proxy:
        description: Names, addresses and networks that are reached without it, as an engine reads C(NO_PROXY).
        type: list
        elements: str
        default: []
      variables:
        description: Inventory variable of a field, where it is not O(endpoints[].variable) with the field behind it.
        type: dict
        default: {}
      path:
        description: The exported directory. NFS only.
        type: str
        default: /
      version:
        description: Version of NFS that the mount will ask for. NFS only.
        type: str
        choices: ["4.1", "4.2"]
        default: "4.1"
      reserved_port:
        description:
          - Come from a port below 1024, as a mount with C(resvport) does. NFS only.
          - Without it, an export that insists on such a port is a problem, as for a mount with C(noresvport).
        type: bool
        default: false
  timeout:
    description:
      - Seconds that one step of the conversation with an endpoint may take.
      - All endpoints are asked at the same time.
    type: float
    default: 5
  stack_name:
    description: The stack that is being deployed. Its ports and its memory are no problem.
    type: str
    default: ""
  docker_socket:
    description: Path of Docker's socket. It need not exist.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Check the host before the deploy
  flowstead.airflow.host_preflight:
    stack_name: airflow-dev
    ports:
      - port: 8080
        purpose: Airflow's web interface
        variable: airflow_components.api_server.port
    memory_mb: 4096
    disk:
      - path: /var/lib/docker
        free_mb: 5000
    architectures: [x86_64, aarch64]
    endpoints:
      - name: metadata database
        variable: airflow_database
        protocol: postgresql
        host: db.example.com
        port: 5432
        user: airflow
        password: "{{ airflow_database.password }}"
        database: airflow
        sslmode: verify-full
      - name: image registry
        variable: airflow_image_registry
        protocol: registry
        host: registry.example.com
        port: 443
        tls: true
        user: deploy
        password: "{{ airflow_image_registry.password }}"

- name: Ask whether this host may mount an export
  flowstead.airflow.host_preflight:
    endpoints:
      - name: DAG share
        variable: dag_share_nfs
        protocol: nfs
        host: nfs.example.com
        port: 2049
        path: /export/dags
"""

RETURN = r"""
problems:
  description: Every problem found. The module fails when there is one.
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: Which check found it.
      type: str
      sample: postgresql
    variable:
      description: The inventory variable to change.
      type: str
      sample: airflow_database.password
    value:
      description: Its value, never a secret's.
      type: str
      sample: a secret
    problem:
      description: What is wrong.
      type: str
      sample: "metadata database: db.example.com:5432, database airflow, refuses the password of user airflow"
    fix:
      description: What to do.
      type: str
      sample: "set the right password, or set this one in the server: ALTER ROLE \"airflow\" PASSWORD '...'"
endpoints:
  description: What the reachable endpoints told, with C(version) where the protocol tells one.
  returned: always
  type: list
  elements: dict
  sample:
    - name: metadata database
      address: "db.example.com:5432"
      version: "16.4"
      max_connections: 200
      warnings: []
platform:
  description: What the host is. C(architecture) as C(uname -m) says it, C(distribution) as a person calls it.
  returned: always
  type: dict
  sample: {architecture: x86_64, distribution: "Debian GNU/Linux 13 (trixie)", python: "3.13"}
clock:
  description: O(controller_time) as C(controller) and this host's clock as C(host), in seconds since 1970.
  returned: when O(controller_time) is given
  type: dict
  sample: {controller: 1794000000.5, host: 1794000000.9}
memory:
  description: MiB available now (C(available_mb)) and used by the running stack (C(stack_mb)).
  returned: when O(memory_mb) is given
  type: dict
  sample: {available_mb: 20000, stack_mb: 0}
"""

import platform
import sys
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.endpoints import check_endpoints
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.host import (
    Space,
    available_memory_mb,
    check_architecture,
    check_commands,
    check_disk,
    check_distribution,
    check_memory,
    check_python,
    read_release,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.ports import (
    Port,
    Publisher,
    check_ports,
    process_of,
    read_listeners,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.problems import Problem, message
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.stack import memory_mb, publishers
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.wire import Endpoint

PROTOCOLS = ["postgresql", "redis", "rabbitmq", "registry", "nfs", "tcp"]
ARGUMENT_SPEC: dict[str, t.Any] = {
    "ports": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "port": {"type": "int", "required": True},
            "purpose": {"type": "str", "required": True},
            "variable": {"type": "str", "default": "ports"},
            "address": {"type": "str", "default": ""},
        },
    },
    "memory_mb": {"type": "int"},
    "memory_variable": {"type": "str", "default": "airflow_components"},
    "disk": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "free_mb": {"type": "int", "required": True},
            "variable": {"type": "str", "default": "disk"},
        },
    },
    "architectures": {"type": "list", "elements": "str", "default": []},
    "distributions": {"type": "list", "elements": "str", "default": []},
    "controller_time": {"type": "float"},
    "commands": {"type": "list", "elements": "str", "default": []},
    "endpoints": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "variable": {"type": "str", "required": True},
            "protocol": {"type": "str", "required": True, "choices": PROTOCOLS},
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "user": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "database": {"type": "str", "default": ""},
            "tls": {"type": "bool", "default": False},
            "sslmode": {
                "type": "str",
                "default": "verify-full",
                "choices": ["disable", "require", "verify-ca", "verify-full"],
            },
            "ca_certificate": {"type": "str", "default": ""},
            "proxy": {"type": "str", "default": "", "no_log": True},
            "no_proxy": {"type": "list", "elements": "str", "default": []},
            "variables": {"type": "dict", "default": {}},
            "path": {"type": "str", "default": "/"},
            "version": {"type": "str", "default": "4.1", "choices": ["4.1", "4.2"]},
            "reserved_port": {"type": "bool", "default": False},
        },
    },
    "timeout": {"type": "float", "default": 5.0},
    "stack_name": {"type": "str", "default": ""},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


class DockerView(t.NamedTuple):
    """What Docker says about ports and memory; empty where no engine answers."""

    publishers: dict[int, Publisher]
    stack_mb: int
    hidden: bool = False


def look_into_docker(socket_path: str, stack: str) -> DockerView:
    """Ask the engine of this host, if there is one."""
    engine = Engine(socket_path, timeout=10.0)
    try:
        containers = engine.get("/containers/json")
        used = memory_mb(engine, containers, stack) if stack else 0
        hidden = False
        try:
            services = engine.get("/services")
        except EngineError:  # no member of a swarm, or a worker: then the containers here are all there is
            services = []
            hidden = (engine.get("/info").get("Swarm") or {}).get("LocalNodeState") == "active"
        return DockerView(publishers(services, containers, stack), used, hidden)
    except (EngineUnreachable, EngineError):
        return DockerView({}, 0)
    finally:
        engine.close()


def check_host(params: t.Mapping[str, t.Any]) -> tuple[list[Problem], dict[str, t.Any]]:
    """Everything but the endpoints: the problems, and what else is worth returning."""
    problems: list[Problem] = []
    release = read_release()
    version = sys.version_info[:2]
    facts: dict[str, t.Any] = {
        "platform": {
            "architecture": platform.machine(),
            "distribution": release.get("PRETTY_NAME", ""),
            "python": ".".join(str(part) for part in version),
        }
    }
    wanted = params["memory_mb"]
    docker = DockerView({}, 0)
    if params["ports"] or wanted is not None:
        docker = look_into_docker(params["docker_socket"], params["stack_name"])
    problems += check_distribution(params["distributions"], release)
    problems += check_python(version, sys.executable)
    problems += check_architecture(params["architectures"], platform.machine())
    problems += check_commands(params["commands"])
    if params["ports"]:
        ports = [Port(**port) for port in params["ports"]]
        problems += check_ports(ports, docker.publishers, read_listeners(), process_of, hidden=docker.hidden)
    if wanted is not None:
        available = available_memory_mb()
        facts["memory"] = {"available_mb": available, "stack_mb": docker.stack_mb}
        problems += check_memory(wanted, available, docker.stack_mb, params["memory_variable"], params["stack_name"])
    problems += check_disk([Space(**space) for space in params["disk"]])
    return problems, facts


def main() -> None:
    """Run all checks and exit once."""
    arrival = time.time()
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    problems, facts = check_host(params)
    if params["controller_time"] is not None:
        facts["clock"] = {"controller": params["controller_time"], "host": arrival}
    endpoints, more = check_endpoints([Endpoint(timeout=params["timeout"], **one) for one in params["endpoints"]])
    problems += more
    for endpoint in endpoints:
        for warning in endpoint.get("warnings", []):
            module.warn(warning)
    result = {"problems": [problem.as_dict() for problem in problems], "endpoints": endpoints, **facts}
    if problems:
        module.fail_json(msg=message(problems, platform.node()), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
