"""The file of ROUTES_FILE: names for ordered models with conditions of their own (contract §3).

It is checked as a whole: each fault is one line with the file, the route and its member.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final

from autopilot.settings.files.document import FileSetting
from autopilot.settings.types import Boolean, Choice, Integer, quoted

NEEDS: Final = ("tools", "images", "response_format")
"""What a route may need of its models."""

_MAX_BYTES: Final = 1 << 20
_LONGEST_NAME: Final = 256
_NAME: Final = re.compile(r"[A-Za-z0-9._/-]+")
_BLANKS: Final = " \t\r\n\v\f"
_DAY_MS: Final = 86_400_000
_MOST_TOKENS: Final = 1_000_000_000
_MOST_DOLLARS: Final = 1_000_000
# What is written as 1e-999999999 would have as many digits on a page.
_LEAST_DOLLARS: Final = Decimal("1e-9")
_MOST_BITS: Final = 256
_PRICES: Final = ("prompt", "completion")


@dataclass(frozen=True, slots=True)
class PriceLimit:
    """The most dollars for a million tokens of each kind; None is no limit."""

    prompt: Decimal | None = None
    completion: Decimal | None = None


_NO_LIMIT: Final = PriceLimit()


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One route of the file. A member that the file does not have is None, False or empty."""

    name: str
    models: tuple[str, ...]
    commit: str | None = None
    failover_after_ms: int | None = None
    plain_failover_after_ms: int | None = None
    tee: bool = False
    max_price: PriceLimit = _NO_LIMIT
    needs: tuple[str, ...] = ()
    min_context: int | None = None
    private: bool = False


@dataclass(frozen=True, slots=True)
class RoutesFile:
    """The path of a file that is valid, and its routes in the file's order."""

    path: str
    routes: tuple[RouteEntry, ...] = ()

    def alias_faults(self, aliases: Collection[str]) -> Iterator[str]:
        """Yield what is wrong with the file beside these aliases, which any case means."""
        lower = {alias.lower() for alias in aliases if "*" not in alias}
        for route in self.routes:
            where = f"{self.path!a}: routes.{route.name}"
            if route.name.lower() in lower:
                yield f"{where}: {quoted(route.name)} is an alias (ALIASES); rename one of the two"
            for name in route.models[:-1]:
                if name.lower() in lower:
                    yield f"{where}.models: the alias {quoted(name)} can only be the last item"


@dataclass(frozen=True, slots=True)
class RoutesSetting(FileSetting):
    """The type of ROUTES_FILE."""

    kind = RoutesFile

    def read(self, path: str) -> RoutesFile:
        """See `FileSetting`."""
        return RoutesFile(path, _read(path))


def _read(path: str) -> tuple[RouteEntry, ...]:
    """Return the routes of a file. Raises `ValueError` with one line for each fault."""
    reading = _Reading()
    routes: tuple[RouteEntry, ...] = ()
    try:
        routes = reading.routes(_document(path))
    except _UnreadableError as error:
        reading.faults.append(str(error))
    if reading.faults:
        raise ValueError("\n".join(f"{path!a}: {fault}" for fault in reading.faults))
    return routes


class _UnreadableError(Exception):
    """The file is no TOML, or cannot be read at all."""


