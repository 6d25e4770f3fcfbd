"""The HTML document of the status page. Its script only updates it: it is complete without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from autopilot.web.status.markup import SLOT, el, join

if TYPE_CHECKING:
    from autopilot.web.status.assets import Asset

POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy: no inline code, no other origin, no framing."""


def page(version: str, sections: Mapping[str, str], assets: Mapping[str, Asset]) -> bytes:
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
        data_events="status/events",
    )
    before, after = el("html", head, body, lang="en").split(SLOT)
    document = join(Markup("<!doctype html>\n"), before, sections.values(), after)
    return document.encode("utf-8")
