# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a job printed, once it has ended.

PRIVATE to the collection.

Source: Engine API 1.41, ``GET /services/{id}/logs``.
"""

from __future__ import annotations

import time
import typing as t

from .engine import Engine, EngineError, EngineUnreachable
from .streams import Printed, separate

#: Seconds between two looks, until the log of a finished job has to be complete, and for which an empty one is not
#: believed.
PAUSE_SECONDS = 0.5
LOG_SECONDS = 15.0
EMPTY_SECONDS = 2.0


def read(
    engine: Engine,
    service_id: str,
    complete: t.Callable[[list[str]], bool] | None = None,
    *,
    now: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
) -> Printed:
    """What a job printed. Logs may come a little later than its end.

    Args:
        complete: whether these lines are all that is waited for; then only standard output is read. Without it,
            two looks have to find the same, and what cannot be read is told in ``lost``.
        now: monotonic clock in seconds.
        sleep: waits for seconds.

    Raises:
        EngineError, EngineUnreachable: only with ``complete``.
    """
    began = now()
    before: Printed | None = None
    while True:
        try:
            printed = _look(engine, service_id, "1" if complete is None else "0")
        except (EngineError, EngineUnreachable) as error:
            if complete is not None:
                raise
            printed = Printed([], [], str(error))
        waited = now() - began
        if complete is not None:
            done = complete(printed.stdout)
        else:
            anything = bool(printed.stdout or printed.stderr)
            done = printed == before and not printed.lost and (anything or waited >= EMPTY_SECONDS)
        if done or waited >= LOG_SECONDS:
            return printed
        before = printed
        sleep(PAUSE_SECONDS)


def _look(engine: Engine, service_id: str, stderr: str) -> Printed:
    return separate(engine.get_raw(f"/services/{service_id}/logs", {"stdout": "1", "stderr": stderr}))
