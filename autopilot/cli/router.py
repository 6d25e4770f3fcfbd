"""A client of a running router's pages: /status.json, /v1/models, /healthz and /readyz.

The router may be of another version, so a member that is missing or malformed counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from twisted.web.iweb import IAgent

from autopilot.cli.console import CommandError
from autopilot.feeds.parsers import parse_catalog
from autopilot.http.fetch import FetchedResponse, Fetcher
from autopilot.http.fetch_error import FetchError
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.ranking import Ranked
from autopilot.routing.routing_state import RoutingState
from autopilot.routing.snapshot import Snapshot
from autopilot.settings.network import Url

OWNER = "chutes-autopilot"
"""The ``owned_by`` of the aliases that a router lists among its models."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """What a plan is computed from: the platform's snapshot and the router's own state."""

    snapshot: Snapshot
    state: RoutingState


def router_url(text: str) -> str:
    """Return the base URL of a router. Raises `CommandError`."""
    try:
        return str(Url(base=True).parse(text))
    except ValueError as wrong:
        raise CommandError(f"--router: {wrong}") from None


class Router:
    """A client of one router; ``timeout`` limits each request, in seconds."""

    def __init__(self, agent: IAgent, reactor: Any, base: str, timeout: float) -> None:
        self._fetcher = Fetcher(agent, reactor, timeout)
        self._base = base

    async def ask(self, path: str) -> FetchedResponse:
        """Return the router's response to ``GET path``. Raises `FetchError`."""
        return await self._fetcher.ask(self._base + path)

    async def plan_inputs(self, models_url: str) -> PlanInputs:
        """Return the router's ranking, catalog and state.

        The catalog comes from ``models_url`` if the address does not serve /v1/models.
        Raises `CommandError`.
        """
        try:
            status = _object(await self._fetcher.get(f"{self._base}/status.json"))
        except FetchError as error:
            raise CommandError(
                f"the router's /status.json could not be read: {error}; --router takes the address"
                " of its /status page (ADMIN_LISTEN_ADDR)"
            ) from None
        catalog = await self._catalog(models_url)
        ranking = _value(status, "ranking", tuple[Ranked, ...], ())
        return PlanInputs(Snapshot(catalog, ranking, 0.0, 0.0), _state(status))

    async def _catalog(self, models_url: str) -> Catalog:
        """Return the catalog of the router, else of ``models_url``.

        A router with an ``ADMIN_LISTEN_ADDR`` serves its status there, but no models (contract §1).
        """
        try:
            listing = await self._fetcher.ask(f"{self._base}/v1/models")
            body = listing.body if listing.status == 200 else await self._fetcher.get(models_url)
            models = parse_catalog(body).models
        except FetchError as error:
            raise CommandError(f"the router's list of models could not be read: {error}") from None
        return Catalog.of(model for model in models if not _is_alias(model))


def _state(status: Mapping[str, Any]) -> RoutingState:
    """Return the state shared by all clients; a router does not publish that of a single one."""
    averages = dict[str, float]
    return RoutingState(
        cooling=frozenset(_value(status, "cooling", tuple[str, ...], ())),
        first_byte=_value(status, "first_content_seconds", averages, {}),
        throughput=_value(status, "tokens_per_second", averages, {}),
    )


def _is_alias(model: Model) -> bool:
    return _object(model.raw).get("owned_by") == OWNER


def _object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises `CommandError`."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CommandError("the router's /status.json is not a JSON object") from None


def _value(status: Mapping[str, Any], name: str, kind: type[_T], absent: _T) -> _T:
    try:
        return msgspec.convert(status[name], kind)
    except (KeyError, msgspec.ValidationError):
        return absent
