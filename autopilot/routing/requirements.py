"""What a request needs of a model, and whether a model is known to lack it.

The catalog is maintained by hand and has gaps. A fact that it does not state is unknown, and an
unknown fact never excludes a model (contract §3).
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from autopilot.routing.catalog import Model

_MODALITIES = (("images", "image"), ("audio", "audio"), ("video", "video"))
_FEATURES = (
    ("tools", frozenset({"tools"})),
    # A few catalog entries use the second spelling.
    ("json_schema", frozenset({"structured_outputs", "structured_output"})),
    ("json_mode", frozenset({"json_mode"})),
)

LIMITS = {"completion_tokens": "max_output_length", "prompt_tokens": "context_length"}
"""The needs that are token counts, each with the attribute of `Model` that limits it."""


class Needs(Struct, frozen=True, gc=False):
    """What a request asks of a model.

    ``completion_tokens`` is the completion limit in the request, if any. ``prompt_tokens`` is a
    lower bound of the prompt's length, set only if it exceeds some model's context.
    """

    images: bool = False
    audio: bool = False
    video: bool = False
    tools: bool = False
    json_schema: bool = False
    json_mode: bool = False
    completion_tokens: int | None = None
    prompt_tokens: int | None = None


NOTHING = Needs()
"""The needs of a plain text request."""


def lacking(model: Model, needs: Needs) -> str | None:
    """Return the first need, by field name, that ``model`` is known to lack, or None."""
    return next(lacks(model, needs), None)


def lacks(model: Model, needs: Needs) -> Iterator[str]:
    """Yield every need, by field name, that ``model`` is known to lack."""
    if model.input_modalities is not None:
        for need, modality in _MODALITIES:
            if getattr(needs, need) and modality not in model.input_modalities:
                yield need
    if model.features is not None:
        for need, spellings in _FEATURES:
            if getattr(needs, need) and spellings.isdisjoint(model.features):
                yield need
    for need, limit in LIMITS.items():
        wanted, maximum = getattr(needs, need), getattr(model, limit)
        if wanted is not None and maximum is not None and wanted > maximum:
            yield need
