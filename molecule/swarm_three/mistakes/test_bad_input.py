"""Mistakes that only hosts and services can show are named by the preflight, before anything is changed."""

from __future__ import annotations

import json

from cluster import STACK, Cluster
from conftest_shared import play
from lab_hosts import MANAGERS


def versions(cluster: Cluster) -> dict[str, str]:
    """Version index of each service: it grows with every write, also with one that changes nothing."""
    names = cluster.docker("service", "ls", "--format", "{{.Name}}").split()
    assert f"{STACK}_scheduler" in names
    return {name: cluster.docker("service", "inspect", name, "--format", "{{.Version.Index}}") for name in names}


def refused(cluster: Cluster, variables: dict[str, object]) -> str:
    """What the preflight says of these variables, which it has to refuse."""
    before = versions(cluster)
    done = play("-e", json.dumps(variables), playbook="playbooks/preflight.yml")
    assert done.returncode == 2, done.stdout[-3000:] + done.stderr[-1000:]
    assert versions(cluster) == before
    return done.stdout + done.stderr


def test_login_disk_and_architecture_are_named_together(cluster: Cluster):
    said = refused(
        cluster,
        {
            "airflow_preflight_endpoints": True,
            "airflow_image_registry": {"username": "airflow", "password": "not-the-password-of-this"},
            "airflow_architectures": ["aarch64"],
            "__airflow_docker_free_mb": 99999999,
        },
    )
    for words in (
        "services1.lab.test:5000",
        "airflow_image_registry",
        "aarch64",
        "x86_64",
        "/var/lib/docker",
        *MANAGERS,
    ):
        assert words in said, words
    assert "not-the-password-of-this" not in said


def test_an_export_that_does_not_exist_is_named(cluster: Cluster):
    said = refused(
        cluster, {"dag_share_preflight": True, "dag_share_nfs": {"host": "services1.lab.test", "path": "/srv/nothing"}}
    )
    for words in ("/srv/nothing", "services1.lab.test", "dag_share_nfs"):
        assert words in said, words
