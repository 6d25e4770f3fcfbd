"""The lines at which the tables and members of a TOML document stand, which `tomllib` leaves out.

The document is known to be valid, so that only the ends of strings and brackets have to be found.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

Path = tuple[str, ...]
"""The names of a table or a member, from the document's top."""

_BARE: Final = r"[A-Za-z0-9_-]+"
_QUOTED: Final = r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'"
_PART: Final = rf"(?:{_BARE}|{_QUOTED})"
_KEY: Final = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER: Final = re.compile(rf"[ \t]*\[\[?[ \t]*({_KEY})[ \t]*\]")
_MEMBER: Final = re.compile(rf"[ \t]*({_KEY})[ \t]*=")
_PARTS: Final = re.compile(_PART)
# What begins or ends a string, a comment or a nesting, the longest first.
_MARKS: Final = re.compile(r"\"\"\"|'''|[\"'#\[\]{}\n]")
_ENDS: Final[Mapping[str, re.Pattern[str]]] = {
    '"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*"""(?:"{0,2})', re.DOTALL),
    "'''": re.compile(r"(?:[^']|'(?!''))*'''(?:'{0,2})", re.DOTALL),
    '"': re.compile(r'(?:[^"\\\n]|\\.)*"'),
    "'": re.compile(r"[^'\n]*'"),
}


class Lines:
    """The line numbers of a valid document, counted from 1."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        table: Path = ()
        for number, line in _statements(text):
            header = _HEADER.match(line)
            if header is not None:
                table = _names(header[1])
                for length in range(1, len(table) + 1):
                    self._lines.setdefault(table[:length], number)
                continue
            member = _MEMBER.match(line)
            if member is not None:
                names = _names(member[1])
                for length in range(1, len(names) + 1):
                    self._lines.setdefault((*table, *names[:length]), number)

    def of(self, path: Sequence[str]) -> int:
        """Return the line of a table or member; of what stands inline, that of its container."""
        for length in range(len(path), 0, -1):
            found = self._lines.get(tuple(path[:length]))
            if found is not None:
                return found
        return 1


def _names(key: str) -> Path:
    """Return the names of a dotted key."""
    return tuple(_name(part) for part in _PARTS.findall(key))


def _name(part: str) -> str:
    if part.startswith("'"):
        return part[1:-1]
    if part.startswith('"'):
        # Its escapes are those of a value.
        return str(tomllib.loads(f"name = {part}")["name"])
    return part


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that begins outside of strings and brackets."""
    number, start, depth = 1, 0, 0
    at, begun = 0, 1
    while found := _MARKS.search(text, at):
        mark, at = found[0], found.end()
        if mark in _ENDS:
            closing = _ENDS[mark].match(text, at)
            at = len(text) if closing is None else closing.end()
            number += text.count("\n", found.end(), at)
        elif mark == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif mark == "\n":
            number += 1
            if not depth:
                yield begun, text[start : found.start()]
                start, begun = at, number
        else:
            depth += 1 if mark in "[{" else -1
    yield begun, text[start:]
