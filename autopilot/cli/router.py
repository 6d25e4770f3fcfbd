"""What a running router says of itself, read from its pages.

It may be another version, so what is missing or strange there is as good as not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from twisted.web.iweb import IAgent

from autopilot.cli.error import CommandError
from autopilot.feeds.parsers import parse_catalog
from autopilot.http.fetch import FetchedResponse, Fetcher
from autopilot.http.fetch_error import FetchError
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.plan import RoutingState
from autopilot.routing.ranking import Ranked
from autopilot.routing.snapshot import Snapshot
from autopilot.settings.network import Url

OWNER = "chutes-autopilot"
"""Who owns the aliases in a router's list of models; they are no models of the catalog."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Known:
    """What a router knows of the platform, and has seen for itself."""

    snapshot: Snapshot
    recall: RoutingState


def router_url(text: str) -> str:
    """The base URL of a router. Raises `CommandError`."""
    try:
        return str(Url(base=True).parse(text))
    except ValueError as wrong:
        raise CommandError(f"--router: {wrong}") from None


class Router:
    """Asks one router; ``timeout`` is seconds for each question."""

    def __init__(self, agent: IAgent, reactor: Any, base: str, timeout: float) -> None:
        self._fetcher = Fetcher(agent, reactor, timeout)
        self._base = base

    async def ask(self, path: str) -> FetchedResponse:
        """The answer at a path. Raises `FetchError`."""
        return await self._fetcher.ask(self._base + path)

    async def known(self, models_url: str) -> Known:
        """Its ranking and its memory; the catalog from it, or from ``models_url``.

        Raises `CommandError`.
        """
        try:
            status = _object(await self._fetcher.get(f"{self._base}/status.json"))
        except FetchError as error:
            raise CommandError(f"the router's /status.json could not be read: {error}") from None
        catalog = await self._catalog(models_url)
        ranking = _value(status, "ranking", tuple[Ranked, ...], ())
        return Known(Snapshot(catalog, ranking, 0.0, 0.0), _recall(status))

    async def _catalog(self, models_url: str) -> Catalog:
        """A router that shows its status at an address of its own lists its models elsewhere."""
        try:
            listing = await self._fetcher.ask(f"{self._base}/v1/models")
            body = listing.body if listing.status == 200 else await self._fetcher.get(models_url)
            models = parse_catalog(body).models
        except FetchError as error:
            raise CommandError(f"the router's list of models could not be read: {error}") from None
        return Catalog.of(model for model in models if not _is_alias(model))


def _recall(status: Mapping[str, Any]) -> RoutingState:
    """What everybody's requests have shown; what concerns one client, a router tells nobody."""
    averages = dict[str, float]
    return RoutingState(
        cooling=frozenset(_value(status, "cooling", tuple[str, ...], ())),
        first_byte=_value(status, "first_content_seconds", averages, {}),
        throughput=_value(status, "events_per_second", averages, {}),
    )


def _is_alias(model: Model) -> bool:
    return _object(model.raw).get("owned_by") == OWNER


def _object(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises `CommandError`."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CommandError("the router's /status.json is not a JSON object") from None


def _value(status: Mapping[str, Any], name: str, kind: type[_T], absent: _T) -> _T:
    try:
        return msgspec.convert(status[name], kind)
    except (KeyError, msgspec.ValidationError):
        return absent
