"""The operators' pages of a router with workers: what they show is collected from these first."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from autopilot.web.shared_rendering import SharedArrival

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred

    from autopilot.web.status.assets import Asset
    from autopilot.web.status.page import OperatorPages, StatusPage


class PageName(StrEnum):
    """What a worker may ask its parent for."""

    PAGE = "page"
    JSON = "json"
    METRICS = "metrics"


class CollectedPages:
    """The pages of the parent; see `Pages`.

    ``collect`` returns a Deferred that fires when the sources of ``pages`` show all workers.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        pages: OperatorPages,
        collect: Callable[[], Deferred[bool]],
    ) -> None:
        self._pages = pages
        self._collected = SharedArrival(seconds, lambda: collect().addCallback(self._expire))

    @property
    def assets(self) -> Mapping[str, Asset]:
        """See `Pages`."""
        return self._pages.assets

    def page(self) -> Deferred[StatusPage]:
        """See `Pages`."""
        return self._collected().addCallback(lambda _: self._pages.page())

    def json(self) -> Deferred[tuple[bytes, ...]]:
        """See `Pages`."""
        return self._collected().addCallback(lambda _: self._pages.json())

    def metrics(self) -> Deferred[bytes]:
        """See `Pages`."""
        return self._collected().addCallback(lambda _: self._pages.metrics())

    def last(self) -> StatusPage:
        """See `Pages`: with the workers as they were when they were last asked."""
        return self._pages.last()

    def answer(self, name: PageName) -> Deferred[bytes]:
        """Return a page for a worker, which serves it in the parent's place."""
        if name is PageName.METRICS:
            return self.metrics()
        if name is PageName.JSON:
            return self.json().addCallback(b"".join)
        return self.page().addCallback(lambda page: page.encode())

    def _expire(self, collected: bool) -> bool:
        self._pages.page.expire()
        self._pages.metrics.expire()
        return collected
