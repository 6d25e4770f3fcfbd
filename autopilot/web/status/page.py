"""The HTML document of the status page. Its script only updates it: it is complete without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from markupsafe import Markup

from autopilot.web.shared_rendering import SharedRendering, SlicedRendering
from autopilot.web.status.assets import load_assets
from autopilot.web.status.markup import SLOT, el
from autopilot.web.status.requests import Shown, requests
from autopilot.web.status.sections import sections

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from autopilot.web.status.assets import Asset
    from autopilot.web.status.report import StatusReport

POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy: no inline code, no other origin, no framing."""

_EVENTS: Final = {
    Shown.ALL: "status/events",
    Shown.FAILURES: f"status/events?show={Shown.FAILURES}",
}


def page(
    version: str,
    sections: Mapping[str, Markup],
    assets: Mapping[str, Asset],
    shown: Shown = Shown.ALL,
) -> bytes:
    """Render the document with relative URLs, so that it works under a prefix of another site."""
    links = {name: f"status/{name}?v={asset.version}" for name, asset in assets.items()}
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", "Status of chutes-autopilot"),
        el("link", rel="icon", href=links["icon.svg"], type="image/svg+xml"),
        el("link", rel="stylesheet", href=links["page.css"]),
        el("script", src=links["page.js"], defer=True),
    )
    header = el(
        "header",
        el("h1", "chutes-autopilot"),
        el("p", f"version {version}", class_="version"),
        el("p", "This page does not update itself; reload it for current data.", id="live"),
    )
    footer = el(
        "footer",
        "For programs: ",
        el("a", "status.json", href="status.json"),
        ", ",
        el("a", "metrics", href="metrics"),
        ", ",
        el("a", "readyz", href="readyz"),
    )
    body = el(
        "body",
        el("a", "Skip to the ranking", href="#ranking", class_="skip"),
        header,
        el("main", SLOT),
        footer,
        data_events=_EVENTS[shown],
    )
    before, after = el("html", head, body, lang="en").split(SLOT)
    # Encoded one by one: joined texts take the width of the widest character of all of them.
    parts = ("<!doctype html>\n", before, *sections.values(), after)
    return b"".join([part.encode("utf-8") for part in parts])


class PageView:
    """One rendering of the page that lists all requests, or only the failures.

    It serves the clients that request the document, and the subscribers of its updates.
    """

    def __init__(
        self,
        version: str,
        sections: Mapping[str, Markup],
        shown: Shown,
        assets: Mapping[str, Asset],
    ) -> None:
        self.sections = sections
        self._version = version
        self._shown = shown
        self._assets = assets

    @cached_property
    def document(self) -> bytes:
        """The whole document."""
        return page(self._version, self.sections, self._assets, self._shown)

    def event(self, names: Iterable[str]) -> list[bytes]:
        """Return the parts of an event that updates these sections."""
        parts = [b"event: sections\ndata: "]
        separator = b"{"
        for name in names:
            parts += (separator, self._members[name])
            separator = b","
        return [*parts, b"}\n\n"]

    @cached_property
    def _members(self) -> dict[str, bytes]:
        """The sections as members of a JSON object, encoded once for all subscribers."""
        return {
            name: b"%b:%b" % (msgspec.json.encode(name), msgspec.json.encode(str(text)))
            for name, text in self.sections.items()
        }


class StatusPage:
    """One rendering of the page; the list of failures is rendered only if a client shows it."""

    def __init__(
        self,
        version: str,
        sections: Mapping[str, Markup],
        failures: Callable[[], Markup],
        assets: Mapping[str, Asset],
    ) -> None:
        self._version = version
        self._render_failures = failures
        self._assets = assets
        self._all = PageView(version, sections, Shown.ALL, assets)

    @classmethod
    def of(cls, report: StatusReport, assets: Mapping[str, Asset]) -> StatusPage:
        """Render a report."""
        return cls(
            report.version, sections(report), lambda: requests(report, Shown.FAILURES), assets
        )

    @classmethod
    def decode(cls, data: bytes, assets: Mapping[str, Asset]) -> StatusPage:
        """Return the page that another process of this router has rendered and encoded.

        :raises ValueError: it cannot be read.
        """
        version, texts, failures = msgspec.msgpack.decode(
            data, type=tuple[str, dict[str, str], str]
        )
        rendered = {name: Markup(text) for name, text in texts.items()}  # noqa: S704  by `encode`
        return cls(version, rendered, lambda: Markup(failures), assets)  # noqa: S704

    def encode(self) -> bytes:
        """Return the page with both of its lists, for another process of this router."""
        # Plain texts: msgspec encodes no subclass of `str`.
        texts = {name: str(text) for name, text in self._all.sections.items()}
        failures = str(self._failures.sections["requests"])
        return msgspec.msgpack.encode((self._version, texts, failures))

    def view(self, shown: Shown) -> PageView:
        """Return the view that lists these requests."""
        return self._failures if shown is Shown.FAILURES else self._all

    @cached_property
    def _failures(self) -> PageView:
        shared = {**self._all.sections, "requests": self._render_failures()}
        return PageView(self._version, shared, Shown.FAILURES, self._assets)


class Pages(Protocol):
    """The operators' pages of one router; where these take time, they are returned later."""

    @property
    def assets(self) -> Mapping[str, Asset]:
        """The files of the page, by name."""

    def page(self) -> StatusPage | Deferred[StatusPage]:
        """Return the status page."""

    def json(self) -> Deferred[tuple[bytes, ...]]:
        """Return the slices of the status report as JSON."""

    def metrics(self) -> bytes | Deferred[bytes]:
        """Return the metrics in the text format of Prometheus."""

    def last(self) -> StatusPage | None:
        """Return the status page of a router that stops, if it can be rendered at once."""


class OperatorPages:
    """The operators' pages of one process, each rendered at most once a second for all its ports.

    See `Pages`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        status: Callable[[], StatusReport],
        metrics: Callable[[], bytes],
    ) -> None:
        self.assets = load_assets()
        self.page = SharedRendering(clock.seconds, lambda: StatusPage.of(status(), self.assets))
        self.json = SlicedRendering(clock, lambda: status().slices())
        self.metrics = SharedRendering(clock.seconds, metrics)

    def last(self) -> StatusPage:
        """See `Pages`."""
        self.page.expire()
        return self.page()
