"""The machine that runs an exchange's steps, beside Automat running the same table."""

from __future__ import annotations

from typing import Any, Protocol

from automat import NoTransition, TypeMachineBuilder
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.exchange_machine import ExchangeMachine, IllegalTransitionError
from autopilot.relay.exchange_states import PRIVATE_TRANSITIONS, TRANSITIONS, Input, State, Table

_TABLES = (TRANSITIONS, PRIVATE_TRANSITIONS)
_STEPS = {row.step for table in _TABLES for rows in table.values() for row in rows.values()}
_LED = st.lists(st.tuples(st.sampled_from(Input), st.sampled_from(State)), max_size=20)


class _Scripted:
    """Steps that lead where the script says; ``inside`` is done while a step runs."""

    def __init__(self, seconds: Any) -> None:
        super().__init__(seconds)  # type: ignore[call-arg]  # the machine is the next class
        self.leads_to = State.OVER
        self.inside: list[Input] = []
        self.taken: list[State] = []
        self.faults: list[BaseException] = []

    def _step(self: Any, now: float, *details: object) -> State:
        self.taken.append(self.state)
        inside, self.inside = self.inside, []
        for given_input in inside:
            self.take(given_input, None)
        led: State = self.leads_to
        return led


def _scripted_machine(table: Table = TRANSITIONS) -> type[Any]:
    def fail_internally(self: Any) -> None:
        import sys

        self.faults.append(sys.exception())
        self.state = State.OVER

    steps = {f"_{step}": _Scripted._step for step in _STEPS}
    return type(
        "Scripted",
        (_Scripted, ExchangeMachine),
        {**steps, "_fail_internally": fail_internally},
        table=table,
    )


def _automat(table: Table) -> Any:
    """The same table as a machine of Automat's: an input for each place that a row may lead to."""

    def described(name: str) -> Any:
        def method(self: object) -> None: ...

        method.__name__ = name
        return method

    names = {f"{given.value}_to_{state.value}" for given in Input for state in State}
    inputs: Any = type("Inputs", (Protocol,), {name: described(name) for name in names})
    builder: Any = TypeMachineBuilder(inputs, list)
    states = {state: builder.state(state.value) for state in State}
    for state, rows in table.items():
        for given_input, row in rows.items():
            for led in row.to:
                method = getattr(inputs, f"{given_input.value}_to_{led.value}")
                states[state].upon(method).to(states[led]).returns(None)
    return builder.build()


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_every_state_is_reached_and_left(self) -> None:
        """No state is dead, and all but the last can end."""
        for table, foreign in zip(_TABLES, ({State.SEALING}, {State.PAUSING}), strict=True):
            reached = {State.PLANNED} | {
                led for rows in table.values() for row in rows.values() for led in row.to
            }
            self.assertEqual(reached, set(State) - foreign)
            self.assertEqual(set(table), set(State) - foreign)
            for state, rows in table.items():
                if state is not State.OVER:
                    self.assertTrue(any(State.OVER in row.to for row in rows.values()), state)

    def test_leaving_is_always_possible(self) -> None:
        """From the first attempt on, a client may leave and a router stop at any time."""
        for table in _TABLES:
            for state, rows in table.items():
                if state not in (State.PLANNED, State.OVER):
                    self.assertLessEqual({Input.CLIENT_GONE, Input.SHUT_DOWN}, set(rows), state)

    def test_sealed_first(self) -> None:
        """No private request is sent but from the state in which it was sealed."""
        sending = {
            (state, given)
            for state, rows in PRIVATE_TRANSITIONS.items()
            for given, row in rows.items()
            if State.ATTEMPTING in row.to
        }
        waits_on = State.ATTEMPTING, Input.EXPIRED
        self.assertEqual(sending, {(State.SEALING, Input.SEALED), waits_on})


class MachineTests(SynchronousTestCase):
    """The machine runs the table as Automat does."""

    @given(st.sampled_from(_TABLES), _LED)
    def test_as_automat(self, table: Table, led: list[tuple[Input, State]]) -> None:
        """The same inputs lead to the same states, and the same ones are illegal."""
        machine = _scripted_machine(table)(lambda: 0.0)
        peer: Any = _automat(table)([])
        for given_input, state in led:
            if machine.state is State.OVER:
                break
            machine.leads_to = state
            machine.take(given_input, None)
            try:
                getattr(peer, f"{given_input.value}_to_{state.value}")()
            except NoTransition:
                self.assertEqual(len(machine.faults), 1)
                self.assertIsInstance(machine.faults[0], IllegalTransitionError)
                return
            self.assertEqual((machine.faults, machine.state), ([], state))

    def test_late_inputs_wait(self) -> None:
        """An input that arrives during a step is taken after it, in the state that it led to."""
        machine = _scripted_machine()(lambda: 0.0)
        machine.leads_to, machine.inside = State.ATTEMPTING, [Input.SHUT_DOWN]
        machine.take(Input.START, None)
        # The same script led the second step, which may not lead there.
        self.assertEqual(machine.taken, [State.PLANNED, State.ATTEMPTING])
        self.assertEqual(machine.state, State.OVER)

    def test_many_late_inputs(self) -> None:
        """However many wait, they do not nest."""
        machine = _scripted_machine()(lambda: 0.0)
        machine.leads_to = State.ATTEMPTING
        machine.take(Input.START, None)
        machine.inside = [Input.HEDGE] * 5000
        machine.take(Input.HEDGE, None)
        self.assertEqual((len(machine.taken), machine.faults), (5002, []))

    def test_when_over(self) -> None:
        """Whatever comes when all is over is ignored."""
        machine = _scripted_machine()(lambda: 0.0)
        machine.take(Input.START, None)
        self.assertEqual(machine.state, State.OVER)
        for given_input in Input:
            machine.take(given_input, None)
        self.assertEqual((len(machine.taken), machine.faults), (1, []))

    def test_dropped_attempts(self) -> None:
        """What an attempt brings that is not the current one comes too late."""
        machine = _scripted_machine()(lambda: 0.0)
        machine.leads_to = State.ATTEMPTING
        machine.take(Input.START, None)
        dropped: Any = object()
        machine.take(Input.BROKEN, dropped, None)
        self.assertEqual(machine.taken, [State.PLANNED])
