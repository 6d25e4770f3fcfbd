"""The operators' pages of a worker, which serves those of its parent (``ADMIN_LISTEN_ADDR=-``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from autopilot.web.shared_rendering import SharedArrival
from autopilot.web.status.collected_pages import PageName
from autopilot.web.status.page import StatusPage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.python.failure import Failure

    from autopilot.web.status.assets import Asset
    from autopilot.web.status.page import OperatorPages


class NoAnswerError(Exception):
    """The parent did not answer in time."""


class ParentsPages:
    """The pages of the parent, as its workers serve them; see `Pages`.

    ``ask`` returns a page of the parent, or fails with `NoAnswerError`. Then the worker shows what
    it knows itself, which ``own`` renders. It has no metrics to show in that case: a scraper would
    take the counters of one worker for those of a router that was started again.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        own: OperatorPages,
        ask: Callable[[PageName], Deferred[bytes]],
    ) -> None:
        self._own = own
        self._page = SharedArrival(seconds, lambda: ask(PageName.PAGE).addCallback(self._decode))
        self._json = SharedArrival(seconds, lambda: ask(PageName.JSON))
        self._metrics = SharedArrival(seconds, lambda: ask(PageName.METRICS))

    @property
    def assets(self) -> Mapping[str, Asset]:
        """See `Pages`."""
        return self._own.assets

    def page(self) -> Deferred[StatusPage]:
        """See `Pages`."""

        def own(failure: Failure) -> StatusPage:
            failure.trap(NoAnswerError)
            return self._own.page()

        return self._page().addErrback(own)

    def json(self) -> Deferred[tuple[bytes, ...]]:
        """See `Pages`."""

        def own(failure: Failure) -> Deferred[tuple[bytes, ...]]:
            failure.trap(NoAnswerError)
            return self._own.json()

        slices = self._json().addCallback(lambda text: (text,))
        return slices.addErrback(own)

    def metrics(self) -> Deferred[bytes]:
        """See `Pages`."""
        return self._metrics()

    def last(self) -> None:
        """See `Pages`: the parent cannot be asked at once."""

    def _decode(self, data: bytes) -> StatusPage:
        return StatusPage.decode(data, self.assets)
