# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be seen of a secret that nobody should use.

PRIVATE to the collection. Pure.
"""

from __future__ import annotations

import re

_PLACEHOLDERS = re.compile(
    r"<.*>|\{\{.*\}\}|(change|replace|fill|fix|insert|your)[-_ ]*(me|it|in|this|here|password|secret|key).*"
    r"|password|passwort|secret|todo|tbd|fixme|placeholder|dummy|example|airflow|x{3,}|\*{3,}|\.{3,}",
    re.IGNORECASE,
)
_NEW_KEY = "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"


def secret_problem(value: str, shortest: int | None) -> tuple[str, str]:
    """What is wrong with a secret, and the fix; empty texts when nothing is. shortest is in characters."""
    fix = f"Make one with: {_NEW_KEY}"
    if not value:
        return "it is empty", "Set it, in a vault or by a lookup"
    if value != value.strip():
        return "white space or a newline stands at its beginning or end", "Remove that; in a lookup, add | trim"
    if not value.isprintable():
        return "it holds a newline or another control character", "Write it on one line"
    if _PLACEHOLDERS.fullmatch(value):
        return "this is a placeholder, no secret", fix
    if shortest is not None and len(value) < shortest:
        return f"it has fewer than {shortest} characters", fix
    return "", ""
