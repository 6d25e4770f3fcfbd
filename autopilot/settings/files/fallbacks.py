"""The file of FALLBACKS_FILE: other services to which requests may go, each with a key of its own.

It is checked as a whole: each fault is one line with the file, the number of its line, the name of
the fallback and its member. No fault quotes a key, nor an unknown name, since that may be one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from autopilot.settings.files.document import Document, FileSetting, read_entries
from autopilot.settings.files.entries import EntryTable
from autopilot.settings.network import Url
from autopilot.settings.types import quoted

_KEY: Final = re.compile(rb"[!-~]{1,4096}")
_MAX_KEY_BYTES: Final = 8192
_MODEL: Final = re.compile(r"[!-+\--~]{1,180}")
_MODEL_RULE: Final = "give printable ASCII without blanks and commas, 180 characters at most"
_MOST: Final = 16
_PLATFORM: Final = ".chutes.ai"


@dataclass(frozen=True, slots=True)
class FallbackEntry:
    """One service of the file. ``key`` is what its ``key_file`` holds."""

    name: str
    base_url: str
    key: str = field(repr=False)
    models: tuple[str, ...]
    default_model: str | None = None


@dataclass(frozen=True, slots=True)
class FallbacksFile:
    """The path of a file that is valid, and its services in the file's order.

    ``key_files`` are the paths of the files with their keys.
    """

    path: str
    fallbacks: tuple[FallbackEntry, ...] = ()
    key_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FallbacksSetting(FileSetting):
    """The type of FALLBACKS_FILE. The files of its keys are read with it."""

    kind = FallbacksFile

    def read(self, path: str) -> FallbacksFile:
        """See `FileSetting`."""
        folder = os.path.dirname(path)
        return FallbacksFile(path, *read_entries(path, lambda found: _fallbacks(found, folder)))


def _fallbacks(
    document: Document, folder: str
) -> tuple[tuple[FallbackEntry, ...], tuple[str, ...]]:
    """Return the services of a document and the paths of their keys, as far as they are valid."""
    for name in document.members:
        if name != "fallbacks":
            document.fault(
                (name,), "a name", "not known; the file has a table [fallbacks.NAME] for each"
            )
    tables = document.members.get("fallbacks", {})
    if not isinstance(tables, dict) or not tables:
        document.fault(("fallbacks",), "fallbacks", "there is none; write [fallbacks.NAME]")
        return (), ()
    if len(tables) > _MOST:
        document.fault(("fallbacks",), "fallbacks", f"there are more than {_MOST}")
        return (), ()
    found = [_fallback(document, name, table, folder) for name, table in tables.items()]
    valid = [each for each in found if each is not None]
    return tuple(entry for entry, _ in valid), tuple(path for _, path in valid)


def _fallback(
    document: Document, name: str, table: object, folder: str
) -> tuple[FallbackEntry, str] | None:
    path, before = ("fallbacks", name), len(document.faults)
    values = _ENTRIES.read(document, name, table)
    if values is None:
        return None
    _check_default(document, path, values)
    given = values.pop("key_file", None)
    key_file = os.path.join(folder, given or "")
    if given is not None:
        try:
            values["key"] = _key_in(key_file)
        except ValueError as error:
            document.fault((*path, "key_file"), f"{'.'.join(path)}.key_file", error)
    if len(document.faults) > before:
        return None
    return FallbackEntry(name, **values), key_file


def _check_default(document: Document, path: tuple[str, str], values: Mapping[str, Any]) -> None:
    models, default = values.get("models"), values.get("default_model")
    if models is not None and default is not None and default not in models:
        document.fault(
            (*path, "default_model"),
            f"{'.'.join(path)}.default_model",
            f"{quoted(default)} is not one of its models; add it to models",
        )


def _base_url(value: object) -> str:
    if not isinstance(value, str) or "://" not in value:
        # Not quoted: it may be the key itself.
        raise ValueError("not a URL; give an http or https URL")
    url = str(Url(base=True).check(value))
    host = urlsplit(url).hostname or ""
    if f".{host.rstrip('.')}".endswith(_PLATFORM):
        raise ValueError("this is the platform itself; give another service")
    return url


def _key_file(value: object) -> str:
    # Not quoted: it may be the key itself.
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("not a path; give the file that holds the key, not the key")
    return value


def _key_in(path: str) -> str:
    """Return the key in a file. No error quotes the path, which may be a key by mistake."""
    try:
        # A pipe would make a reload wait until something is written into it.
        if not os.path.isfile(path) and os.path.exists(path):
            raise ValueError("not a regular file; write the key into one")
        with open(path, "rb") as file:
            data = file.read(_MAX_KEY_BYTES)
    except OSError as error:
        raise ValueError(
            f"the file cannot be read ({error.strerror}); a relative path begins beside this file"
        ) from None
    key = data.strip()
    if not _KEY.fullmatch(key):
        raise ValueError("the file does not hold a key; write the key, and nothing else, in it")
    return key.decode("ascii")


def _model(value: object) -> str:
    if not isinstance(value, str) or not _MODEL.fullmatch(value):
        shown = value if isinstance(value, str) else f"this {type(value).__name__}"
        raise ValueError(f"{quoted(shown)} is not the name of a model; {_MODEL_RULE}")
    return value


def _models(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("not a list of names; give at least one model")
    problems = []
    for item in value:
        try:
            _model(item)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(dict.fromkeys(value))


_ENTRIES: Final = EntryTable(
    "fallbacks",
    {
        "base_url": _base_url,
        "key_file": _key_file,
        "models": _models,
        "default_model": _model,
    },
    {
        "base_url": "the URL that its documentation gives for OpenAI's SDK",
        "key_file": "the path of a file with its key",
        "models": "a list of its models",
    },
)
