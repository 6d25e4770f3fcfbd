"""The ``models`` member of a request body: a preference list as an array (contract §3).

The list is equivalent to a ``model`` of the same names, joined by commas.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from autopilot.routing.router_error import RouterError
from autopilot.routing.selector import MAX_BYTES, TOO_LONG, Order, split_order

_LIST = msgspec.json.Decoder(list[str] | None)
# A longer JSON list exceeds the limit of a selector, unless it consists of blanks and escapes.
_MAX_RAW_BYTES = 2 * MAX_BYTES
_NOT_TEXTS = RouterError(
    400, "invalid_model_list", "'models' must be a list of strings.", param="models"
)


def read_models(raw: bytes) -> Sequence[str] | RouterError:
    """Return the names in ``models``, none for null; or the error if its type is wrong."""
    if len(raw) > _MAX_RAW_BYTES and raw.startswith(b"["):
        return TOO_LONG
    try:
        return _LIST.decode(raw) or ()
    except (msgspec.DecodeError, RecursionError):
        return _NOT_TEXTS


def join_models(model: str, models: Sequence[str]) -> str:
    """Return the selector of ``model``, which may be a list or blank, followed by ``models``.

    The order suffix of ``model`` applies to the whole list.
    """
    first, order = split_order(model)
    text = ",".join((first, *models) if first else models)
    if "," not in text:
        text = "," + text  # a list of one name is still a list
    return text if order is Order.GIVEN else f"{text}:{order.value}"
