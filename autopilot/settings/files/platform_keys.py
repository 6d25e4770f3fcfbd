"""The file of CHUTES_API_KEYS_FILE: the operator's keys of the platform, each with a name.

No fault quotes a value or an unknown name of it, since these may be keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from autopilot.settings.files.document import Document, FileSetting, read_entries
from autopilot.settings.files.entries import check_name

_KEY: Final = re.compile(r"[!-~]{8,512}")
_MOST_KEYS: Final = 1000


@dataclass(frozen=True, slots=True)
class PlatformKeyEntry:
    """One key of the file."""

    name: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PlatformKeysFile:
    """The path of a file that is valid, and its keys in the file's order."""

    path: str
    keys: tuple[PlatformKeyEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class PlatformKeysSetting(FileSetting):
    """The type of CHUTES_API_KEYS_FILE."""

    kind = PlatformKeysFile

    def read(self, path: str) -> PlatformKeysFile:
        """See `FileSetting`."""
        return PlatformKeysFile(path, read_entries(path, _keys))


def _keys(document: Document) -> tuple[PlatformKeyEntry, ...]:
    for name in document.members:
        if name != "keys":
            document.fault((name,), "a name", "not known; the file has one table, [keys]")
    table = document.members.get("keys", {})
    if not isinstance(table, dict) or not table:
        document.fault(("keys",), "keys", 'there is none; write [keys], and below it NAME = "KEY"')
        return ()
    if len(table) > _MOST_KEYS:
        document.fault(("keys",), "keys", f"there are more than {_MOST_KEYS}")
        return ()
    keys: list[PlatformKeyEntry] = []
    known: dict[str, str] = {}
    for name, key in table.items():
        path = ("keys", name)
        if not check_name(document, path):
            continue
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            document.fault(path, f"keys.{name}", "not a key; give 8 to 512 characters, no blanks")
        elif (before := known.setdefault(key, name)) != name:
            document.fault(path, f"keys.{name}", f"the same key as keys.{before}")
        else:
            keys.append(PlatformKeyEntry(name, key))
    return tuple(keys)
