# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.platform import parse
from platform_samples import ALL_SECRETS, CERTIFICATE, MINIMAL, OPTIONS, PRODUCTION, REMOVED, changed, problems_of

WORKER = {"name": "default", "queues": ["default"]}
OTHER = {"name": "other", "queues": ["other"]}
GIT = {"name": "a", "delivery": "git", "git": {"repository": "https://git.example.com/a.git", "ref": "main"}}
S3 = {"name": "a", "delivery": "s3", "s3": {"bucket": "dags"}}
RABBITMQ = {"type": "rabbitmq", "host": "mq", "password": "broker-Pa55", "user": "airflow"}

#: What is written, where the problem is found, and words of the message.
ONE_PROBLEM = [
    # names
    ({"airflow_verison": "3.3.2"}, "airflow_verison", "Did you mean airflow_version?"),
    ({"airflow_swarm_timeuot": 1}, "airflow_swarm_timeuot", "Did you mean airflow_swarm_timeout?"),
    ({"airflow_quite_different": 1}, "airflow_quite_different", "nobody knows this variable"),
    ({"airflow_broker.hots": "x"}, "airflow_broker.hots", "Did you mean host?"),
    ({"airflow_components.scheduler.replica": 2}, "airflow_components.scheduler.replica", "Did you mean replicas?"),
    ({"airflow_workers.0.queue": "x"}, "airflow_workers[0].queue", "Did you mean queues?"),
    # required
    ({"airflow_environment": REMOVED}, "airflow_environment", "this is required"),
    ({"airflow_environment": None}, "airflow_environment", "not set"),
    ({"airflow_database": REMOVED}, "airflow_database", "with at least the keys host, password"),
    ({"airflow_database.password": REMOVED}, "airflow_database.password", "this is required"),
    ({"airflow_keys.jwt": REMOVED}, "airflow_keys.jwt", "this is required"),
    ({"airflow_workers": REMOVED}, "airflow_workers", "this is required"),
    ({"airflow_workers.0.name": REMOVED}, "airflow_workers[0].name", "this is required"),
    ({"airflow_workers.0.queues": REMOVED}, "airflow_workers[0].queues", "this is required"),
    # types
    ({"airflow_version": 3.3}, "airflow_version", "Write a string (in quotes) instead of a number"),
    ({"airflow_longest_task_seconds": "1h"}, "airflow_longest_task_seconds", "this has to be a whole number"),
    ({"airflow_longest_task_seconds": True}, "airflow_longest_task_seconds", "instead of a boolean"),
    ({"airflow_longest_task_seconds": 100.5}, "airflow_longest_task_seconds", "this has to be a whole number"),
    ({"airflow_secure_logging": "perhaps"}, "airflow_secure_logging", "true or false"),
    ({"airflow_secure_logging": 1}, "airflow_secure_logging", "true or false"),
    ({"airflow_database": "postgresql://u:p@h/d"}, "airflow_database", "this has to be a dictionary"),
    ({"airflow_database.password": 12345678}, "airflow_database.password", "this has to be a string"),
    ({"airflow_workers": WORKER}, "airflow_workers", "Write a list instead of a dictionary"),
    ({"airflow_workers": "default"}, "airflow_workers", "this has to be a list"),
    ({"airflow_workers.0": "default"}, "airflow_workers[0]", "this has to be a dictionary"),
    ({"airflow_workers.0.queues": "default"}, "airflow_workers[0].queues", "this has to be a list"),
    ({"airflow_workers.0.queues": ["default", 1]}, "airflow_workers[0].queues[1]", "this has to be a string"),
    ({"airflow_components": []}, "airflow_components", "this has to be a dictionary"),
    ({"airflow_components.scheduler": 2}, "airflow_components.scheduler", "this has to be a dictionary"),
    ({"airflow_components.scheduler.cpus": "many"}, "airflow_components.scheduler.cpus", "has to be a number"),
    ({"airflow_broker.type": "kafka"}, "airflow_broker.type", "Choose one of redis, rabbitmq"),
    ({"airflow_database.sslmode": "verify_full"}, "airflow_database.sslmode", "Did you mean verify-full?"),
    # scalars
    ({"airflow_environment": "Prod"}, "airflow_environment", "no name for an environment"),
    ({"airflow_environment": "a" * 21}, "airflow_environment", "at most 20 characters"),
    ({"airflow_version": "3.9.9"}, "airflow_version", "Supported is 3.3.2"),
    ({"airflow_longest_task_seconds": 59}, "airflow_longest_task_seconds", "from 60 to 2592000"),
    ({"airflow_health_interval_seconds": 9}, "airflow_health_interval_seconds", "from 10 to 300"),
    ({"airflow_health_interval_seconds": 301}, "airflow_health_interval_seconds", "from 10 to 300"),
    ({"airflow_dags_path": "dags"}, "airflow_dags_path", "no absolute path"),
    ({"airflow_dags_path": "/srv/../etc"}, "airflow_dags_path", "no absolute path"),
    ({"airflow_public_url": "airflow.example.com"}, "airflow_public_url", "does not start with http"),
    ({"airflow_public_url": "ftp://example.com"}, "airflow_public_url", "does not start with http"),
    ({"airflow_public_url": "https://"}, "airflow_public_url", "names no host"),
    ({"airflow_public_url": "https://example.com/"}, "airflow_public_url", "ends with a slash"),
    ({"airflow_public_url": "https://example.com/a//b"}, "airflow_public_url", "odd parts"),
    ({"airflow_public_url": "https://example.com?a=b"}, "airflow_public_url", "a query or a fragment"),
    ({"airflow_public_url": "https://example.com/#a"}, "airflow_public_url", "a query or a fragment"),
    ({"airflow_public_url": "https://me:pw@example.com"}, "airflow_public_url", "a user or a password"),
    ({"airflow_public_url": "https://example.com:99999"}, "airflow_public_url", "its port"),
    ({"airflow_public_url": "https://exa mple.com"}, "airflow_public_url", "white space"),
    # secrets
    *(
        ({"airflow_database.password": text}, "airflow_database.password", "this is a placeholder")
        for text in (
            "changeme",
            "CHANGE_ME",
            "Change-Me!",
            "<password>",
            "password",
            "Secret",
            "todo",
            "XXXX",
            "airflow",
            "{{ vault }}",
            "your_password_here",
            "replace-this",
            "example",
            "...",
            "********",
        )
    ),
    ({"airflow_admin.password": "changeme"}, "airflow_admin.password", "this is a placeholder"),
    ({"airflow_database.password": ""}, "airflow_database.password", "it is empty"),
    ({"airflow_database.password": "good-Pa55\n"}, "airflow_database.password", "in a lookup, add | trim"),
    ({"airflow_broker.password": " good-Pa55"}, "airflow_broker.password", "white space or a newline"),
    ({"airflow_broker.password": "good\n-Pa55"}, "airflow_broker.password", "control character"),
    ({"airflow_keys.jwt": "j" * 31}, "airflow_keys.jwt", "fewer than 32 characters"),
    ({"airflow_keys.api_secret": "j" * 31}, "airflow_keys.api_secret", "fewer than 32 characters"),
    ({"airflow_keys.object_names": "j" * 31}, "airflow_keys.object_names", "fewer than 32 characters"),
    ({"airflow_admin.password": "short"}, "airflow_admin.password", "fewer than 8 characters"),
    ({"airflow_keys.fernet": "tooshort"}, "airflow_keys.fernet", "not 32 bytes in URL-safe base64"),
    ({"airflow_keys.fernet": "A" * 44}, "airflow_keys.fernet", "not 32 bytes in URL-safe base64"),
    ({"airflow_keys.fernet": "+" + "A" * 42 + "="}, "airflow_keys.fernet", "not 32 bytes in URL-safe base64"),
    ({"airflow_keys.fernet": "B" * 43 + "=,oops"}, "airflow_keys.fernet", "key 2 of 2"),
    ({"airflow_keys.fernet": "B" * 43 + "=," + "B" * 43 + "="}, "airflow_keys.fernet", "stands in it twice"),
    (
        {"airflow_keys.jwt": MINIMAL["airflow_keys"]["api_secret"]},
        "airflow_keys.jwt",
        "same as airflow_keys.api_secret",
    ),
    (
        {"airflow_result_backend.password": MINIMAL["airflow_database"]["password"]},
        "airflow_result_backend.password",
        "the same as airflow_database.password",
    ),
    # servers
    ({"airflow_database.host": "localhost"}, "airflow_database.host", "the container itself"),
    ({"airflow_broker.host": "127.0.0.1"}, "airflow_broker.host", "the container itself"),
    ({"airflow_result_backend.host": "::1"}, "airflow_result_backend.host", "the container itself"),
    ({"airflow_database.host": "db.example.com:5432"}, "airflow_database.host", "this is no host"),
    ({"airflow_broker.host": "redis://broker"}, "airflow_broker.host", "this is no host"),
    ({"airflow_broker.host": ""}, "airflow_broker.host", "this is no host"),
    ({"airflow_database.port": 0}, "airflow_database.port", "from 1 to 65535"),
    ({"airflow_broker.port": 70000}, "airflow_broker.port", "from 1 to 65535"),
    ({"airflow_database.name": "air flow"}, "airflow_database.name", "cannot stand in a connection URL"),
    ({"airflow_database.user": ""}, "airflow_database.user", "it is empty"),
    ({"airflow_result_backend.user": "airflow"}, "airflow_result_backend.user", "owner of Airflow's metadata"),
    (
        {"airflow_database.sslmode": "require", "airflow_database.ca_certificate": "/etc/ca.pem"},
        "airflow_database.ca_certificate",
        "read a file with lookup",
    ),
    (
        {"airflow_database.ca_certificate": CERTIFICATE.format("")},
        "airflow_database.ca_certificate",
        "airflow_database.sslmode switches TLS off",
    ),
    (
        {"airflow_broker.ca_certificate": CERTIFICATE.format("")},
        "airflow_broker.ca_certificate",
        "airflow_broker.tls switches TLS off",
    ),
    (
        {
            "airflow_broker.tls": True,
            "airflow_broker.ca_certificate": CERTIFICATE.format("") + "-----BEGIN PRIVATE KEY-----\n",
        },
        "airflow_broker.ca_certificate",
        "it holds a private key",
    ),
    ({"airflow_broker.virtual_host": "/a"}, "airflow_broker.virtual_host", "Redis has no virtual hosts"),
    ({"airflow_broker": {**RABBITMQ, "database": 1}}, "airflow_broker.database", "RabbitMQ has no databases"),
    ({"airflow_broker": {**RABBITMQ, "user": None}}, "airflow_broker.user", "RabbitMQ needs a user"),
    ({"airflow_broker.database": -1}, "airflow_broker.database", "from 0 to 65535"),
    # admin
    ({"airflow_admin.username": ""}, "airflow_admin.username", "it is empty"),
    ({"airflow_admin.email": "ada"}, "airflow_admin.email", "this is no address"),
    # sizes
    ({"airflow_components.api_server.replicas": 0}, "airflow_components.api_server.replicas", "from 1"),
    ({"airflow_components.api_server.port": 0}, "airflow_components.api_server.port", "from 1 to 65535"),
    ({"airflow_components.api_server.workers": 0}, "airflow_components.api_server.workers", "from 1 to 64"),
    ({"airflow_components.triggerer.memory_mb": 100}, "airflow_components.triggerer.memory_mb", "so little"),
    ({"airflow_components.triggerer.cpus": -1}, "airflow_components.triggerer.cpus", "from 0"),
    (
        {"airflow_components.scheduler.memory_mb": 512, "airflow_components.scheduler.memory_reservation_mb": 513},
        "airflow_components.scheduler.memory_reservation_mb",
        "more is reserved than the limit of 512 MiB",
    ),
    (
        {"airflow_components.scheduler.memory_reservation_mb": -1},
        "airflow_components.scheduler.memory_reservation_mb",
        "negative",
    ),
    ({"airflow_workers.0.concurrency": 0}, "airflow_workers[0].concurrency", "from 1 to 1000"),
    ({"airflow_workers.0.stop_grace_seconds": 0}, "airflow_workers[0].stop_grace_seconds", "from 1 to"),
    ({"airflow_workers.0.replicas": 0}, "airflow_workers[0].replicas", "from 1"),
    # workers, queues and bundles
    ({"airflow_workers": []}, "airflow_workers", "without workers no task runs"),
    ({"airflow_workers.0.name": "Team_A"}, "airflow_workers[0].name", "no name for workers"),
    ({"airflow_workers.0.name": "a" * 25}, "airflow_workers[0].name", "at most 24 characters"),
    ({"airflow_workers": [WORKER, {**OTHER, "name": "default"}]}, "airflow_workers[1].name", "has the same name"),
    ({"airflow_workers.0.queues": []}, "airflow_workers[0].queues", "would consume nothing"),
    ({"airflow_workers.0.queues": ["default", "a,b"]}, "airflow_workers[0].queues[1]", "no name for a queue"),
    ({"airflow_workers.0.queues": ["default", "default"]}, "airflow_workers[0].queues[1]", "named twice"),
    ({"airflow_workers": [OTHER]}, "airflow_workers", 'no worker consumes "default"'),
    (
        {"airflow_config": {"operators": {"default_queue": "main"}}},
        "airflow_workers",
        'no worker consumes "main"',
    ),
    (
        {"airflow_workers": [WORKER, {"name": "x", "queues": ["a:b"]}, {"name": "y", "queues": ["a_b"]}]},
        "airflow_workers[2].queues",
        'the same ID as that of "a:b"',
    ),
    ({"airflow_workers.0.constraints": ["team=a"]}, "airflow_workers[0].constraints[0]", "no constraint"),
    ({"airflow_workers.0.bundles": ["sales"]}, "airflow_workers[0].bundles[0]", "airflow_bundles is empty"),
    (
        {"airflow_bundles": [{"name": "sales"}], "airflow_workers.0.bundles": ["salse"]},
        "airflow_workers[0].bundles[0]",
        "Did you mean sales?",
    ),
    ({"airflow_workers.0.bundles": ["flowstead-canary"]}, "airflow_workers[0].bundles[0]", "every worker has"),
    ({"airflow_bundles": [{"name": "flowstead-canary"}]}, "airflow_bundles[0].name", "this name is reserved"),
    ({"airflow_bundles": [{"name": "example_dags"}]}, "airflow_bundles[0].name", "this name is reserved"),
    ({"airflow_bundles": [{"name": "a b"}]}, "airflow_bundles[0].name", "no name for a bundle"),
    ({"airflow_bundles": [{"name": "a", "delivery": "rsync"}]}, "airflow_bundles[0].delivery", "release, directory"),
    ({"airflow_bundles": [{"name": "a", "refresh_seconds": 0}]}, "airflow_bundles[0].refresh_seconds", "from 1"),
    ({"airflow_bundles": [{"name": "a", "mode": "rwx"}]}, "airflow_bundles[0].mode", "these are no permissions"),
    ({"airflow_bundles": [{"name": "a", "mode": "2770"}]}, "airflow_bundles[0].mode", "could not read the DAGs"),
    (
        {"airflow_bundles": [{"name": "a", "delivery": "directory", "source": "/dags"}]},
        "airflow_bundles[0].source",
        "Remove it, or set delivery to image",
    ),
    (
        {"airflow_bundles": [{"name": "a", "delivery": "image", "source": "/dags", "mode": "0755"}]},
        "airflow_bundles[0].mode",
        "set delivery to release or directory",
    ),
    ({"airflow_bundles": [{"name": "a", "delivery": "image"}]}, "airflow_bundles[0].source", "delivery image needs it"),
    (
        {"airflow_bundles": [{"name": "a", "delivery": "git", "git": {"ref": "main"}}]},
        "airflow_bundles[0].git.repository",
        "the delivery needs it",
    ),
    ({"airflow_bundles": [GIT | {"git": GIT["git"] | {"ref": ""}}]}, "airflow_bundles[0].git.ref", "a branch or a tag"),
    (
        {"airflow_bundles": [GIT | {"git": GIT["git"] | {"repository": "https://u:hidden-1@git.example.com/x"}}]},
        "airflow_bundles[0].git.repository",
        "it carries a password",
    ),
    (
        {"airflow_bundles": [GIT | {"git": GIT["git"] | {"password": "hidden-2", "private_key": "hidden-3"}}]},
        "airflow_bundles[0].git",
        "these are two logins",
    ),
    (
        {"airflow_bundles": [GIT | {"git": GIT["git"] | {"username": "ci"}}]},
        "airflow_bundles[0].git.username",
        "Set password",
    ),
    (
        {"airflow_bundles": [{"name": "a", "delivery": "s3", "s3": {"prefix": "x"}}]},
        "airflow_bundles[0].s3.bucket",
        "the name of the bucket",
    ),
    (
        {"airflow_bundles": [S3 | {"s3": S3["s3"] | {"access_key_id": "AKIA"}}]},
        "airflow_bundles[0].s3.secret_access_key",
        "Set both, or none",
    ),
    (
        {"airflow_bundles": [S3 | {"s3": S3["s3"] | {"connection_id": "mine", "region_name": "eu-west-1"}}]},
        "airflow_bundles[0].s3.region_name",
        "Set it in that connection",
    ),
    (
        {
            "airflow_bundles": [GIT | {"git": GIT["git"] | {"password": "hidden-4"}}],
            "airflow_config": {"secrets": {"backend": "my.Backend"}},
        },
        "airflow_config.secrets.backend",
        "name them with connection_id",
    ),
    (
        {"airflow_bundles": [{"name": "a"}, {"name": "a", "directory": "b"}]},
        "airflow_bundles[1].name",
        "has the same name",
    ),
    ({"airflow_bundles": [{"name": "a", "directory": "/etc"}]}, "airflow_bundles[0].directory", "below the share"),
    ({"airflow_bundles": [{"name": "a", "directory": "../b"}]}, "airflow_bundles[0].directory", "below the share"),
    (
        {"airflow_bundles": [{"name": "a"}, {"name": "b", "directory": "a/b"}]},
        "airflow_bundles[1].directory",
        "holds the same DAGs as airflow_bundles[0]",
    ),
    # surroundings
    ({"airflow_proxy": {"htps": "http://p:3128"}}, "airflow_proxy.htps", "Did you mean https?"),
    ({"airflow_proxy": {"https": "proxy:3128"}}, "airflow_proxy.https", "http://proxy.example.com:3128"),
    ({"airflow_proxy": {"https": "https://p:3128"}}, "airflow_proxy.https", "no address of a proxy"),
    ({"airflow_proxy": {"https": "http://p:99999"}}, "airflow_proxy.https", "no address of a proxy"),
    ({"airflow_proxy": {"http": "http://u:some-Pa55@p:3128"}}, "airflow_proxy.http", "Take the login out"),
    ({"airflow_proxy": {"http": "http://p:3128/x"}}, "airflow_proxy.http", "Remove what follows the port"),
    ({"airflow_proxy": {"no_proxy": [".a.test"]}}, "airflow_proxy.no_proxy", "Set airflow_proxy.https"),
    (
        {"airflow_proxy": {"http": "http://p:3128", "no_proxy": ["a.test,b.test"]}},
        "airflow_proxy.no_proxy[0]",
        "network (IPv4) for each entry",
    ),
    ({"airflow_proxy": {"http": "http://p:3128", "no_proxy": ["*"]}}, "airflow_proxy.no_proxy[0]", "Name the hosts"),
    *(
        ({"airflow_proxy": {"http": "http://p:3128", "no_proxy": [entry]}}, "airflow_proxy.no_proxy[0]", text)
        for entry, text in (
            ("*.corp.test", "Write .corp.test"),
            ("fd00::/8", "network (IPv4)"),
            ("[fd00::1]", "some fail on it"),
            ("[::1]:80", "some fail on it"),
            ("host:abc", "some fail on it"),
            ("bücher.test", "some fail on it"),
            ("10.0.0.1/8", "some fail on it"),
        )
    ),
    ({"airflow_extra_environment": ["A=b"]}, "airflow_extra_environment", "this has to be a dictionary"),
    ({"airflow_extra_environment": {"1A": "b"}}, "airflow_extra_environment.1A", "no name of a variable"),
    ({"airflow_extra_environment": {3: "b"}}, "airflow_extra_environment.3", "no name of a variable"),
    (
        {"airflow_extra_environment": {"AIRFLOW__CORE__PARALLELISM": 4}},
        "airflow_extra_environment.AIRFLOW__CORE__PARALLELISM",
        "Write it in airflow_config",
    ),
    (
        {"airflow_extra_environment": {"AIRFLOW_CONN_DB": "postgresql://u:some-Pa55@h/d"}},
        "airflow_extra_environment.AIRFLOW_CONN_DB",
        "secrets backend",
    ),
    (
        {"airflow_extra_environment": {"HTTPS_PROXY": "http://p:3128"}},
        "airflow_extra_environment.HTTPS_PROXY",
        "Write it in airflow_proxy",
    ),
    ({"airflow_extra_environment": {"PATH": "/x"}}, "airflow_extra_environment.PATH", "sets this variable itself"),
    (
        {"airflow_extra_environment": {"FLOWSTEAD_NODE": "x"}},
        "airflow_extra_environment.FLOWSTEAD_NODE",
        "sets this variable itself",
    ),
    (
        {"airflow_extra_environment": {"AWS_SECRET_ACCESS_KEY": "some-Pa55"}},
        "airflow_extra_environment.AWS_SECRET_ACCESS_KEY",
        "keep it in a connection",
    ),
    ({"airflow_extra_environment": {"A": True}}, "airflow_extra_environment.A", "Write it in quotes"),
    ({"airflow_extra_environment": {"UMASK": 18}}, "airflow_extra_environment.UMASK", "Write it in quotes"),
    ({"airflow_extra_environment": {"A": "{{ .Node.ID }}"}}, "airflow_extra_environment.A", "template of its own"),
    (
        {"airflow_extra_environment": {"PIP_INDEX_URL": "https://u:some-Pa55@pypi.test"}},
        "airflow_extra_environment.PIP_INDEX_URL",
        "it holds a secret",
    ),
    (
        {"airflow_extra_environment": {"_PIP_ADDITIONAL_REQUIREMENTS": "x"}},
        "airflow_extra_environment._PIP_ADDITIONAL_REQUIREMENTS",
        "sets this variable itself",
    ),
    (
        {"airflow_extra_environment": {"AZURE_STORAGE_KEY": "some-Pa55"}},
        "airflow_extra_environment.AZURE_STORAGE_KEY",
        "it holds a secret",
    ),
    ({"airflow_extra_environment": {"A": None}}, "airflow_extra_environment.A", "Write it in quotes"),
    ({"airflow_extra_environment": {"A": "b\nc"}}, "airflow_extra_environment.A", "Write one line of text"),
    # airflow_config
    ({"airflow_config": {"core": "x"}}, "airflow_config.core", "a section is a dictionary"),
    ({"airflow_config": {1: {}}}, "airflow_config.1", "no name of a section"),
    ({"airflow_config": {"core": {2: "x"}}}, "airflow_config.core.2", "no name of an option"),
    ({"airflow_config": {"core": {"a b": "x"}}}, "airflow_config.core.a b", "no name of an option"),
    ({"airflow_config": {"core": {"parallelism": None}}}, "airflow_config.core.parallelism", "one line of text"),
    ({"airflow_config": {"core": {"parallelism": [1]}}}, "airflow_config.core.parallelism", "JSON string"),
    ({"airflow_config": {"core": {"parallelism": {}}}}, "airflow_config.core.parallelism", "JSON string"),
    ({"airflow_config": {"core": {"parallelism": "\x00"}}}, "airflow_config.core.parallelism", "control characters"),
    ({"airflow_config": {"core": {"paralelism": 1}}}, "airflow_config.core.paralelism", "Did you mean parallelism?"),
    ({"airflow_config": {"schedular": {}}}, "airflow_config.schedular", "Did you mean scheduler?"),
    ({"airflow_config": {"core": {"executor": "X"}}}, "airflow_config.core.executor", "runs the CeleryExecutor"),
    ({"airflow_config": {"Core": {"EXECUTOR": "X"}}}, "airflow_config.Core.EXECUTOR", "sets this option itself"),
    ({"airflow_config": {"api": {"base_url": "X"}}}, "airflow_config.api.base_url", "Set airflow_public_url"),
    (
        {"airflow_config": {"core": {"fernet_key_cmd": "X"}}},
        "airflow_config.core.fernet_key_cmd",
        "airflow_keys.fernet",
    ),
    ({"airflow_config": {"sentry": {"sentry_dsn": "X"}}}, "airflow_config.sentry.sentry_dsn", "it holds a secret"),
    (
        {"airflow_config": {"secrets": {"backend_kwargs_secret": "X"}}},
        "airflow_config.secrets.backend_kwargs_secret",
        "it holds a secret",
    ),
    ({"airflow_config": {"smtp": {"smtp_password": "X"}}}, "airflow_config.smtp.smtp_password", "it holds a secret"),
]


