"""The section of what a router shares: with its workers, and with others over a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from autopilot.web.status.formatting import age, count, duration
from autopilot.web.status.markup import el, optional_section, tile

if TYPE_CHECKING:
    from markupsafe import Markup

    from autopilot.web.status.markup import Child

_STORE = {
    "ok": ("connected", "fresh"),
    "degraded": ("refuses something", "stale"),
    "down": ("not connected", "stale"),
}
_WARM = {
    "waiting": "not read yet what others know",
    "loading": "reading what others know",
}
_ROLES = {
    "holder": "fetched here, for all routers",
    "reader": "read from the store",
    "alone": "fetched here, for this router",
}


class StoreNow(Struct, frozen=True, gc=False):
    """The store: ``ok``, ``degraded`` or ``down`` for some seconds, and why, in words.

    ``queued`` events wait for it, and ``lost`` ones did not reach it. ``warm_start`` is
    ``waiting``, ``loading`` or ``loaded``: whether the router has read what others have stored.
    """

    state: str
    fault: str
    text: str
    seconds: float
    round_trip_seconds: float | None
    queued: int
    lost: int
    warm_start: str


class SharingNow(Struct, frozen=True):
    """What has been shared since the start, as numbers of events.

    ``sent`` are those that went to the store, or without one those of this process.
    ``refused`` are batches that were malformed. ``feeds`` says what the router does for each feed
    that it shares with others.
    """

    sent: int
    received: int
    lost: int
    refused: int
    store: StoreNow | None = None
    feeds: dict[str, str] = {}


def sharing(now: SharingNow | None) -> Markup:
    """Render the section, which is hidden if nothing is shared."""
    children = None if now is None else _shown(now)
    return optional_section("sharing", children, "numbers")


def _shown(now: SharingNow) -> list[Child]:
    with_whom = "with other routers" if now.store is not None else "among the workers"
    refused = f"{count(now.refused)} batches could not be read" if now.refused else None
    lost = now.lost + (0 if now.store is None else now.store.lost)
    queued = 0 if now.store is None else now.store.queued
    waiting = f"{count(queued)} wait for the store" if queued else None
    tiles = [
        None if now.store is None else _store(now.store),
        tile("Events sent", count(now.sent), None),
        tile("Events received", count(now.received), refused),
        tile("Events lost", count(lost), waiting, "stale" if lost else None),
        *(
            tile(f"Feed: {feed}", role, _ROLES.get(role))
            for feed, role in sorted(now.feeds.items())
        ),
    ]
    return [
        el("h2", "Shared state ", el("small", with_whom), id="sharing-title"),
        el("dl", tiles),
    ]


def _store(store: StoreNow) -> Markup:
    words, kind = _STORE.get(store.state, (store.state, "stale"))
    took = store.round_trip_seconds
    note: list[Child] = [f"for {age(store.seconds)}"]
    if took is not None:
        note += [el("br"), f"last command took {duration(took)}"]
    if store.warm_start in _WARM:
        note += [el("br"), _WARM[store.warm_start]]
    if store.text:
        note += [el("br"), el("span", store.text, class_="error")]
    return tile("Store", words, note, kind)
