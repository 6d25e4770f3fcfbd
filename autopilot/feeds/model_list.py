"""The OpenAI model list: the router's own names, then the platform's entries byte for byte.

The names are the aliases and behind them the routes (contract §1). Clients show these ids to their
users for selection, so each of them must look like a model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from autopilot.routing.catalog import Catalog


def models_document(catalog: Catalog, own: Collection[str], created: int) -> bytes:
    """Return the body of `GET /v1/models`; `created` (Unix seconds) dates the router's own names.

    A catalog entry whose id is also one of them is left out, because a request with that name gets
    the alias or the route.
    """
    entries = [_own_entry(name, created) for name in own]
    entries += [model.raw for name, model in catalog.models.items() if name not in own]
    return b'{"object":"list","data":[' + b",".join(entries) + b"]}"


def model_document(catalog: Catalog, own: Collection[str], created: int, name: str) -> bytes | None:
    """Return the body of `GET /v1/models/{name}`, or None if there is no such model."""
    if name in own:
        return _own_entry(name, created)
    model = catalog.models.get(name)
    return None if model is None else model.raw


class ModelDocuments:
    """Both bodies for the router's current names; the list is encoded once per catalog."""

    def __init__(self, own: Iterable[str], created: int) -> None:
        """Date the names with `created` (Unix seconds), for instance the start of the process."""
        self._own = dict.fromkeys(own)
        self._created = created
        self._catalog: Catalog | None = None
        self._encoded_list = b""
        self._codex_list = b"", b""

    def rename(self, own: Iterable[str]) -> None:
        """Replace the router's own names."""
        self._own = dict.fromkeys(own)
        self._catalog = None

    def listing(self, catalog: Catalog) -> bytes:
        """Return the body of `models_document`."""
        # Catalogs are immutable and replaced whole, so identity is enough.
        if catalog is not self._catalog:
            self._encoded_list = models_document(catalog, self._own, self._created)
            self._catalog = catalog
        return self._encoded_list

    def listing_for_codex(self, catalog: Catalog) -> bytes:
        """Return the same with an empty ``models``, a member that Codex requires (contract §1)."""
        listing = self.listing(catalog)
        if self._codex_list[0] is not listing:
            self._codex_list = listing, b'{"models":[],' + listing[1:]
        return self._codex_list[1]

    def entry(self, catalog: Catalog, name: str) -> bytes | None:
        """Return the body of `model_document`."""
        return model_document(catalog, self._own, self._created, name)


def _own_entry(name: str, created: int) -> bytes:
    return msgspec.json.encode(
        {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "chutes-autopilot",
        }
    )
