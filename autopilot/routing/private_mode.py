"""Private mode as the operator sets it, and the errors of requests that cannot be private.

The request is then refused: no error of private mode leads to the plain path.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from autopilot.routing.router_error import RouterError


class PrivateMode(StrEnum):
    """Which requests are private."""

    OFF = "off"
    """None: one that asks for it is refused."""
    ASK = "ask"
    """Those that ask for it, by header, alias or route."""
    ALWAYS = "always"
    """All: one that cannot be is refused."""


PRIVATE_ALIAS: Final = "chutesai/AutoPilot-Private"
"""The name for which the router chooses the model in private mode; always there, in any case."""

# Whoever writes it with a suffix, without the organisation, or with another dash or none, means no
# other model either, and an unknown name may be left to the router's choice.
_MARK: Final = re.compile(r"auto[^a-z0-9,]*pilot[^a-z0-9,]*private")


def asks_for_private(selector: str) -> bool:
    """Return whether a selector contains the alias of private mode, however it is spelled."""
    return _MARK.search(selector.lower()) is not None


OFF, ASK, ALWAYS = PrivateMode.OFF, PrivateMode.ASK, PrivateMode.ALWAYS


def unsupported(problem: str, param: str | None = None) -> RouterError:
    """Return the error of a request that cannot be private; ``problem`` says what to do."""
    return RouterError(400, "private_unsupported", f"{problem} Nothing was sent.", param=param)


PRIVATE_IS_OFF: Final = unsupported(
    "The request asks for private mode, which is off on this router. Leave out the header"
    " X-Autopilot-Private, and name another model or route; the operator turns it on with PRIVATE."
)
"""The error for whoever asks for private mode while it is off."""
