"""What a request needs of a model, and whether a model is known to lack it.

The catalog is kept by hand and has gaps: what it does not say is unknown, and unknown is no reason
to leave a model out.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from autopilot.routing.catalog import Model

_MODALITIES = (("images", "image"), ("audio", "audio"), ("video", "video"))
_FEATURES = (
    ("tools", frozenset({"tools"})),
    # The catalog also has the second spelling, on a few models.
    ("json_schema", frozenset({"structured_outputs", "structured_output"})),
    ("json_mode", frozenset({"json_mode"})),
)

LIMITS = {"completion_tokens": "max_output_length", "prompt_tokens": "context_length"}
"""The needs that are numbers of tokens, and what of a model limits them."""


class Needs(Struct, frozen=True, gc=False):
    """What a request asks for.

    ``completion_tokens`` is the limit it sets, if it sets one; ``prompt_tokens`` how many tokens
    its prompt has at the very least, if they are too many for some models.
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
    """The first need, by the name of its field, that ``model`` is known to lack; else None."""
    return next(lacks(model, needs), None)


def lacks(model: Model, needs: Needs) -> Iterator[str]:
    """Every need, by the name of its field, that ``model`` is known to lack."""
    if model.input_modalities is not None:
        for need, modality in _MODALITIES:
            if getattr(needs, need) and modality not in model.input_modalities:
                yield need
    if model.features is not None:
        for need, spellings in _FEATURES:
            if getattr(needs, need) and spellings.isdisjoint(model.features):
                yield need
    for need, limit in LIMITS.items():
        wanted, most = getattr(needs, need), getattr(model, limit)
        if wanted is not None and most is not None and wanted > most:
            yield need
