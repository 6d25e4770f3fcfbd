"""The reading of a TOML file that a setting names: the document with its lines, or what is wrong.

Each fault is one line with the number of the line in the file. No fault quotes a value here, since
the values of some files are secrets.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar

from autopilot.settings.types import ReadableFile

if TYPE_CHECKING:
    from autopilot.settings.files.toml_lines import Lines

_Entries = TypeVar("_Entries")

MAX_BYTES: Final = 1 << 20
_PLACE: Final = re.compile(r"(.*?) \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)")


class UnreadableError(Exception):
    """The file is no TOML, or cannot be read at all."""


@dataclass(slots=True)
class Document:
    """A document, and the faults found in it so far."""

    members: Mapping[str, Any]
    lines: Lines
    faults: list[tuple[int, str]] = field(default_factory=list)

    def fault(self, path: Sequence[str], where: str, problem: object) -> None:
        """Note a fault of the table or member at ``path``, which is called ``where``."""
        self.faults.append((self.lines.of(path), f"{where}: {problem}"))

    def texts(self, path: str) -> str:
        """Return the faults in the order of their lines, one a line."""
        found = sorted(self.faults, key=lambda each: each[0])
        return "\n".join(f"{path!a}, line {number}: {text}" for number, text in found)


class ReadFile(Protocol):
    """A file that is valid, as far as a setting shows it."""

    @property
    def path(self) -> str:
        """The path that was given."""


@dataclass(frozen=True, slots=True)
class FileSetting(ABC):
    """The type of a setting that is the path of a TOML file, which is read at once, or None."""

    kind: ClassVar[type[ReadFile]]
    """What the file is read as."""

    @property
    def expected(self) -> str:
        """The form of the path."""
        return "path of a TOML file"

    def parse(self, text: str) -> object:
        """Parse as ``check`` does."""
        return self.check(text)

    def check(self, value: object) -> object:
        """Read the file whose path is given; accept one that was read before.

        :raises ValueError: it has one line for each fault.
        """
        if value is None or isinstance(value, self.kind):
            return value
        return self.read(str(ReadableFile().check(value)))

    @abstractmethod
    def read(self, path: str) -> ReadFile:
        """Read a file.

        :raises ValueError: it has one line for each fault.
        """

    def show(self, value: object) -> str:
        """Return the path; empty if there is none."""
        return value.path if isinstance(value, self.kind) else ""


def read_entries(path: str, read: Callable[[Document], _Entries]) -> _Entries:
    """Return what ``read`` makes of the document in a file; it notes the faults.

    :raises ValueError: it has one line for each fault.
    """
    try:
        document = read_document(path)
    except UnreadableError as error:
        raise ValueError(str(error)) from None
    entries = read(document)
    if document.faults:
        raise ValueError(document.texts(path))
    return entries


def read_document(path: str) -> Document:
    """Return the document in a file. Raises `UnreadableError`."""
    import tomllib  # takes 10 ms, and most routers have no such file

    from autopilot.settings.files.toml_lines import Lines

    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UnreadableError(f"{path!a}: longer than {MAX_BYTES} bytes")
        # Some editors begin a file with a byte order mark, of which TOML says nothing.
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
        return Document(tomllib.loads(text, parse_float=Decimal), Lines(text))
    except OSError as error:
        raise UnreadableError(f"{path!a}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UnreadableError(f"{path!a}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise UnreadableError(_placed(path, str(error))) from None
    except (ValueError, ArithmeticError):
        raise UnreadableError(f"{path!a}: a number is too long") from None
    except RecursionError:
        raise UnreadableError(f"{path!a}: nested too deeply") from None


def _placed(path: str, problem: str) -> str:
    """Return the words of `tomllib` with the line in front."""
    found = _PLACE.fullmatch(problem)
    if found is None:
        return f"{path!a}: not TOML: {problem}"
    if found[2] is None:
        return f"{path!a}: not TOML: {found[1]} at the end of the file"
    return f"{path!a}, line {found[2]}: not TOML: {found[1]} (column {found[3]})"
