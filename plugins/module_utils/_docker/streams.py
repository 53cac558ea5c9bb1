# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container printed, out of the engine's log stream.

PRIVATE to the collection.

Source: Engine API, "Stream format": without a terminal, each piece has a header of 8 bytes, whose first says which
stream it is; moby api/pkg/stdcopy for stream 3, in which the engine tells what it could not read.
"""

from __future__ import annotations

import typing as t

STDOUT, STDERR, ENGINE = 1, 2, 3


class Printed(t.NamedTuple):
    """What was printed, in lines as they are, empty ones too; and why a part may be missing."""

    stdout: list[str]
    stderr: list[str]
    lost: str = ""


def frames(stream: bytes) -> t.Iterator[tuple[int, bytes]]:
    """Stream and content of each piece; what has no header, as with a terminal, counts as standard output."""
    position = 0
    while position < len(stream):
        header = stream[position : position + 8]
        if len(header) < 8 or header[0] > ENGINE or header[1:4] != b"\0\0\0":
            yield STDOUT, stream[position:]
            return
        length = int.from_bytes(header[4:8], "big")
        yield header[0], stream[position + 8 : position + 8 + length]
        position += 8 + length


def demultiplex(stream: bytes) -> list[str]:
    """Lines of both streams in the order in which they were ended; empty ones are left out.

    The engine's own errors are left out, too: a task that never ran has no log.
    """
    pieces: dict[int, bytes] = {}
    lines: list[bytes] = []
    for channel, content in frames(stream):
        if channel == ENGINE:
            continue
        piece = pieces.pop(channel, b"") + content
        whole, newline, rest = piece.rpartition(b"\n")
        if newline:
            lines += whole.split(b"\n")
        pieces[channel] = rest
    lines += [rest for rest in pieces.values() if rest]
    return [line for line in map(_text, lines) if line.strip()]


def separate(stream: bytes) -> Printed:
    """Standard output and standard error apart, and the engine's own word about what it could not read."""
    parts = {STDOUT: b"", STDERR: b"", ENGINE: b""}
    for channel, content in frames(stream):
        parts[channel or STDOUT] += content
    return Printed(_lines(parts[STDOUT]), _lines(parts[STDERR]), " ".join(_lines(parts[ENGINE])).strip())


def _lines(content: bytes) -> list[str]:
    lines = content.split(b"\n")
    return [_text(line) for line in (lines if lines[-1] else lines[:-1])]


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")
