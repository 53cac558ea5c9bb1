"""Behaviour of the checks of ports, memory, disk, architecture and commands."""

from __future__ import annotations

import os
import socket
import typing as t
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.host import (
    MIB,
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
    Listener,
    Port,
    Publisher,
    check_ports,
    process_of,
    read_listeners,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.problems import Problem, message
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.stack import memory_mb, publishers

WEB = Port(8080, "web interface", "airflow_components.api_server.port")


def test_memory_of_the_running_stack_counts_as_available() -> None:
    assert check_memory(4096, 1500, 3000, stack="airflow-dev") == []


def test_missing_memory_is_told_with_its_arithmetic() -> None:
    (problem,) = check_memory(4096, 1500, 800, "airflow_workers", "airflow-dev")

    assert problem.variable == "airflow_workers"
    assert "1500 MiB are available and the running stack airflow-dev uses 800 MiB, together 2300 MiB" in problem.problem
    assert "1796 MiB are missing" in problem.problem


def test_available_memory_is_what_the_kernel_calls_available(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8388608 kB\nMemFree:  1024 kB\nMemAvailable:  2097152 kB\n")

    assert available_memory_mb(str(meminfo)) == 2048


def test_paths_on_one_file_system_share_its_space(tmp_path: Path) -> None:
    for name in ("docker", "dags", "other"):
        (tmp_path / name).mkdir()
    spaces = [Space(f"{tmp_path}/{name}", 600, name) for name in ("docker", "dags", "other")]

    (problem,) = check_disk(spaces, lambda path: (int(path.endswith("other")), 1000 * MIB))

    assert problem.value == f"{tmp_path}/docker, {tmp_path}/dags"
    assert "together 1200 MiB on one file system; 1000 MiB are free" in problem.problem


def test_disk_is_measured_at_the_nearest_existing_parent(tmp_path: Path) -> None:
    asked: list[str] = []

    def free(path: str) -> tuple[int, int]:
        asked.append(path)
        return 1, 100 * MIB

    (problem,) = check_disk([Space(f"{tmp_path}/not/there", 500, "airflow_dags_path")], free)

    assert asked == [str(tmp_path)]
    assert problem.variable == "airflow_dags_path"
    assert f"100 MiB are free at {tmp_path}" in problem.problem
    assert "400 MiB" in problem.fix


def test_enough_disk_is_no_problem(tmp_path: Path) -> None:
    assert check_disk([Space(str(tmp_path), 0)]) == []


def test_an_architecture_without_an_image_is_refused() -> None:
    (problem,) = check_architecture(["x86_64", "aarch64"], "armv7l")

    assert "armv7l" in problem.problem
    assert check_architecture(["x86_64"], "x86_64") == check_architecture([], "riscv64") == []


def test_missing_commands_are_named_each() -> None:
    problems = check_commands(["sh", "no-such-command-a", "no-such-command-b"])

    assert [problem.value for problem in problems] == ["no-such-command-a", "no-such-command-b"]


def test_a_port_held_by_a_process_names_the_process() -> None:
    (problem,) = check_ports([WEB], {}, [Listener("0.0.0.0", 8080, 42)], lambda inode: f"nginx (pid {inode})")

    assert (problem.variable, problem.value) == ("airflow_components.api_server.port", "8080")
    assert "nginx (pid 42)" in problem.problem


@pytest.mark.parametrize(
    ("held", "wanted", "collide"),
    [
        ("127.0.0.1", "", True),
        ("::", "10.0.0.1", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("10.0.0.1", "10.0.0.1", True),
    ],
)
def test_a_port_collides_only_on_the_same_address(held: str, wanted: str, collide: bool) -> None:
    port = Port(8080, "web interface", address=wanted)

    assert bool(check_ports([port], {}, [Listener(held, 8080, 1)], lambda _inode: "")) is collide


@pytest.mark.parametrize(
    ("holder", "hidden", "refused"),
    [
        ("dockerd (pid 7)", True, False),
        ("dockerd (pid 7)", False, True),
        ("docker-proxy (pid 8)", True, True),
        ("nginx (pid 9)", True, True),
    ],
)
def test_a_worker_cannot_see_whose_port_the_routing_mesh_holds_and_leaves_it_to_the_managers(
    holder: str, hidden: bool, refused: bool
) -> None:
    found = check_ports([WEB], {}, [Listener("::", 8080, 1)], lambda _inode: holder, hidden=hidden)
    assert bool(found) is refused


def test_a_port_of_the_stack_itself_is_fine_and_of_another_is_not() -> None:
    listeners = [Listener("0.0.0.0", 8080, 1)]

    assert check_ports([WEB], {8080: Publisher("service a_web", True)}, listeners, lambda _inode: "docker-proxy") == []
    (problem,) = check_ports([WEB], {8080: Publisher("service b_web", False)}, [], lambda _inode: "")
    assert "service b_web" in problem.problem


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_kernel_tells_who_listens(family: socket.AddressFamily, address: str) -> None:
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        (found,) = [one for one in read_listeners() if one.port == port]

        assert found.address == address
        assert process_of(found.inode).endswith(f"(pid {os.getpid()})")


SERVICE = {
    "Spec": {
        "Name": "airflow-dev_api-server",
        "Labels": {"com.docker.stack.namespace": "airflow-dev"},
        "EndpointSpec": {"Ports": [{"Protocol": "tcp", "PublishedPort": 8080, "PublishMode": "host"}]},
    }
}
CONTAINER = {
    "Id": "abc",
    "Names": ["/airflow-dev_api-server.1.xyz"],
    "Labels": {
        "com.docker.stack.namespace": "airflow-dev",
        "com.docker.swarm.service.name": "airflow-dev_api-server",
    },
    "Ports": [{"PublicPort": 8080, "Type": "tcp"}],
}


def test_ports_of_our_stack_are_ours_in_host_mode_too() -> None:
    assert publishers([SERVICE], [], "airflow-dev") == {8080: Publisher("service airflow-dev_api-server", True)}
    assert publishers([], [CONTAINER], "airflow-dev") == {8080: Publisher("service airflow-dev_api-server", True)}


def test_ports_of_another_stack_are_not_ours() -> None:
    assert publishers([], [CONTAINER], "airflow-prod")[8080].ours is False
    assert publishers([], [CONTAINER], "")[8080].ours is False


def test_a_host_mode_port_of_another_stack_counts_only_where_its_container_runs() -> None:
    assert publishers([SERVICE], [], "airflow-prod") == {}


def test_an_ingress_port_of_another_stack_counts_on_every_node() -> None:
    service = {
        "Spec": {"Name": "other", "Labels": {}},
        "Endpoint": {"Ports": [{"Protocol": "tcp", "PublishedPort": 80}]},
    }

    assert publishers([service], [], "airflow-dev") == {80: Publisher("service other", False)}


@pytest.mark.parametrize("cache", ["total_inactive_file", "inactive_file"])
def test_memory_of_the_stack_is_that_of_its_containers_without_the_file_cache(cache: str) -> None:
    class Engine:
        def get(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> t.Any:
            assert path == "/containers/abc/stats"
            assert query == {"stream": False, "one-shot": True}
            return {"memory_stats": {"usage": 300 * MIB, "stats": {cache: 100 * MIB}}}

    other = {"Id": "def", "Labels": {}}

    assert memory_mb(Engine(), [CONTAINER, other], "airflow-dev") == 200


def test_the_message_numbers_all_problems_with_variable_and_fix() -> None:
    problems = [Problem("port", "a.port", "8080", "is in use", "stop it"), Problem("disk", "b", "/srv", "full", "free")]

    assert message(problems, "host-1").splitlines() == [
        "2 problems on host host-1:",
        "1. a.port (8080): is in use",
        "   Fix: stop it",
        "2. b (/srv): full",
        "   Fix: free",
    ]


def test_an_unsupported_distribution_is_named(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text('ID=fedora\n# a comment\nPRETTY_NAME="Fedora Linux 43 (Server Edition)"\n')

    (problem,) = check_distribution(["debian", "ubuntu"], read_release(str(tmp_path / "os-release")))

    assert (
        problem.problem == "this host runs Fedora Linux 43 (Server Edition); this collection installs on debian, ubuntu"
    )
    assert check_distribution(["fedora"], {"ID": "fedora"}) == check_distribution([], {}) == []


def test_a_host_without_an_os_release_is_no_debian(tmp_path: Path) -> None:
    (problem,) = check_distribution(["debian"], read_release(str(tmp_path / "os-release")))

    assert problem.value == "linux"


def test_a_python_that_is_too_old_is_named() -> None:
    (problem,) = check_python((3, 8), "/usr/bin/python3.8")

    assert (problem.variable, problem.value) == ("ansible_python_interpreter", "/usr/bin/python3.8")
    assert "uses Python 3.8 on this host; the collection needs 3.9" in problem.problem
    assert check_python((3, 9), "python3") == []
