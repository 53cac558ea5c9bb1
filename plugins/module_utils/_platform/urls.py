# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection URLs with every part percent-encoded.

PRIVATE to the collection.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from .places import ca_path
from .platform import Broker, Postgres

#: The authorities that Debian's package ca-certificates installs, in the image.
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"

#: libpq parameters (PostgreSQL documentation, 34.1.2): a connection that a firewall or IPVS (900 s) has
#: forgotten is found and replaced within two minutes, also when a query was on its way.
_KEEPALIVE = {
    "connect_timeout": "10",
    "keepalives": "1",
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "5",
    "tcp_user_timeout": "110000",
}


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _login(user: str | None, password: str) -> str:
    return f"{quote(user or '', safe='')}:{quote(password, safe='')}"


def postgres_url(server: Postgres, ca_name: str) -> str:
    """SQLAlchemy's URL for psycopg 3, which serves synchronous and asynchronous engines alike.

    Airflow would derive a URL for asyncpg from it, and asyncpg does not know libpq's TLS parameters
    (airflow/settings.py 3.3.2, ``_get_async_conn_uri_from_sync``): the same URL therefore goes into
    ``sql_alchemy_conn_async`` as well.

    Args:
        server: the database.
        ca_name: name of the config with its authority's certificates, for example ``database_ca``.
    """
    query = {"sslmode": server.sslmode, **_KEEPALIVE}
    if server.sslmode != "disable" and server.ca_certificate:
        query["sslrootcert"] = ca_path(ca_name)
    elif server.sslmode.startswith("verify-"):
        query["sslrootcert"] = SYSTEM_CA
    login, address = _login(server.user, server.password), _address(server.host, server.port)
    return f"postgresql+psycopg://{login}@{address}/{quote(server.name, safe='')}?{urlencode(query, safe='/')}"


def broker_url(broker: Broker) -> str:
    """Celery's URL of the broker. TLS is configured by Airflow's [celery] ssl_* options."""
    login, address = _login(broker.user, broker.password), _address(broker.host, broker.port)
    if broker.type == "redis":
        return f"{'rediss' if broker.tls else 'redis'}://{login}@{address}/{broker.database}"
    return f"{'amqps' if broker.tls else 'amqp'}://{login}@{address}/{quote(broker.virtual_host, safe='')}"
