# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``[logging] logging_config_class = flowstead_airflow.task_logs.logging_config.LOGGING_CONFIG``.

Airflow looks in this module for REMOTE_TASK_LOG and DEFAULT_REMOTE_CONN_ID. It has to be this way: a scheme of its own
in ``remote_base_log_folder``, which providers may register, ends every command of Airflow 3.3.2 with "Incorrect remote
log configuration". So ``[logging] remote_logging`` stays False.

Wrong settings end each command that reads this module, with all that is wrong: a platform whose logs would go nowhere
must not start. A missing token or an unreachable Splunk ends nothing.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from airflow.config_templates.airflow_local_settings import BASE_LOG_FOLDER, DEFAULT_LOGGING_CONFIG
from airflow.configuration import conf

from flowstead_airflow.task_logs.remote import SplunkRemoteLogIO
from flowstead_airflow.task_logs.settings import load

_settings = load()

LOGGING_CONFIG: dict[str, t.Any] = DEFAULT_LOGGING_CONFIG
#: The archive's connection: Airflow's supervisor fetches it before it calls upload().
DEFAULT_REMOTE_CONN_ID: str | None = _settings.connection or None
REMOTE_TASK_LOG = SplunkRemoteLogIO(
    _settings,
    Path(BASE_LOG_FOLDER),
    (
        conf.getint("logging", "worker_log_server_port", fallback=8793),
        conf.getint("logging", "trigger_log_server_port", fallback=8794),
    ),
)
