"""One exchange: walk the plan, attempt by attempt, until a response is committed or none is left.

The table at the end of this module is the state machine; the functions in it are its steps, and
what they do is in `course`. Inputs that arrive during a step wait until it is done, so every step
finds a settled state.

Before commit nothing has been written to the client; after it nothing is retried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from automat import TypeMachineBuilder

from autopilot.relay.course import Course
from autopilot.relay.errors import SHUTTING_DOWN
from autopilot.relay.runner import release, runner
from autopilot.relay.stream import Outcome
from autopilot.routing.router_error import RouterError
from autopilot.upstream.types import ResponseHead, UpstreamError


class Exchange(Protocol):
    """Everything that can happen to one exchange."""

    def start(self) -> None:
        """The plan is made."""

    # -- from the upstream, before commit

    def head(self, head: ResponseHead) -> None:
        """The response head arrived."""

    def body(self, data: bytes) -> None:
        """Body bytes arrived."""

    def end(self) -> None:
        """The response ended cleanly."""

    def broken(self, broken: UpstreamError) -> None:
        """The attempt broke."""

    # -- from elsewhere, at any time

    def expired(self) -> None:
        """The nearest deadline passed."""

    def client_gone(self) -> None:
        """The client has left."""

    def shut_down(self) -> None:
        """The time for streams to finish has run out."""

    # -- verdicts of the steps

    def attempt(self) -> None:
        """Send the request to the candidate at hand."""

    def read(self) -> None:
        """The body is needed to decide."""

    def hold(self) -> None:
        """A 2xx, to be held until its commit point."""

    def pause(self) -> None:
        """The model asked for a moment; then the same one again."""

    def commit(self) -> None:
        """This response is the one."""

    def refuse(self, refusal: RouterError) -> None:
        """Nothing is left to try, or no time to try it."""

    def over(self, outcome: Outcome) -> None:
        """The committed response has ended on the client's side."""


_machine = TypeMachineBuilder(Exchange, Course)

planned = _machine.state("planned")
attempting = _machine.state("attempting")
reading = _machine.state("reading")
holding = _machine.state("holding")
pausing = _machine.state("pausing")
streaming = _machine.state("streaming")
over = _machine.state("over")


def _begin(machine: Exchange, course: Course) -> None:
    course.advance()
    course.launch()


def _launch(machine: Exchange, course: Course) -> None:
    course.launch()


def _judge_head(machine: Exchange, course: Course, head: ResponseHead) -> None:
    course.judge_head(head)


def _judge_break(machine: Exchange, course: Course, broken: UpstreamError) -> None:
    course.judge_break(broken)


def _collect(machine: Exchange, course: Course, data: bytes) -> None:
    course.collect(data)


def _collected(machine: Exchange, course: Course) -> None:
    course.collected()


def _cut_short(machine: Exchange, course: Course, broken: UpstreamError) -> None:
    course.cut_short(broken)


def _weigh(machine: Exchange, course: Course, data: bytes) -> None:
    course.weigh(data)


def _weigh_end(machine: Exchange, course: Course) -> None:
    course.weigh_end()


def _expire(machine: Exchange, course: Course) -> None:
    course.expire()


def _pause_over(machine: Exchange, course: Course) -> None:
    course.pause_over()


def _arm(machine: Exchange, course: Course) -> None:
    course.arm()


def _commit(machine: Exchange, course: Course) -> None:
    course.commit()


def _refuse(machine: Exchange, course: Course, refusal: RouterError) -> None:
    course.refuse(refusal)
    release(machine)


def _abandon(machine: Exchange, course: Course) -> None:
    course.abandon()
    release(machine)


def _refuse_to_wait(machine: Exchange, course: Course) -> None:
    course.refuse(SHUTTING_DOWN)
    release(machine)


def _stream_client_gone(machine: Exchange, course: Course) -> None:
    course.ending.stream_client_gone()


def _stream_shut_down(machine: Exchange, course: Course) -> None:
    course.ending.stream_shut_down()


def _conclude(machine: Exchange, course: Course, outcome: Outcome) -> None:
    course.ending.conclude(outcome)
    release(machine)


def _table() -> None:
    planned.upon(Exchange.start).to(attempting)(_begin)

    attempting.upon(Exchange.head).loop()(_judge_head)
    attempting.upon(Exchange.broken).loop()(_judge_break)

    reading.upon(Exchange.body).loop()(_collect)
    reading.upon(Exchange.end).loop()(_collected)
    reading.upon(Exchange.broken).loop()(_cut_short)

    holding.upon(Exchange.body).loop()(_weigh)
    holding.upon(Exchange.end).loop()(_weigh_end)
    holding.upon(Exchange.broken).loop()(_judge_break)

    pausing.upon(Exchange.expired).loop()(_pause_over)
    for state in (attempting, reading, holding):
        state.upon(Exchange.expired).loop()(_expire)

    attempting.upon(Exchange.read).to(reading)(_arm)
    attempting.upon(Exchange.hold).to(holding)(_arm)
    for state in (attempting, reading):
        state.upon(Exchange.pause).to(pausing).returns(None)
    for state in (attempting, reading, holding):
        state.upon(Exchange.commit).to(streaming)(_commit)
    for state in (attempting, reading, holding, pausing):
        state.upon(Exchange.attempt).to(attempting)(_launch)
        state.upon(Exchange.refuse).to(over)(_refuse)
        state.upon(Exchange.client_gone).to(over)(_abandon)
        state.upon(Exchange.shut_down).to(over)(_refuse_to_wait)

    streaming.upon(Exchange.client_gone).loop()(_stream_client_gone)
    streaming.upon(Exchange.shut_down).loop()(_stream_shut_down)
    streaming.upon(Exchange.over).to(over)(_conclude)

    # Whatever still comes in when all is decided comes too late.
    for late in (Exchange.expired, Exchange.client_gone, Exchange.shut_down, Exchange.end):
        over.upon(late).loop().returns(None)
    over.upon(Exchange.head).loop()(lambda machine, course, head: None)
    over.upon(Exchange.body).loop()(lambda machine, course, data: None)
    over.upon(Exchange.broken).loop()(lambda machine, course, broken: None)
    over.upon(Exchange.over).loop()(lambda machine, course, outcome: None)
    over.upon(Exchange.refuse).loop()(lambda machine, course, refusal: None)
    over.upon(Exchange.attempt).loop().returns(None)


_table()
new_exchange: Callable[[Course], Exchange] = runner(_machine.build())
