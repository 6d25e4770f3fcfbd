"""The workers of a parent, as its pages and metrics show them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from autopilot.observability.workers import WorkerNow, WorkersNow
from autopilot.service.frames import Kind
from autopilot.service.reports import Reports, answer_page

if TYPE_CHECKING:
    from autopilot.observability.worker_report import Whole, WorkerReport
    from autopilot.service.supervisor import Supervisor
    from autopilot.service.watched_worker import WorkerState
    from autopilot.service.worker_process import Processes, WorkerProcess
    from autopilot.web.status.collected_pages import PageName


class ShownWorkers:
    """What is known of each worker's process: from supervision, the board and its reports.

    ``answer`` returns a page for a worker that asks for it. See `Workers`.
    """

    def __init__(
        self,
        clock: Any,
        supervisor: Supervisor,
        processes: Processes,
        answer: Callable[[PageName], Deferred[bytes]],
    ) -> None:
        self._supervisor = supervisor
        self._processes = processes
        self._answer = answer
        self._reports = Reports(clock, self._running)
        self.start, self.stop = self._reports.start, self._reports.stop
        self.ended = self._reports.ended

    def follow(self, child: WorkerProcess) -> None:
        """Take the reports of a process that has been started, and answer its questions."""
        child.frames.on(Kind.REPORT, partial(self._reports.received, child))
        child.frames.on(Kind.PAGE, partial(answer_page, child.frames, answer=self._answer))

    @property
    def whole(self) -> Whole:
        """See `Workers`."""
        return self._reports.whole

    @property
    def serving(self) -> int:
        """See `Workers`."""
        return self._supervisor.serving

    def collect(self) -> Deferred[bool]:
        """See `Workers`."""
        return self._reports.collect()

    def now(self) -> WorkersNow:
        """See `Workers`."""
        supervisor = self._supervisor
        children = {each.pid: each for each in self._processes.running.values()}
        return WorkersNow(
            supervisor.count,
            supervisor.serving,
            supervisor.deaths,
            supervisor.holds,
            supervisor.rolls,
            tuple(
                self._worker(state, children[state.pid])
                for state in supervisor.states()
                if state.pid in children
            ),
        )

    def _running(self) -> list[WorkerProcess]:
        """Return the processes by number, those that drain behind those that serve."""
        children = {each.pid: each for each in self._processes.running.values()}
        states = self._supervisor.states()
        return [children[each.pid] for each in states if each.pid in children]

    def _worker(self, state: WorkerState, child: WorkerProcess) -> WorkerNow:
        board, report = child.board_slot, self._reports.report(child)
        return WorkerNow(
            state.number,
            state.pid,
            state.state,
            state.age,
            board.requests,
            board.connections,
            board.received,
            _gauge(report, "process_cpu_seconds_total"),
            _gauge(report, "process_resident_memory_bytes"),
            self._reports.age(child),
        )


def _gauge(report: WorkerReport | None, name: str) -> float | None:
    samples = [] if report is None else report.counted.gauges.get(name, [])
    return samples[0][1] if samples else None
