"""An error response of the router itself, as a value.

Routing decides which error a request gets; `autopilot.http.error_bodies` turns it into HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RouterError:
    """An error response to a request that gets no upstream attempt, or whose attempts all failed.

    ``status`` is the HTTP status, ``code`` the stable machine-readable cause, ``message`` the text
    for people, and ``param`` the request member at fault. ``retry_after`` is the number of seconds
    after which a retry may succeed; None if that is unknown. ``tried`` lists the failed attempts if
    no candidate was left, so that the client does not try all of them again by itself. ``allow``
    lists the methods that the path supports. ``fields`` are further header fields.
    ``key`` is the name of the operator's own key whose limit is the cause.
    """

    status: int
    code: str
    message: str = field(repr=False)  # may quote the client or the upstream
    param: str | None = None
    retry_after: int | None = None
    tried: bytes | None = None
    allow: bytes | None = None
    fields: tuple[tuple[bytes, bytes], ...] = ()
    key: str | None = None
