r"""The corpus of raw bytes: one file for each case, written by hand.

A file is printable ASCII. Lines ``key: value`` are followed by sections, each of which begins with
a line ``--- name``. The lines of a section are its bytes in order. The end of a line in the file
does not count, so every line of the message ends with a visible ``\r\n``.

===================  =============================================================================
``\r \n \t \\``      carriage return, line feed, tab, backslash
``\xHH``             any byte; necessary for a blank at the end of a line
``@repeat N piece``  ``piece``, in this notation, N times
``@read``            the following bytes arrive in a separate read
``@close``           the sender closes with a FIN; only at the end
``@reset``           the sender resets the connection; only at the end
===================  =============================================================================

Every file states what it ``tries``, its ``source`` and the ``outcome``. Unknown text is an error.

**Requests** have a section ``client sends`` and, if anything is relayed, ``upstream gets``: the
exact bytes. The outcome is a list of responses in order and, last, the state of the connection:

* ``relayed`` (the upstream's response arrived), ``answered STATUS [CODE]`` (by the router itself),
  ``refused STATUS [CODE]`` (likewise, and closed: always last), ``continue`` (a 100), ``abandoned``
  (forwarded, and aborted when the client disconnected);
* ``kept`` (the next request on the connection is served), ``waiting`` (for the rest of this one),
  ``closed`` (by the router), ``left`` (by the client).

``twisted`` is the outcome over Twisted's own channel, and ``upstream gets over twisted`` the
upstream request there, if they differ. With ``platform: silent`` the upstream does not respond. A
file has one request and at most one response, unless ``requests`` states another number.

**Responses** have a section ``upstream sends`` and, except for failures, ``client gets``: the exact
body. With ``request: stream`` the client requests a stream. The outcome is one of

* ``answered STATUS``: the client gets a complete response; ``reused`` says whether the connection
  carries another request afterwards (``yes``, ``no``, or ``either`` if both are harmless);
* ``cut STATUS [with error event]``: the client gets a truncated response;
* ``failed STATUS CODE``: with one candidate the client gets this error of the router, with two the
  response of the second one.

``two`` is the outcome with a second candidate, if it differs. ``field`` is a line that the client's
head must have exactly once, ``absent`` the name of a field that it must not have; both may be
repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_ROOT = Path(__file__).parent
_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*\Z")
_KEY = re.compile(r"([a-z]+): (\S.*)\Z")
_REPEAT = re.compile(r"@repeat ([1-9][0-9]{0,6}) (.+)\Z")
_ESCAPE = re.compile(r"\\(?:([rnt\\])|x([0-9a-f]{2}))|\\")
_PLAIN = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}
_REPEATABLE = frozenset({"field", "absent"})
_LONG = 8192
_REQUIRED = frozenset({"tries", "source", "outcome"})


class CorpusError(Exception):
    """A file of the corpus that cannot be parsed; the message names it."""


class Ending(Enum):
    """What the sender does after its last byte."""

    NOTHING = "stays"
    CLOSE = "@close"
    RESET = "@reset"


@dataclass(frozen=True)
class Section:
    """Bytes, divided into reads."""

    reads: tuple[bytes, ...]
    ending: Ending

    @property
    def whole(self) -> bytes:
        """All bytes."""
        return b"".join(self.reads)


@dataclass(frozen=True)
class Case:
    """One file."""

    name: str
    facts: Mapping[str, tuple[str, ...]]
    sections: Mapping[str, Section]

    def fact(self, key: str, default: str = "") -> str:
        """Return the value of a key that occurs at most once."""
        return self.facts.get(key, (default,))[0]


@dataclass(frozen=True)
class Kind:
    """The permitted contents of the files in one folder. ``sends`` is the section to replay."""

    folder: str
    keys: frozenset[str]
    sends: str
    others: frozenset[str]

    def cases(self) -> list[Case]:
        """Return all cases of a folder by name."""
        paths = sorted((_ROOT / self.folder).iterdir())
        return [self.read(path.name, path.read_bytes()) for path in paths]

    def read(self, file_name: str, data: bytes) -> Case:
        """Parse one file, or raise a `CorpusError`."""
        name, dot, suffix = file_name.partition(".")
        where = f"{self.folder}/{file_name}"
        if not _NAME.match(name) or f"{dot}{suffix}" != ".case":
            raise CorpusError(f"{where}: not a name of a case")
        try:
            lines = _lines(data)
            facts = self._facts(lines)
            sections = self._sections(lines)
        except CorpusError as error:
            raise CorpusError(f"{where}: {error}") from None
        return Case(name, facts, sections)

    def _facts(self, lines: list[str]) -> dict[str, tuple[str, ...]]:
        facts: dict[str, tuple[str, ...]] = {}
        while lines and not lines[0].startswith("--- "):
            line = lines.pop(0)
            match = _KEY.match(line)
            if match is None or match[1] not in self.keys | _REQUIRED:
                raise CorpusError(f"not a fact: {line!r}")
            if match[1] in facts and match[1] not in _REPEATABLE:
                raise CorpusError(f"said twice: {match[1]}")
            facts[match[1]] = (*facts.get(match[1], ()), match[2])
        if missing := _REQUIRED - facts.keys():
            raise CorpusError(f"not said: {', '.join(sorted(missing))}")
        return facts

    def _sections(self, lines: list[str]) -> dict[str, Section]:
        sections: dict[str, Section] = {}
        while lines:
            name = lines.pop(0).removeprefix("--- ")
            if name in sections or name not in {self.sends, *self.others}:
                raise CorpusError(f"not a section, or one too many: {name!r}")
            own = []
            while lines and not lines[0].startswith("--- "):
                own.append(lines.pop(0))
            sections[name] = _section(own, sent=name == self.sends)
        if self.sends not in sections:
            raise CorpusError(f"without {self.sends!r}")
        return sections


REQUESTS = Kind(
    "requests",
    frozenset({"twisted", "platform", "requests"}),
    "client sends",
    frozenset({"upstream gets", "upstream gets over twisted"}),
)
RESPONSES = Kind(
    "responses",
    frozenset({"two", "request", "reused", "field", "absent"}),
    "upstream sends",
    frozenset({"client gets"}),
)


def small_reads(data: bytes) -> range:
    """Return where to cut ``data`` into single bytes, or long data into a few reads."""
    return range(1, len(data), 1 + len(data) // _LONG)


def _lines(data: bytes) -> list[str]:
    if not data.endswith(b"\n"):
        raise CorpusError("the last line has no end")
    lines = data[:-1].split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line or line != line.rstrip(b" ") or not all(0x20 <= byte < 0x7F for byte in line):
            raise CorpusError(f"line {number} is empty, ends with a blank or is not plain ASCII")
    return [line.decode("ascii") for line in lines]


def _section(lines: list[str], *, sent: bool) -> Section:
    reads: list[bytes] = [b""]
    ending = Ending.NOTHING
    for line in lines:
        if ending is not Ending.NOTHING:
            raise CorpusError("something after the end")
        if not line.startswith("@"):
            reads[-1] += _unescaped(line)
        elif (repeat := _REPEAT.match(line)) is not None:
            reads[-1] += _unescaped(repeat[2]) * int(repeat[1])
        elif not sent:
            raise CorpusError(f"not in an expectation: {line!r}")
        elif line == "@read":
            reads.append(b"")
        elif line in (Ending.CLOSE.value, Ending.RESET.value):
            ending = Ending(line)
        else:
            raise CorpusError(f"not a directive: {line!r}")
    if sent and not all(reads) and (len(reads) > 1 or ending is Ending.NOTHING):
        raise CorpusError("a read without bytes")
    return Section(tuple(read for read in reads if read), ending)


def _unescaped(text: str) -> bytes:
    return "".join(_pieces(text)).encode("latin-1")


def _pieces(text: str) -> Iterator[str]:
    at = 0
    for match in _ESCAPE.finditer(text):
        yield text[at : match.start()]
        if match[1]:
            yield _PLAIN[match[1]]
        elif match[2]:
            yield chr(int(match[2], 16))
        else:
            raise CorpusError(f"not an escape: {text[match.start() : match.start() + 4]!r}")
        at = match.end()
    yield text[at:]
