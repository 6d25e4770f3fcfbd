"""The file of KEYS_FILE: the keys of the router's own clients, with their limits.

It holds digests of the keys, never the keys. It is checked as a whole: each fault is one line with
the file, the number of its line, the key's name and its member.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from autopilot.settings.files.document import Document, FileSetting, read_entries
from autopilot.settings.files.entries import ENTRY_NAME, EntryTable
from autopilot.settings.types import Integer, quoted

MOST_PER_MINUTE: Final = 60_000
_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")
_MOST_CONCURRENT: Final = 1_000_000
_MOST_TOKENS: Final = 10**15
_MOST_DOLLARS: Final = 1_000_000
_LEAST_DOLLARS: Final = Decimal("0.000001")
_LONGEST_NAME: Final = 256
_BLANKS: Final = " \t\r\n\v\f"


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key of the file. A member that the file does not have is None.

    ``expires`` is in seconds since 1970.
    """

    name: str
    sha256: str
    models: tuple[str, ...] | None = None
    routes: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    dollars_per_day: Decimal | None = None
    dollars_per_month: Decimal | None = None
    expires: float | None = None

    @property
    def has_budget(self) -> bool:
        """Whether the usage of this key's requests counts."""
        budgets = (
            self.tokens_per_day,
            self.tokens_per_month,
            self.dollars_per_day,
            self.dollars_per_month,
        )
        return any(each is not None for each in budgets)


@dataclass(frozen=True, slots=True)
class KeysFile:
    """The path of a file that is valid, and its keys in the file's order."""

    path: str
    keys: tuple[KeyEntry, ...] = ()

    @property
    def has_budgets(self) -> bool:
        """Whether the usage of any key's requests counts."""
        return any(each.has_budget for each in self.keys)


@dataclass(frozen=True, slots=True)
class KeysSetting(FileSetting):
    """The type of KEYS_FILE."""

    kind = KeysFile

    def read(self, path: str) -> KeysFile:
        """See `FileSetting`."""
        return KeysFile(path, read_entries(path, _keys))


def _keys(document: Document) -> tuple[KeyEntry, ...]:
    """Return the keys of a document, as far as they are valid."""
    for name in document.members:
        if name != "keys":
            document.fault(
                (name,), "a name", "not known; the file has a table [keys.NAME] for each key"
            )
    tables = document.members.get("keys", {})
    if not isinstance(tables, dict) or not tables:
        # An empty file would lock every client out, which must not happen by accident.
        document.fault(("keys",), "keys", "there is none; write [keys.NAME] for each key")
        return ()
    entries = [_key(document, name, table) for name, table in tables.items()]
    _check_digests(document, tables)
    return tuple(entry for entry in entries if entry is not None)


def _check_digests(document: Document, tables: Mapping[str, object]) -> None:
    """Note the keys whose digest is another's, whatever else is wrong with them."""
    known: dict[str, str] = {}
    for name, table in tables.items():
        digest = table.get("sha256") if isinstance(table, dict) else None
        if not ENTRY_NAME.fullmatch(name) or not isinstance(digest, str):
            continue
        if not _SHA256.fullmatch(digest):
            continue
        before = known.setdefault(digest.lower(), name)
        if before != name:
            document.fault(
                ("keys", name, "sha256"),
                f"keys.{name}.sha256",
                f"the same as that of keys.{before}; give each client a key of its own",
            )


def _key(document: Document, name: str, table: object) -> KeyEntry | None:
    before = len(document.faults)
    values = _ENTRIES.read(document, name, table)
    if values is None or len(document.faults) > before:
        return None
    return KeyEntry(name, **values)


_DIGEST: Final = "the 64 hexadecimal digits that autopilot keys new prints"


def _sha256(value: object) -> str:
    # Not quoted: it may be the key itself.
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"not the SHA-256 of a key; give {_DIGEST}")
    return value.lower()


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{quoted(_shown(value))} is no list of names; give at least one")
    problems = []
    for item in value:
        name = item.strip(_BLANKS) if isinstance(item, str) else ""
        if not name or not name.isprintable() or len(name) > _LONGEST_NAME or "," in name:
            problems.append(f"{quoted(_shown(item))} is not a name")
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(dict.fromkeys(item.strip(_BLANKS) for item in value))


def _shown(value: object) -> object:
    """Return a value as it may be quoted: a number may have more digits than Python prints."""
    return value if isinstance(value, str | bool) else f"this {type(value).__name__}"


def _dollars(value: object) -> Decimal:
    if not isinstance(value, bool) and isinstance(value, int | Decimal):
        amount = Decimal(value)
        if amount.is_finite() and _LEAST_DOLLARS <= amount <= _MOST_DOLLARS:
            return amount
    raise ValueError(f"not an amount; give dollars, {_LEAST_DOLLARS} to {_MOST_DOLLARS}")


def _whole(most: int, unit: str) -> Callable[[object], Any]:
    kind = Integer(1, most, unit)

    def check(value: object) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"not a whole number; give {kind.expected}")
        if not 1 <= value <= most:
            raise ValueError(f"out of range; give {kind.expected}")
        return value

    return check


def _expires(value: object) -> float:
    """Return the moment from which a key is refused: a date alone begins at midnight UTC."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
    else:
        raise ValueError("not a date; give 2027-01-31 or 2027-01-31T12:00:00Z, without quotes")
    return moment.timestamp()


_ENTRIES: Final = EntryTable(
    "keys",
    {
        "sha256": _sha256,
        "models": _names,
        "routes": _names,
        "requests_per_minute": _whole(MOST_PER_MINUTE, "requests"),
        "concurrent_requests": _whole(_MOST_CONCURRENT, "requests"),
        "tokens_per_day": _whole(_MOST_TOKENS, "tokens"),
        "tokens_per_month": _whole(_MOST_TOKENS, "tokens"),
        "dollars_per_day": _dollars,
        "dollars_per_month": _dollars,
        "expires": _expires,
    },
    {"sha256": _DIGEST},
)
