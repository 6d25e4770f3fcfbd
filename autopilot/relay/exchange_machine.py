"""State machine of an exchange, which queues its inputs and runs its steps.

A step is a method that takes the time and the input's details and returns the next state. An input
that arrives during a step waits until the step has returned, so that every step starts in a defined
state. Exceptions of steps are caught here, and only here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from autopilot.relay.exchange_states import TRANSITIONS, Input, State, Table

if TYPE_CHECKING:
    from autopilot.relay.attempt import Attempt

_Step = tuple[Callable[..., State], frozenset[State]]


class IllegalTransitionError(Exception):
    """An input or a next state that is not in the transition table: a bug."""


class ExchangeMachine(ABC):
    """Handles the inputs of one exchange, one at a time.

    The subclass defines the steps that its ``table`` names.
    """

    __slots__ = ("_busy", "_late", "_seconds", "attempt", "state")

    _steps: ClassVar[Mapping[State, Mapping[Input, _Step]]] = {}

    def __init_subclass__(cls, *, has_steps: bool = True, table: Table = TRANSITIONS) -> None:
        super().__init_subclass__()
        if has_steps:
            cls._steps = {
                state: {
                    given: (getattr(cls, f"_{row.step}"), row.to) for given, row in rows.items()
                }
                for state, rows in table.items()
            }

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._busy = False
        self._late: list[tuple[Input, Attempt | None, tuple[Any, ...]]] = []
        self.attempt: Attempt | None = None
        self.state = _PLANNED

    def expired(self) -> None:
        """Handle the expiry of the nearest deadline."""
        self.take(Input.EXPIRED, None)

    def client_gone(self) -> None:
        """Handle the client's disconnection."""
        self.take(Input.CLIENT_GONE, None)

    def shut_down(self) -> None:
        """Handle the end of the grace period of a shutdown."""
        self.take(Input.SHUT_DOWN, None)

    def take(self, given: Input, attempt: Attempt | None, *details: Any) -> None:
        """Run the step for an input; ``attempt`` is the source of an input from a response."""
        if self._busy:
            self._late.append((given, attempt, details))
            return
        while True:  # an input of a step is taken after it, in this loop
            # Too late: of an exchange that has ended, or of an attempt that was replaced.
            if self.state is not _OVER and (attempt is None or attempt is self.attempt):
                self._busy = True
                try:
                    step, allowed = self._steps[self.state].get(given, _ILLEGAL)
                    now = self._seconds()
                    state = step(self, now, *details) if details else step(self, now)
                    if state not in allowed:
                        raise IllegalTransitionError(
                            f"{given} in {self.state} must not lead to {state}"
                        )
                    self.state = state
                except Exception:  # noqa: BLE001  nothing is awaited here, so nothing was cancelled
                    self._fail_internally()
                finally:
                    self._busy = False
            if not self._late:
                return
            given, attempt, details = self._late.pop(0)

    @abstractmethod
    def _fail_internally(self) -> None:
        """Handle the exception that a step raised; afterwards the exchange is over."""


def _illegal(machine: ExchangeMachine, *_: Any) -> State:
    raise IllegalTransitionError(f"an input has no row in {machine.state}")


# Looked up once: through their enum, these would cost as much as a call.
_PLANNED, _OVER = State.PLANNED, State.OVER
_ILLEGAL: _Step = (_illegal, frozenset())
