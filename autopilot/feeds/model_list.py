"""The OpenAI model list: the platform's own entries byte for byte, with the aliases before them.

Clients offer these ids for choice, so an alias has to look like a model.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autopilot.routing.catalog import Catalog


def models_document(catalog: Catalog, aliases: Sequence[str], created: int) -> bytes:
    """The body of `GET /v1/models`. `created` (Unix seconds) dates the aliases.

    An entry of the catalog that has an alias for its id is left out: the alias is what a request
    with that name gets.
    """
    entries = [_alias_entry(alias, created) for alias in aliases]
    entries += [model.raw for name, model in catalog.models.items() if name not in aliases]
    return b'{"object":"list","data":[' + b",".join(entries) + b"]}"


def model_document(
    catalog: Catalog, aliases: Sequence[str], created: int, name: str
) -> bytes | None:
    """The body of `GET /v1/models/{name}`, or None when there is no such model."""
    if name in aliases:
        return _alias_entry(name, created)
    model = catalog.models.get(name)
    return None if model is None else model.raw


class ModelDocuments:
    """The same two bodies, with the list put together once for each catalog."""

    def __init__(self, aliases: Sequence[str], created: int) -> None:
        """`created` (Unix seconds) dates the aliases, for instance the start of the process."""
        self._aliases = tuple(aliases)
        self._created = created
        self._catalog: Catalog | None = None
        self._listing = b""

    def rename(self, aliases: Sequence[str]) -> None:
        """Offer other aliases from now on."""
        self._aliases = tuple(aliases)
        self._catalog = None

    def listing(self, catalog: Catalog) -> bytes:
        """See `models_document`."""
        if catalog is not self._catalog:
            self._listing = models_document(catalog, self._aliases, self._created)
            self._catalog = catalog
        return self._listing

    def entry(self, catalog: Catalog, name: str) -> bytes | None:
        """See `model_document`."""
        return model_document(catalog, self._aliases, self._created, name)


def _alias_entry(alias: str, created: int) -> bytes:
    return msgspec.json.encode(
        {
            "id": alias,
            "object": "model",
            "created": created,
            "owned_by": "chutes-autopilot",
        }
    )
