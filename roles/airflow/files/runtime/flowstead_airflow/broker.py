# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask this container's own Celery worker which queues it consumes, without importing Airflow or Celery.

The question goes over the broker, as ``celery inspect active_queues --destination`` sends it, because a worker
whose connection has died still lives as a process. kombu's mailbox is the part of Celery that carries it.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import typing as t
from urllib.parse import urlsplit

from flowstead_airflow import settings

#: Seconds to wait for the worker's answer.
TIMEOUT = 5.0
_OPTIONS = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__"


def node_name(hostname: str | None = None) -> str:
    """The worker's name: Celery's default, since ``airflow celery worker`` sets none.

    Source: celery.utils.nodenames.default_nodename (celery 5.6), ``celery@`` and the host's name.
    """
    return f"celery@{hostname or socket.gethostname()}"


def transport_security(url: str, environ: t.Mapping[str, str] | None = None) -> dict[str, t.Any] | None:
    """kombu's ``ssl`` argument from the settings ``[celery] ssl_*``; None when TLS is off.

    Source: get_default_celery_config in apache-airflow-providers-celery 3.26.
    """
    if not settings.boolean("AIRFLOW__CELERY__SSL_ACTIVE", False, environ):
        return None
    prefix = "" if urlsplit(url).scheme.startswith("amqp") else "ssl_"
    found: dict[str, t.Any] = {f"{prefix}cert_reqs": ssl.CERT_REQUIRED}
    authority = settings.text("AIRFLOW__CELERY__SSL_CACERT", "", environ)
    if authority:
        found[f"{prefix}ca_certs"] = authority
    if settings.boolean("AIRFLOW__CELERY__SSL_MUTUAL_TLS", True, environ):
        found[f"{prefix}keyfile"] = settings.text("AIRFLOW__CELERY__SSL_KEY", None, environ)
        found[f"{prefix}certfile"] = settings.text("AIRFLOW__CELERY__SSL_CERT", None, environ)
    return found


def transport_options(url: str, environ: t.Mapping[str, str] | None = None) -> dict[str, t.Any]:
    """kombu's ``transport_options`` from the section ``[celery_broker_transport_options]`` of the environment.

    Values are read as Airflow reads them: JSON for dictionaries, numbers and booleans as what they are, else text.
    """
    found: dict[str, t.Any] = {}
    for name, value in (os.environ if environ is None else environ).items():
        if name.startswith(_OPTIONS) and not name.endswith(("_CMD", "_SECRET")):
            found[name[len(_OPTIONS) :].lower()] = _literal(value)
    if urlsplit(url).scheme.startswith("redis"):
        found.setdefault("socket_connect_timeout", TIMEOUT)
        found.setdefault("socket_timeout", TIMEOUT)
    return found


def _literal(value: str) -> t.Any:
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, (dict, int, float)) else value


def consumed_queues(node: str) -> list[str] | None:
    """The queues that ``node`` consumes now; None when it does not answer within :data:`TIMEOUT`.

    Raises:
        Exception: whatever kombu raises when the broker cannot be used.
    """
    from kombu import Connection  # noqa: PLC0415 - present in the image only
    from kombu.pidbox import Mailbox  # noqa: PLC0415

    url = settings.secret("broker_url")
    security = transport_security(url) or False
    options = transport_options(url)
    with Connection(url, ssl=security, connect_timeout=TIMEOUT, transport_options=options) as link:
        link.ensure_connection(max_retries=1, timeout=TIMEOUT)
        mailbox = Mailbox("celery", type="fanout", accept=["json"], serializer="json")(link)
        replies = mailbox.call([node], "active_queues", timeout=TIMEOUT)
    for reply in replies or []:
        if isinstance(reply.get(node), list):
            return [str(queue["name"]) for queue in reply[node]]
    return None
