"""The whole document. It is complete without its script, which only keeps it current."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from autopilot.web.status.markup import el

if TYPE_CHECKING:
    from autopilot.web.status.assets import Asset

POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere, nobody's frame."""


def page(version: str, sections: Mapping[str, Markup], assets: Mapping[str, Asset]) -> bytes:
    """The document. Its addresses are relative, for a router under a prefix of another site."""
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
        el("p", "This page shows one moment; reload it for the next.", id="live"),
    )
    footer = el(
        "footer",
        "The same for programs: ",
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
        el("main", sections.values()),
        footer,
        data_events="status/events",
    )
    return b"<!doctype html>\n" + el("html", head, body, lang="en").encode("utf-8")
