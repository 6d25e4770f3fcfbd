"""The log's lines about readiness: one when the router becomes ready, one when it ceases to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from autopilot.feeds.readiness import PRIVATE_UNREADY

if TYPE_CHECKING:
    from autopilot.feeds.readiness import Readiness

_ALL_THE_SAME = "Single models and lists are relayed all the same."
_NONE = "Requests get 503 until then."


class ReadinessLog:
    """Logs changes of readiness. It is to be called after each refresh of a feed."""

    _log = Logger()

    def __init__(self) -> None:
        self._ready = False
        self._reported: str | None = None
        self._before: str | None = None

    def note(self, readiness: Readiness, best: str | None, *, failed: bool) -> None:
        """Log the readiness if it changed; ``best`` is the model that ranks first.

        While other first data is still on its way, nothing is logged unless the refresh ``failed``.
        Data of private mode has a refresh's time to come.
        """
        before, self._before = self._before, readiness.code
        late = readiness.code == before == PRIVATE_UNREADY
        if readiness.code is None:
            if not self._ready:
                self._log.info(
                    "Ready: {models} models, best {best}", models=readiness.candidates, best=best
                )
            self._ready, self._reported = True, None
        elif (self._ready or failed or late) and readiness.code not in (self._reported, "draining"):
            self._ready, self._reported = False, readiness.code
            private = readiness.code == PRIVATE_UNREADY
            self._log.warn(
                "Not ready: {reason} {rest}",
                reason=readiness.message,
                rest=_NONE if private else _ALL_THE_SAME,
            )
