# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AnsibleModule of modules that take logins of registries.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule

from .redact import redacted_params, secret_values


class StackModule(AnsibleModule):
    """An AnsibleModule that shows neither the content of secrets nor passwords, wherever it shows parameters."""

    params: dict[str, t.Any]

    def _log_invocation(self) -> None:
        params = self.params
        self.no_log_values.update(secret_values(params))
        self.params = redacted_params(params)
        try:
            super()._log_invocation()
        finally:
            self.params = params

    def _return_formatted(self, kwargs: dict[str, t.Any]) -> None:
        kwargs["invocation"] = {"module_args": redacted_params(self.params)}
        super()._return_formatted(kwargs)
