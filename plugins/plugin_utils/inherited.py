# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Import the collection's filters where every worker of Ansible inherits them.

Ansible forks a process for each task on each host. A process that meets one of a collection's filters imports all of
them, and what they lean on: a third of all that a controller did in a run with nothing to do. The linear and the free
strategy import a task's action plugin before they fork, so an action plugin that imports this module pays once for all.

Source: ``ansible/plugins/strategy/linear.py`` and ``Jinja2Loader.get_with_context`` of ansible-core.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

_PACKAGE = "ansible_collections.flowstead.airflow.plugins.filter"

for _module in pkgutil.iter_modules([str(Path(__file__).parents[1] / "filter")]):
    importlib.import_module(f"{_PACKAGE}.{_module.name}")