def _document(path: str) -> Mapping[str, Any]:
    """Return the document in a file. Raises `_UnreadableError`."""
    import tomllib  # takes 10 ms, and most routers have no such file

    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise _UnreadableError(f"longer than {_MAX_BYTES} bytes")
        # Some editors begin a file with a byte order mark, of which TOML says nothing.
        return tomllib.loads(data.decode("utf-8-sig"), parse_float=Decimal)
    except OSError as error:
        raise _UnreadableError(error.strerror) from None
    except UnicodeDecodeError:
        raise _UnreadableError("not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise _UnreadableError(f"not TOML: {error}") from None
    except (ValueError, ArithmeticError):
        raise _UnreadableError("a number is too long") from None
    except RecursionError:
        raise _UnreadableError("nested too deeply") from None


@dataclass(slots=True)
class _Reading:
    """The reading of one file, which collects its faults in their order."""

    faults: list[str] = field(default_factory=list)

    def fault(self, where: str, problem: object) -> None:
        """Note a fault."""
        self.faults.append(f"{where}: {problem}")

    def routes(self, document: Mapping[str, Any]) -> tuple[RouteEntry, ...]:
        """Return the routes of a document, as far as they are valid."""
        for key in document:
            if key != "routes":
                self.fault(
                    _key(key), "not known; the file has a table [routes.NAME] for each route"
                )
        tables = document.get("routes", {})
        if not isinstance(tables, dict):
            self.fault("routes", "not a table; write [routes.NAME] for each route")
            return ()
        entries = [self._route(name, table) for name, table in tables.items()]
        routes = tuple(entry for entry in entries if entry is not None)
        self._check_nesting(tables)
        return routes

    def _route(self, name: str, table: object) -> RouteEntry | None:
        where = f"routes.{_key(name)}"
        before = len(self.faults)
        if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            self.fault(where, "not a name; give letters, digits and ._/- (256 at most)")
        if not isinstance(table, dict):
            self.fault(where, f"not a table; write [{where}]")
            return None
        values = {
            key: self._member(where, key, value)
            for key, value in table.items()
            if self._is_known(where, key, value)
        }
        if "models" not in table:
            self.fault(f"{where}.models", "missing; give a list of names")
        return RouteEntry(name, **values) if len(self.faults) == before else None

    def _is_known(self, where: str, key: str, value: object) -> bool:
        if key in _MEMBERS:
            return True
        near = get_close_matches(key, _MEMBERS, 1)
        if near:
            hint = f"did you mean {near[0]}?"
        elif isinstance(value, dict):
            hint = f"a name with a dot needs quotes: [routes.{quoted('name.name')}]"
        else:
            hint = f"give {', '.join(_MEMBERS)}"
        self.fault(f"{where}.{_key(key)}", f"not known; {hint}")
        return False

    def _member(self, where: str, key: str, value: object) -> Any:
        """Return the value of a known member; None if it is faulty."""
        if _has_long_number(value):
            self.fault(f"{where}.{key}", "a number is too long")
            return None
        if isinstance(value, Decimal):
            value = str(value)  # no member is one, and an error is to quote it as it is written
        try:
            return _MEMBERS[key](value)
        except ValueError as error:
            for problem in str(error).splitlines():
                self.fault(f"{where}.{key}", problem)
            return None

    def _check_nesting(self, tables: Mapping[str, Any]) -> None:
        """Note the items that name a route. A route over a model may list that model itself.

        The tables may have other faults, which must not hide this one.
        """
        listed = {name: _named(table) for name, table in tables.items()}
        nested = {name for name, items in listed.items() if name not in items}
        for name, items in listed.items():
            for item in items:
                if item in nested:
                    self.fault(
                        f"routes.{_key(name)}.models",
                        f"{quoted(item)} is a route, and routes hold no routes; list its models",
                    )


def _key(key: str) -> str:
    """Return a key as it may stand in a line: quoted if it is no plain name."""
    return key if _NAME.fullmatch(key) and len(key) <= _LONGEST_NAME else quoted(key)


def _has_long_number(value: object) -> bool:
    """Return whether a value has a whole number that cannot be written in decimal."""
    if isinstance(value, dict):
        return any(map(_has_long_number, value.values()))
    if isinstance(value, list):
        return any(map(_has_long_number, value))
    return isinstance(value, int) and value.bit_length() > _MOST_BITS


def _named(table: object) -> tuple[str, ...]:
    """Return the items of a route's ``models`` that are texts, each once."""
    models = table.get("models") if isinstance(table, dict) else None
    items = models if isinstance(models, list) else []
    return tuple(dict.fromkeys(item.strip(_BLANKS) for item in items if isinstance(item, str)))


def _models(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{quoted(value)} is no list of names; give at least one")
    problems = [problem for item in value if (problem := _name_problem(item)) is not None]
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(dict.fromkeys(item.strip(_BLANKS) for item in value))


def _name_problem(item: object) -> str | None:
    """Return what is wrong with an item of ``models``."""
    name = item.strip(_BLANKS) if isinstance(item, str) else ""
    if not name or not name.isprintable() or len(name) > _LONGEST_NAME:
        return f"{quoted(item)} is not the name of a model"
    return f"{quoted(item)} has a comma; give each name as an item" if "," in name else None


def _needs(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{quoted(value)} is not a list; give any of {', '.join(NEEDS)}")
    problems = [
        f"{quoted(item)} is not known; give any of {', '.join(NEEDS)}"
        for item in value
        if item not in NEEDS
    ]
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(dict.fromkeys(value))


def _max_price(value: object) -> PriceLimit:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"{quoted(value)} is no price; give {{ prompt = 0.5, completion = 2 }}")
    limits: dict[str, Decimal] = {}
    problems = []
    for key, amount in value.items():
        if key not in _PRICES:
            problems.append(f"{quoted(key)} is not known; give {' and '.join(_PRICES)}")
        elif (dollars := _dollars(amount)) is None:
            problems.append(
                f"{key}: {quoted(str(amount))} is no price; give dollars, 0 to {_MOST_DOLLARS}"
            )
        else:
            limits[key] = dollars
    if problems:
        raise ValueError("\n".join(problems))
    return PriceLimit(**limits)


def _dollars(value: object) -> Decimal | None:
    """Return the amount that a value is; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    amount = Decimal(value)
    if not amount.is_finite() or not 0 <= amount <= _MOST_DOLLARS:
        return None
    if amount == 0:
        return Decimal(0)  # whatever its exponent
    return amount if amount >= _LEAST_DOLLARS else None


_MEMBERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "models": _models,
    "commit": Choice("byte", "content", "complete").check,
    "failover_after_ms": Integer(1, _DAY_MS, "ms").check,
    "plain_failover_after_ms": Integer(1, _DAY_MS, "ms").check,
    "tee": Boolean().check,
    "max_price": _max_price,
    "needs": _needs,
    "min_context": Integer(1, _MOST_TOKENS, "tokens").check,
    "private": Boolean().check,
}
