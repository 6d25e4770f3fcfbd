"""The runner of state machines does what Automat does, step by step."""

from __future__ import annotations

from typing import Any, Protocol

from automat import NoTransition, TypeMachineBuilder
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.runner import release, runner


class Lamp(Protocol):
    """A lamp."""

    def press(self) -> None:
        """Switch it."""

    def shake(self, times: int) -> None:
        """Only a lit one; each shake may lead to others."""

    def smash(self) -> None:
        """Only a lit one, and it hurts."""


def lamp() -> tuple[Any, list[str]]:
    """A machine for lamps, and what they say."""
    said: list[str] = []
    builder = TypeMachineBuilder(Lamp, list)
    dark, lit = builder.state("dark"), builder.state("lit")

    def shaken(machine: Lamp, core: list[object], times: int) -> None:
        said.append(f"shake {times}")
        if times > 1:
            machine.shake(times - 1)
            machine.shake(times - 2)
        said.append(f"shaken {times}")

    def smashed(machine: Lamp, core: list[object]) -> None:
        machine.press()
        raise ZeroDivisionError

    dark.upon(Lamp.press).to(lit)(lambda machine, core: said.append("lit"))
    lit.upon(Lamp.press).to(dark)(lambda machine, core: said.append("dark"))
    lit.upon(Lamp.shake).loop()(shaken)
    lit.upon(Lamp.smash).to(dark)(smashed)
    dark.upon(Lamp.smash).loop().returns(None)
    return builder.build(), said


INPUTS = st.sampled_from([("press",), ("smash",), ("shake", 1), ("shake", 2), ("shake", 4)])


def run(machine: Any, said: list[str], inputs: list[tuple[Any, ...]]) -> list[str]:
    """All that comes of these inputs, exceptions too."""
    for name, *given_with in inputs:
        try:
            getattr(machine, name)(*given_with)
        except (NoTransition, ZeroDivisionError) as raised:
            said.append(type(raised).__name__)
    return said


class RunnerTests(SynchronousTestCase):
    """A machine run by the runner."""

    @given(st.lists(INPUTS, max_size=12))
    def test_as_automat(self, inputs: list[tuple[Any, ...]]) -> None:
        """The same steps in the same order, also for inputs during a step and after exceptions."""
        theirs, said_by_theirs = lamp()
        ours, said_by_ours = lamp()
        factory = runner(ours)
        self.assertIsNot(factory, ours)
        self.assertEqual(
            run(factory([]), said_by_ours, inputs), run(theirs([]), said_by_theirs, inputs)
        )

    def test_each_its_own(self) -> None:
        """Two machines of one factory do not share a state; an unknown input names it."""
        machine, said = lamp()
        factory = runner(machine)
        one, other = factory([]), factory([])
        one.press()
        other.press()
        one.press()
        self.assertEqual(said, ["lit", "lit", "dark"])
        with self.assertRaises(NoTransition) as caught:
            one.shake(1)
        self.assertIn("dark", str(caught.exception))

    def test_release(self) -> None:
        """A machine that was released holds its core no more; one of Automat's is left alone."""
        machine, said = lamp()
        core: list[object] = []
        one = runner(machine)(core)
        release(one)
        one.press()
        self.assertEqual((one.core, said), (None, ["lit"]))
        release(machine(core))

    def test_left_to_automat(self) -> None:
        """States with data, or another Automat, are not for it."""
        builder = TypeMachineBuilder(Lamp, list)
        dark = builder.state("dark")
        full = builder.state("full", lambda machine, core: object())
        dark.upon(Lamp.press).to(full).returns(None)
        full.upon(Lamp.press).to(dark)(lambda machine, core, data: None)
        machine = builder.build()
        self.assertIs(runner(machine), machine)
        other = object()
        self.assertIs(runner(other), other)
