# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the platform runs inside Airflow: probes, host address, administrator, canary DAGs, DAG releases, task logs.

Every module imports nothing but the standard library at import time; what belongs to Airflow is
imported where it is used. The exceptions are ``releases``, because Airflow demands a subclass of its own class, and
``task_logs.logging_config``, which only Airflow imports.
"""

from __future__ import annotations

__version__ = "0.1.0"