def _id(case: t.Any) -> str:
    return str(case)[:60] if isinstance(case, str) else ""


@pytest.mark.parametrize(("changes", "variable", "words"), ONE_PROBLEM, ids=_id)
def test_one_mistake_is_one_problem_that_names_variable_and_fix(
    changes: dict[str, t.Any], variable: str, words: str
) -> None:
    problems = problems_of(changes)

    assert [problem.variable for problem in problems] == [variable]
    assert words in problems[0].line()
    assert problems[0].fix


@pytest.mark.parametrize(("changes", "variable", "words"), ONE_PROBLEM, ids=_id)
def test_no_message_shows_a_secret(changes: dict[str, t.Any], variable: str, words: str) -> None:
    lines = " ".join(problem.line() for problem in problems_of(changes))

    assert [secret for secret in ALL_SECRETS if secret in lines] == []


@pytest.mark.parametrize(
    ("changes", "secret"),
    [
        ({"airflow_databse": {"password": "hunter2-hunter2"}}, "hunter2"),
        ({"airflow_database": "postgresql://u:hunter2@h/d"}, "hunter2"),
        ({"airflow_database.pasword": "hunter2-hunter2"}, "hunter2"),
        ({"airflow_database.password": ["hunter2"]}, "hunter2"),
        ({"airflow_database.host": "u:hunter2@h"}, "hunter2"),
        ({"airflow_database.password": "hunter2\n"}, "hunter2"),
        ({"airflow_keys.fernet": "hunter2"}, "hunter2"),
        ({"airflow_public_url": "https://u:hunter2@example.com"}, "hunter2"),
        ({"airflow_config": {"core": {"fernet_key": "hunter2"}}}, "hunter2"),
        ({"airflow_config": {"core": {"parallelism": ["hunter2"]}}}, "hunter2"),
        ({"airflow_config": {"core": "hunter2"}}, "hunter2"),
        ({"airflow_broker.ca_certificate": "hunter2"}, "hunter2"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown_either(changes: dict[str, t.Any], secret: str) -> None:
    problems = problems_of(changes)

    assert problems != []
    assert secret not in " ".join(problem.line() for problem in problems)


def test_all_problems_are_found_in_one_pass_in_the_order_of_the_spec() -> None:
    problems = problems_of(
        {
            "airflow_config": {"core": {"executor": "LocalExecutor"}},
            "airflow_workers.0.queues": [],
            "airflow_keys.jwt": "short",
            "airflow_broker.type": "kafka",
            "airflow_database.host": REMOVED,
            "airflow_environment": "UPPER",
            "airflow_nonsense": 1,
        }
    )

    assert [problem.variable for problem in problems] == [
        "airflow_nonsense",
        "airflow_environment",
        "airflow_database.host",
        "airflow_broker.type",
        "airflow_keys.jwt",
        "airflow_workers[0].queues",
        "airflow_config.core.executor",
    ]


def test_nothing_set_at_all_names_every_required_variable() -> None:
    _, problems = parse({}, OPTIONS)

    assert {problem.variable for problem in problems} == {
        name for name, option in OPTIONS.items() if option.get("required")
    }


def test_variables_of_other_roles_are_not_looked_into() -> None:
    assert problems_of({"airflow_image": 42, "airflow_swarm_timeout": "forever"}) == []


def test_a_renamed_variable_is_refused_with_what_to_do_now() -> None:
    renamed = {"airflow_executor": "Remove it; the CeleryExecutor is the only one"}

    _, problems = parse(changed({"airflow_executor": "x"}), OPTIONS, (), renamed)

    assert [problem.line() for problem in problems] == [
        "airflow_executor (set, 1 characters): this variable is gone. Remove it; the CeleryExecutor is the only one."
    ]


@pytest.mark.parametrize("variables", [MINIMAL, PRODUCTION])
def test_good_variables_have_no_problems(variables: dict[str, t.Any]) -> None:
    assert problems_of({}, variables) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"airflow_keys.fernet": "B" * 42 + "A=," + "C" * 42 + "A="},
        {"airflow_broker": RABBITMQ},
        {"airflow_components.scheduler.replicas": 5},
        {"airflow_components.scheduler.memory_mb": 0, "airflow_components.scheduler.memory_reservation_mb": 4096},
        {"airflow_public_url": "http://[fd00::1]:8080/a/b-c"},
        {"airflow_database.host": "fd00::1"},
        {"airflow_workers": [WORKER, {"name": "more", "queues": ["default"]}]},
        {"airflow_workers": [OTHER], "airflow_config": {"operators": {"default_queue": "other"}}},
        {"airflow_workers.0.constraints": ["node.labels.team == a", "engine.labels.disk!=slow"]},
        {"airflow_config": {"my_plugin": {"anything": "x"}, "core": {"something_new_entirely": 1}}},
        {"airflow_config": {"email": {"html_content_template": "line one\nline two"}}},
        {"airflow_bundles": [{"name": "ab"}, {"name": "abc"}]},
        {"airflow_database.ca_certificate": CERTIFICATE.format(""), "airflow_database.sslmode": "require"},
    ],
)
def test_unusual_but_good_variables_have_no_problems(changes: dict[str, t.Any]) -> None:
    assert problems_of(changes) == []
