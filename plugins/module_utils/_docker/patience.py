# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bear that nobody answers for a while, for example because managers elect a leader.

PRIVATE to the collection.
"""

from __future__ import annotations

import time
import typing as t

from .engine import EngineError, EngineUnreachable

#: Seconds for which nobody may answer.
PATIENCE = 60.0
Found = t.TypeVar("Found")


def patient(look: t.Callable[[], Found], *, now: t.Callable[[], float] | None = None) -> t.Callable[[], Found | None]:
    """The same look, which finds nothing while nobody answers, for :data:`PATIENCE` seconds in a row.

    An answer that says no (a status below 500) is raised at once: it would be the same a minute later.
    """
    since: list[float] = []
    clock = now or time.monotonic

    def looking() -> Found | None:
        try:
            found = look()
        except (EngineError, EngineUnreachable) as error:
            lasting = isinstance(error, EngineError) and error.status < 500
            since.append(clock())
            if lasting or since[-1] - since[0] >= PATIENCE:
                raise
            return None
        since.clear()
        return found

    return looking
