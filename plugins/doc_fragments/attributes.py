# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of the collection states about itself.

A module writes::

    extends_documentation_fragment:
      - flowstead.airflow.attributes            # always
      - flowstead.airflow.attributes.swarm      # member of the action group flowstead.airflow.swarm
      - flowstead.airflow.attributes.engine     # member of the action group flowstead.airflow.engine
      - flowstead.airflow.attributes.firewall   # member of the action group flowstead.airflow.firewall
      - flowstead.airflow.attributes.airflow    # member of the action group flowstead.airflow.airflow
      - flowstead.airflow.attributes.action     # has an action plugin beside it
    attributes:
      check_mode:
        support: full
      diff_mode:
        support: full
      idempotent:
        support: full
      action:                                   # only with .action
        support: partial
        details: [The module runs on the target in slices, the progress is printed on the controller.]

C(platform) and the membership in an action group come complete from here.
"""

from __future__ import annotations


class ModuleDocFragment:
    """Sections are class attributes; C(DOCUMENTATION) is the one without a name."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that the system controlled or queried by the module has not changed in a relevant way.
  platform:
    description: Target operating systems and families that can be operated against.
    support: full
    platforms: posix
"""

    #: For modules whose name is also that of an action plugin.
    ACTION = r"""
options: {}
attributes:
  action:
    description: Has a corresponding action plugin, so some parts of it run on the controller.
"""

    #: For members of the action group C(flowstead.airflow.swarm) in meta/runtime.yml.
    SWARM = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/flowstead.airflow.swarm) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - flowstead.airflow.swarm
"""

    #: For members of the action group C(flowstead.airflow.engine) in meta/runtime.yml.
    ENGINE = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/flowstead.airflow.engine) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - flowstead.airflow.engine
"""

    #: For members of the action group C(flowstead.airflow.firewall) in meta/runtime.yml.
    FIREWALL = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/flowstead.airflow.firewall) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - flowstead.airflow.firewall
"""

    #: For members of the action group C(flowstead.airflow.airflow) in meta/runtime.yml.
    AIRFLOW = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/flowstead.airflow.airflow) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - flowstead.airflow.airflow
"""
