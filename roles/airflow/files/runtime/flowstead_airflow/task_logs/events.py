# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a log file as events for Splunk.

Each event is the line as it stands in the file, as text: what Splunk gives back as ``_raw`` is what Airflow's reader
would have found in the file, and no line is one that Splunk cannot parse. Two indexed fields order the lines and tell
a line that came twice:

    segment   microseconds since 1970 of the file's first line. An attempt has several files when its task was
              deferred and went on elsewhere.
    offset    of the line's first byte in its file
"""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import dataclass
from datetime import datetime, timezone
from json.encoder import encode_basestring_ascii as _quoted

#: Bytes of a line that are sent; with its data an event has to fit into one request, also when each byte takes six.
LINE_LIMIT = 120_000
_BEGIN = '{"timestamp":"'


@dataclass(frozen=True)
class Batch:
    """Events of one file, from ``begin`` to ``end``.

    Attributes:
        events: each one a JSON object, in the file's order.
        offsets: of their lines, and ``end``.
        cut: lines longer than :data:`LINE_LIMIT`, of which only the begin is sent.
    """

    events: list[str]
    offsets: list[int]
    cut: int = 0

    @property
    def begin(self) -> int:
        return self.offsets[0]

    @property
    def end(self) -> int:
        return self.offsets[-1]

    def part(self, first: int, last: int) -> Batch:
        """The events from ``first`` up to before ``last``."""
        return Batch(self.events[first:last], self.offsets[first : last + 1])

    def body(self) -> bytes:
        """The request's content: events one after the other."""
        return "\n".join(self.events).encode("ascii")


class Encoder:
    """Makes events of one file's lines.

    Args:
        source, host, index, sourcetype: of all events.
        fields: of all events; flat.
        segment: of the file, :func:`segment_of`.
    """

    def __init__(
        self, *, source: str, host: str, index: str, sourcetype: str, fields: t.Mapping[str, str | int], segment: int
    ) -> None:
        envelope = {"host": host, "source": source, "sourcetype": sourcetype, "index": index}
        every = json.dumps({**fields, "segment": segment})
        self._middle = f',{json.dumps(envelope)[1:-1]},"fields":{every[:-1]},"offset":'
        self._last = f"{segment / 1e6:.6f}"
        self._second = self._epoch = ""

    def read(self, log: int, begin: int, limit: int, final: bool = False) -> Batch:
        """A batch from ``begin`` on; without events when there is no whole line.

        Args:
            log: descriptor of the file.
            begin: offset.
            limit: bytes of the request's content; one event is in the batch in any case.
            final: also a last line without its end, as a process leaves it that died while it wrote.
        """
        chunk = os.pread(log, limit, begin)
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if not lines and len(chunk) == limit:
            return self._long_line(log, begin, final)
        events: list[str] = []
        offsets = [begin]
        size = cut = 0
        place = begin
        for line in lines:
            length = len(line)
            if line and not line.isspace():
                event = self._event(line, place, length)
                size += len(event) + 1
                if size > limit and events:
                    return Batch(events, offsets, cut)
                events.append(event)
                offsets.append(place + length + 1)
                cut += length > LINE_LIMIT
            else:
                # Splunk refuses a blank event.
                offsets[-1] = place + length + 1
            place += length + 1
        if final and rest and len(chunk) < limit:
            if rest.isspace():
                offsets[-1] += len(rest)
            else:
                events.append(self._event(rest, place, len(rest)))
                offsets.append(place + len(rest))
        return Batch(events, offsets, cut)

    def _long_line(self, log: int, begin: int, final: bool) -> Batch:
        """A line that is longer than a whole batch, or one without end."""
        place = begin
        while True:
            more = os.pread(log, 1 << 20, place)
            end = more.find(b"\n")
            place += len(more) if end < 0 else end
            if end >= 0 or not more:
                break
        if end < 0 and not final:
            return Batch([], [begin])
        length = place - begin
        event = self._event(os.pread(log, min(length, LINE_LIMIT), begin), begin, length)
        return Batch([event], [begin, place + (end >= 0)], int(length > LINE_LIMIT))

    def _event(self, line: bytes, offset: int, length: int) -> str:
        text = line[:LINE_LIMIT].decode("utf-8", "replace")
        if length > LINE_LIMIT:
            text += f" ... [cut here: the line has {length} bytes]"
        # Nearly all lines are of the same second as the one before, with microseconds, in UTC.
        fraction = text[34:40]
        if text[:34] == self._second and text[40:41] == "Z" and fraction.isascii() and fraction.isdigit():
            self._last = f"{self._epoch}.{fraction}"
        else:
            found = moment(text)
            if found:
                self._last = f"{found:.6f}"
                self._second, self._epoch = text[:34], str(int(found))
        return f'{{"time":{self._last}{self._middle}{offset}}},"event":{_quoted(text)}}}'


def moment(line: str) -> float:
    """Seconds since 1970 that a log line begins with; 0 when it does not begin with a time.

    Airflow's writer puts the timestamp first; a time without a zone is UTC. Source: structlog_processors,
    json_dumps, of Airflow 3.3.2.
    """
    if not line.startswith(_BEGIN):
        return 0.0
    text = line[len(_BEGIN) : line.find('"', len(_BEGIN))]
    try:
        # Python 3.10 does not read the Z.
        when = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def segment_of(log: int) -> int:
    """Microseconds since 1970 of an open file's first line; of its last change when the line has no time."""
    first = os.pread(log, 256, 0).decode("utf-8", "replace")
    return int((moment(first) or os.fstat(log).st_mtime) * 1e6)
