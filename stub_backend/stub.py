"""The complete stub, for a process of its own or inside a test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from stub_backend.attestation import Attestation
from stub_backend.call import DIALECTS
from stub_backend.control import Control
from stub_backend.e2e import EndToEnd
from stub_backend.edge import Edge
from stub_backend.evidence import Evidence
from stub_backend.evidence_scenarios import evidence_chutes
from stub_backend.feed_bodies import price
from stub_backend.feeds import Feeds
from stub_backend.ledger import Ledger
from stub_backend.log import Log, Received
from stub_backend.options import StubOptions
from stub_backend.population import populate
from stub_backend.prefix_cache import PrefixCache
from stub_backend.scenario import Scenario
from stub_backend.scenarios import USUAL, scenario_chutes
from stub_backend.scripts import Scripts
from stub_backend.sealed.scenarios import sealed_chutes
from stub_backend.sealed.world import World
from stub_backend.tree import Tree


class StubRequest(Request):
    """A request without Twisted's default `Content-Type`."""

    defaultContentType = None


class StubChannel(HTTPChannel):
    """A channel that counts its connection and accepts large request heads."""

    site: StubSite
    totalHeadersSize = 262_144  # noqa: N815 - Twisted's name
    MAX_LENGTH = 131_072
    maxHeaders = 2000  # noqa: N815 - Twisted's name

    def connectionMade(self) -> None:
        """Count the connection."""
        self.site.connections["made"] += 1
        self.site.connections["open"] += 1
        super().connectionMade()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Count the connection as closed."""
        self.site.connections["open"] -= 1
        super().connectionLost(reason)


class StubSite(Site):
    """A site without an access log, with request bodies in memory."""

    protocol = StubChannel  # type: ignore[assignment]

    def __init__(self, resource: Resource, clock: IReactorTime, keep_alive: float) -> None:
        super().__init__(
            resource,
            requestFactory=StubRequest,
            timeout=keep_alive,
            reactor=clock,
            parsePOSTFormSubmission=False,
        )
        self.connections = {"made": 0, "open": 0}
        self.getContentFile = lambda _length: BytesIO()

    def log(self, request: object) -> None:
        """Do nothing: the stub has its own log."""


class Stub:
    """One stub: serve `site` or mount `resource`, and inspect `log` and `ledger`."""

    def __init__(self, clock: IReactorTime, options: StubOptions) -> None:
        self.options = options
        self.population = populate(
            options.seed,
            options.models,
            options.other_chutes,
            options.private_chutes,
            (
                *(scenario_chutes(tee=options.scenario_tee) if options.scenario_models else ()),
                *(evidence_chutes() if options.evidence_models else ()),
                *(sealed_chutes() if options.sealed_models else ()),
            ),
        )
        self.log = Log()
        chat = self.population.chat
        self.ledger = Ledger({each.name: cost for each in chat if (cost := price(each))})
        self.prefixes = PrefixCache(options.prefixes)
        self.feeds = Feeds(self.population, options)
        self.evidence = Evidence(clock, self.population)
        self.end_to_end = EndToEnd(self.population, options.seed)
        kit = options.attestation_kit
        world = World.read(Path(kit)) if kit else None
        self.attestation = Attestation(self.end_to_end, world, self.evidence.limited)
        self.scripts = Scripts()
        self.edge = Edge(options.edge_rate)
        self._control = Control(
            self.log,
            self.ledger,
            self.prefixes,
            self.feeds,
            self.evidence,
            self.end_to_end,
            self.attestation,
            self.scripts,
            self.edge,
            lambda: self.connections,
        )
        self.resource = Tree(
            clock,
            options,
            self.population,
            self.feeds,
            self.evidence,
            self.end_to_end,
            self.attestation,
            self.scripts,
            self.log,
            self.ledger,
            self.prefixes,
            self.edge,
            self._control,
        )
        self.site = StubSite(self.resource, clock, options.keep_alive)

    @property
    def connections(self) -> Mapping[str, int]:
        """The numbers of connections `made` since the start and `open` now."""
        return self.site.connections

    def script(
        self, model: str, steps: Iterable[str | Scenario], then: str | Scenario = USUAL
    ) -> None:
        """Select the scenarios of a model's next calls, and `then` for all later ones."""
        self.scripts.write(model, steps, then)

    def calls(self, model: str | None = None) -> list[Received]:
        """Return the model calls received so far, optionally of one model only."""
        paths = (each for each in self.log if each.path.partition("?")[0] in DIALECTS)
        return [each for each in paths if model is None or each.model == model]

    def reset(self) -> None:
        """Clear log, ledger, prefix caches and scripts, and reset the rest."""
        self._control.reset()


def site(reactor: IReactorTime, options: StubOptions | None = None) -> Stub:
    """Return a stub on this reactor's clock; the caller listens (`listenTCP(0, stub.site)`)."""
    return Stub(reactor, options or StubOptions())
