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
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import accumulate
from json.encoder import encode_basestring_ascii as _quoted

try:
    # A tenth of zlib's time, which is a third of what making events takes.
    from isal.isal_zlib import compressobj
except ImportError:  # an image that is not made from the collection's lock
    from zlib import compressobj

#: Bytes of a line that are sent; with its data an event has to fit into one request, also when each byte takes six.
LINE_LIMIT = 120_000
_BEGIN = '{"timestamp":"'
_TIME = '{"time":'
#: The end of a text of lines that are JSON, quoted.
_END = _quoted("}\n")[1:]
#: Bytes of a file that are read and packed at a time: enough for few calls, little enough for a processor's cache, and
#: less than :data:`LINE_LIMIT`.
_READ = 16 * 1024
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True)
class Batch:
    """Events of one file, from ``begin`` to ``end``.

    Attributes:
        packed: the request's content, by gzip: events one after the other, each one a JSON object and a line's end.
        offsets: of their lines, and ``end``.
        cut: lines longer than :data:`LINE_LIMIT`, of which only the begin is sent.
        full: it ends where it does because of the limit, and not because there was nothing more.
    """

    packed: bytes
    offsets: list[int]
    cut: int = 0
    full: bool = False

    @property
    def count(self) -> int:
        """How many events."""
        return len(self.offsets) - 1

    @property
    def begin(self) -> int:
        return self.offsets[0]

    @property
    def end(self) -> int:
        return self.offsets[-1]

    def part(self, first: int, last: int) -> Batch:
        """The events from ``first`` up to before ``last``."""
        packer = _packer()
        packed = packer.compress(b"".join(self.text().splitlines(keepends=True)[first:last]))
        return Batch(packed + packer.flush(), self.offsets[first : last + 1])

    def text(self) -> bytes:
        """All events, as they were before they were packed."""
        return zlib.decompress(self.packed, _GZIP)


class _Growing:
    """A batch in the making. An event is in memory only until it is packed, so the limit may be large."""

    def __init__(self, begin: int, limit: int) -> None:
        self._packer = _packer()
        self._parts: list[bytes] = []
        self.offsets = [begin]
        self.room = limit
        self.cut = 0
        self.full = False

    def add(self, text: str) -> None:
        """Add events; their offsets are the caller's."""
        self.room -= len(text)
        self._parts.append(self._packer.compress(text.encode("ascii")))

    def fits(self, text: str) -> bool:
        """Whether there is room for this event; one event is in a batch in any case."""
        self.full = len(text) > self.room and len(self.offsets) > 1
        return not self.full

    def done(self) -> Batch:
        """The batch."""
        return Batch(b"".join((*self._parts, self._packer.flush())), self.offsets, self.cut, self.full)


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
        envelope_text, fields_text = (
            json.dumps(one, separators=(",", ":"))[1:-1] for one in (envelope, {**fields, "segment": segment})
        )
        self._middle = f',{envelope_text},"fields":{{{fields_text},"offset":'
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
        batch = _Growing(begin, limit)
        while True:
            place, room = batch.offsets[-1], batch.room
            chunk = os.pread(log, _READ, place)
            lines = chunk.split(b"\n")
            rest = lines.pop()
            more = len(chunk) == _READ
            if more and not lines:
                goes_on = self._long_line(log, batch, final)
            elif final and rest and not more:
                goes_on = self._each([*lines, rest], place + len(chunk), batch)
            else:
                goes_on = self._alike(chunk, lines, batch) or self._each(lines, place + len(chunk), batch)
            if goes_on and more and batch.room < room - batch.room:
                # Another chunk like this one would not fit, and to find out how much of it would is not worth the work.
                batch.full = True
            if not goes_on or not more or batch.full:
                return batch.done()

    def _alike(self, chunk: bytes, lines: list[bytes], batch: _Growing) -> bool:
        """As :meth:`_each`, in less than half the time; False when it cannot.

        It can when all lines fit and are as Airflow writes nearly all of them: JSON that begins with a time in UTC,
        with microseconds.
        """
        second = chunk[: len(_BEGIN) + 20].decode("ascii", "replace")
        epoch = int(moment(f'{second[:-1]}Z"')) if second.endswith(".") else 0
        if not epoch or not lines:
            return False
        try:
            quoted = _quoted(chunk[: chunk.rfind(b"\n") + 1].decode())
        except UnicodeDecodeError:
            return False
        # A line's end is a backslash and an n here, right after a bracket. A backslash of the line itself is doubled.
        second = _quoted(second)[1:-1]
        tails = quoted[1 + len(second) : -len(_END)].split(_END[:-1] + second)
        micros = "".join([tail[:7] for tail in tails])
        digits = micros.replace("Z", "")
        count = len(lines)
        if not quoted.endswith(_END) or micros[6::7] != "Z" * count or len(digits) != 6 * count or not digits.isdigit():
            return False
        offsets = list(accumulate([len(line) + 1 for line in lines], initial=batch.offsets[-1]))
        first, middle, between, last = f"{_TIME}{epoch}.", self._middle, f'}},"event":"{second}', '}"}\n'
        parts = [f"{first}{tail[:6]}{middle}{offset}{between}{tail}{last}" for tail, offset in zip(tails, offsets)]
        text = "".join(parts)
        if len(text) > batch.room:
            return False
        batch.add(text)
        batch.offsets += offsets[1:]
        self._last = f"{epoch}.{tails[-1][:6]}"
        return True

    def _each(self, lines: list[bytes], end: int, batch: _Growing) -> bool:
        """Add lines one by one, the last of which may lack its end at ``end``; whether all of them did fit."""
        place = batch.offsets[-1]
        for line in lines:
            length = len(line)
            following = min(place + length + 1, end)
            if line and not line.isspace():
                event = self._event(line, place, length)
                if not batch.fits(event):
                    break
                batch.add(event)
                batch.offsets.append(following)
            else:
                # Splunk refuses a blank event.
                batch.offsets[-1] = following
            place = following
        return not batch.full

    def _long_line(self, log: int, batch: _Growing, final: bool) -> bool:
        """Add a line that is longer than a whole chunk, or one without end; whether there was one and it did fit."""
        begin = place = batch.offsets[-1]
        while True:
            more = os.pread(log, 1 << 20, place)
            end = more.find(b"\n")
            place += len(more) if end < 0 else end
            if end >= 0 or not more:
                break
        if end < 0 and not final:
            return False
        length = place - begin
        event = self._event(os.pread(log, min(length, LINE_LIMIT), begin), begin, length)
        if not batch.fits(event):
            return False
        batch.add(event)
        batch.offsets.append(place + (end >= 0))
        batch.cut += length > LINE_LIMIT
        return True

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
        return f'{_TIME}{self._last}{self._middle}{offset}}},"event":{_quoted(text)}}}\n'


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


def _packer() -> t.Any:
    """Of gzip. What repeats in events is never far away, so it does with little memory, and zlib is quicker for it."""
    return compressobj(1, zlib.DEFLATED, _GZIP, 5)


def segment_of(log: int) -> int:
    """Microseconds since 1970 of an open file's first line; of its last change when the line has no time."""
    first = os.pread(log, 256, 0).decode("utf-8", "replace")
    return int((moment(first) or os.fstat(log).st_mtime) * 1e6)
