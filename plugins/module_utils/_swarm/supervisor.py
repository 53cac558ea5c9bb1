# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop a host's Docker Engine and start it again.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem

#: The socket would start the engine again for whoever asks something meanwhile, so it goes first.
UNITS = ("docker.socket", "docker.service")

Run = t.Callable[[t.Sequence[str]], "tuple[int, str, str]"]


class Supervisor(t.Protocol):
    """What keeps an engine running."""

    def stop(self) -> None: ...

    def start(self) -> None: ...


class Systemd:
    """The engine as a service of systemd.

    Args:
        run: runs a command; returns its exit status, output and errors.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def check(self) -> None:
        """Find out whether this host's engine is a service of systemd.

        Raises:
            SwarmProblem: it is not.
        """
        if not self._loaded():
            raise SwarmProblem(
                "The engine of this host is no service of systemd, so it cannot be stopped and started from here."
            )

    def stop(self) -> None:
        """Stop the engine, and whatever would start it again.

        Raises:
            SwarmProblem: with systemd's words.
        """
        self._systemctl("stop", *self._loaded())
        if self._run(["systemctl", "is-active", "--quiet", UNITS[-1]])[0] == 0:
            raise SwarmProblem("The engine was stopped and is running again. Something else on this host starts it.")

    def start(self) -> None:
        """Start the engine.

        Raises:
            SwarmProblem: with systemd's words.
        """
        # A unit that failed a few times in a row would be refused.
        self._run(["systemctl", "reset-failed", *self._loaded()])
        self._systemctl("start", *self._loaded())

    def _loaded(self) -> list[str]:
        found = []
        for unit in UNITS:
            status, output, _errors = self._run(["systemctl", "show", "--property=LoadState", "--value", unit])
            if status == 0 and output.strip() == "loaded":
                found.append(unit)
        return found if UNITS[-1] in found else []

    def _systemctl(self, verb: str, *units: str) -> None:
        status, _output, errors = self._run(["systemctl", verb, *units])
        if status != 0:
            raise SwarmProblem(
                f"systemctl {verb} {' '.join(units)} failed: {errors.strip()} `journalctl -u docker` says more."
            )
