"""An answer that the router gives by itself, as a value.

Routing decides that a request cannot be served and says why; how that looks as an HTTP response is
not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RouterError:
    """Why a request gets no upstream attempt.

    ``status`` is the HTTP status, ``code`` the stable machine-readable cause, ``message`` the text
    for people, ``param`` the request member at fault, and ``retry_after`` the seconds after which
    another try makes sense (None: not said).
    """

    status: int
    code: str
    message: str = field(repr=False)  # it may quote the client, or the upstream
    param: str | None = None
    retry_after: int | None = None
