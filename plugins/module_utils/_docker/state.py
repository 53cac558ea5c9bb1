# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is asked for, and what it remembers between slices.

PRIVATE to the collection. The memory holds no secret's content: it travels through the controller.
"""

from __future__ import annotations

import base64
import json
import typing as t
import zlib

from .waiting import Limits, Memory


class Options(t.NamedTuple):
    """Parameters of one run; times are seconds."""

    name: str
    definition: dict[str, t.Any]
    object_key: str = ""
    resolve_image: str = "changed"
    registry_auth: t.Mapping[str, t.Mapping[str, str]] = {}
    prune: bool = True
    keep_objects: int = 2
    wait: bool = True
    timeout: float = 900.0
    limits: Limits = Limits()
    rollback: bool = True
    recreate: bool = False
    check: bool = False


class State:
    """The memory of one run.

    Attributes:
        phase: ``recreate``, ``deploy``, ``remove`` or ``rollback``.
        began: when the run began, in seconds of the monotonic clock (of this host, and of all its processes).
        rollback_began: when rolling back began.
        images: service -> image that was chosen for it.
        notes: things worth a warning.
        actions: what has been done, for the result.
        diff: text per object, before and after.
        touched: service -> its spec before this run wrote it (None: it did not exist), in order of writing.
        recreated: service -> why it is taken away and made anew, and its text for a diff.
        removed: those of them that are not there yet -> their spec from before, with networks by name.
        old_networks: network that is made anew -> the request that would make the old one, why, and its text.
        new_networks: those of them that are there already.
        memory: service -> what the last look at it left behind.
        statuses: service -> text last shown.
        failures: entries of the result.
        left_draining: services whose old tasks may finish their work after this run.
        tries: how often somebody else's write came between.
        calls, seconds: spent by earlier slices.
    """

    def __init__(self, began: float) -> None:
        self.phase = "deploy"
        self.began = began
        self.rollback_began = 0.0
        self.images: dict[str, str] = {}
        self.notes: list[str] = []
        self.actions: list[dict[str, str]] = []
        self.diff: list[dict[str, str]] = []
        self.touched: dict[str, dict[str, t.Any] | None] = {}
        self.recreated: dict[str, dict[str, str]] = {}
        self.removed: dict[str, dict[str, t.Any]] = {}
        self.old_networks: dict[str, dict[str, t.Any]] = {}
        self.new_networks: list[str] = []
        self.memory: dict[str, Memory] = {}
        self.statuses: dict[str, str] = {}
        self.failures: list[dict[str, t.Any]] = []
        self.left_draining: list[str] = []
        self.tries = 0
        self.slices = 0
        self.calls = 0
        self.seconds = 0.0

    def pack(self) -> str:
        """One line of text; it looks random, so that no masking of words can damage it."""
        data = {**vars(self), "memory": {name: list(memory) for name, memory in self.memory.items()}}
        return base64.b64encode(zlib.compress(json.dumps(data).encode())).decode()

    @classmethod
    def unpack(cls, text: str) -> State:
        """The state that ``pack`` wrote.

        Raises:
            ValueError: when the text is something else.
        """
        state = cls(0.0)
        try:
            data = json.loads(zlib.decompress(base64.b64decode(text)))
            vars(state).update(data)
            state.memory = {
                name: Memory(tuple(item[0]), tuple(item[1]), item[2], tuple(item[3]), item[4])
                for name, item in data["memory"].items()
            }
        except (ValueError, zlib.error, KeyError, TypeError, IndexError) as error:
            raise ValueError("the state of the run cannot be read") from error
        return state
