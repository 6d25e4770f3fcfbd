"""What the processes of a router, and its replicas, tell each other of the keys' use.

Each process counts by itself and reports what it has counted within `DELAY` to all others: a worker
to its parent, the parent to its other workers and to the store. So each knows all that is counted,
but for the reports on their way, and a limit is exceeded by no more than begins meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import DecodeError, Struct, msgpack

from autopilot.routing.key_policy import Spent
from autopilot.state.budgets import Used

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from autopilot.state.budgets import KeyBudgets

DELAY: Final = 0.01
"""Seconds in which the uses of a key are collected for one report."""

_AT_ONCE: Final = 200
"""Keys in a report: an AMP value has at most 65,535 bytes."""


class Report(Struct, frozen=True, array_like=True):
    """What has been used since the last report.

    ``spent`` is all that was before the first one, and ``sums`` are those of all routers.
    """

    used: list[Used]
    spent: dict[str, Spent] = {}
    sums: dict[str, Spent] = {}


_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(Report).decode


def read_report(data: bytes) -> Report:
    """Return the report in these bytes.

    :raises ValueError: they are none.
    """
    try:
        return _decode(data)
    except (DecodeError, RecursionError) as error:
        raise ValueError(f"not a report of keys: {error}") from None


def write_reports(used: Sequence[Used]) -> Iterator[bytes]:
    """Yield as many reports as are needed for what has been used."""
    for start in range(0, len(used), _AT_ONCE):
        yield _encode(Report(list(used[start : start + _AT_ONCE])))


def _parts(spent: Mapping[str, Spent]) -> Iterator[dict[str, Spent]]:
    items = list(spent.items())
    for start in range(0, len(items), _AT_ONCE):
        yield dict(items[start : start + _AT_ONCE])


class Peer(Protocol):
    """Another process of the router."""

    def send(self, report: bytes) -> None:
        """Send a report; never block or raise."""


class Keeper(Protocol):
    """What keeps the counts beyond this process: a file, or the store of the replicas."""

    def add(self, used: Sequence[Used]) -> None:
        """Keep what has been used; never block or raise."""


class KeyLedger:
    """Passes on what this process and its peers count."""

    def __init__(self, clock: IReactorTime, budgets: KeyBudgets) -> None:
        self._clock = clock
        self._budgets = budgets
        self._keepers: list[Keeper] = []
        self._peers: dict[Peer, Counter[str]] = {}
        self._pending: IDelayedCall | None = None
        self.moved: Callable[[], None] = lambda: None
        """Called when the number of requests in progress at this router may have changed."""

    def keep_in(self, keeper: Keeper) -> None:
        """Let a keeper know what is counted."""
        self._keepers.append(keeper)
        self._budgets.told = self._told

    def join(self, peer: Peer, *, new: bool = False) -> None:
        """Exchange reports with a peer; a ``new`` one is sent all that is known."""
        self._peers[peer] = Counter()
        self._budgets.told = self._told
        if new:
            self.flush()
            for report in write_reports(self._budgets.at_present()):
                peer.send(report)
            for part in _parts(self._budgets.spent()):
                peer.send(_encode(Report([], part)))

    def leave(self, peer: Peer) -> None:
        """Count what a peer that has ended had in progress as ended."""
        counted = self._peers.pop(peer, None)
        if counted:
            ended = [Used(name, in_progress=-number) for name, number in counted.items() if number]
            self._budgets.hear(ended)
            self._pass_on(ended, None)
            self.moved()

    def received(self, data: bytes, peer: Peer) -> None:
        """Count what a peer reports.

        :raises ValueError: these bytes are no report.
        """
        report = read_report(data)
        if report.spent:
            self._budgets.restore(report.spent)
        if report.sums:
            self._budgets.raise_to(report.sums)
        counted = self._peers.get(peer)
        if counted is not None:
            for each in report.used:
                counted[each.name] += each.in_progress
        self._budgets.hear(report.used)
        self._pass_on(report.used, peer)
        self._keep(report.used)

    def heard(self, used: Sequence[Used]) -> None:
        """Count what another router has used; its own keeper keeps it."""
        self._budgets.hear(used)
        self._pass_on(used, None)

    def summed(self, spent: Mapping[str, Spent]) -> None:
        """Count at least these sums of all routers."""
        self._budgets.raise_to(spent)
        for part in _parts(spent):
            report = _encode(Report([], {}, part))
            for peer in self._peers:
                peer.send(report)

    def flush(self) -> None:
        """Report now what has been used here."""
        pending, self._pending = self._pending, None
        if pending is not None and pending.active():
            pending.cancel()
        used = self._budgets.news()
        if used:
            self._pass_on(used, None)
            self._keep(used)

    def _told(self) -> None:
        if self._pending is None:
            self._pending = self._clock.callLater(DELAY, self.flush)

    def _pass_on(self, used: Sequence[Used], source: Peer | None) -> None:
        peers = [each for each in self._peers if each is not source]
        if peers and used:
            for report in write_reports(used):
                for peer in peers:
                    peer.send(report)

    def _keep(self, used: Iterable[Used]) -> None:
        spent = [each for each in used if each.requests or each.tokens or each.picodollars]
        if spent:
            for keeper in self._keepers:
                keeper.add(spent)
        self.moved()
