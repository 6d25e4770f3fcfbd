"""The diagram of an exchange's states: it is the table's, and it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.exchange_states import TRANSITIONS, Input, State, Transition
from tools.exchange_diagram import PATH, LayoutError, Table, diagram

_NAMESPACE = {"svg": "http://www.w3.org/2000/svg"}


def _root(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314  our own file


def _drawn(svg: str) -> Iterator[tuple[State, Input, State]]:
    """Yield each transition that an arrow shows."""
    for arrow in _root(svg).iterfind(".//svg:g[@data-from]", _NAMESPACE):
        names = ", ".join(
            "".join(each.itertext()) for each in arrow.iterfind("svg:text", _NAMESPACE)
        )
        for start in arrow.attrib["data-from"].split():
            for name in names.split(", "):
                yield State(start), Input(name), State(arrow.attrib["data-to"])


def _listed(svg: str) -> Iterator[tuple[State, Input, str]]:
    """Yield each row of the lists below the arrows, as it can be read."""
    for listing in _root(svg).iterfind(".//svg:g[@data-steps]", _NAMESPACE):
        for row in listing.iterfind("svg:g", _NAMESPACE):
            name, step = ("".join(each.itertext()) for each in row)
            yield State(listing.attrib["data-steps"]), Input(name), step


def _changed(state: State, given: Input, row: Transition) -> Table:
    """Return the table with one row added or replaced."""
    return {**TRANSITIONS, state: {**TRANSITIONS[state], given: row}}


class DiagramTests(SynchronousTestCase):
    """docs/design/exchange.svg."""

    def test_is_current(self) -> None:
        """The committed file is the one that the tool makes of the table."""
        self.assertEqual(
            PATH.read_text("utf-8"), diagram(TRANSITIONS), "run python -m tools.exchange_diagram"
        )

    def test_every_transition_is_drawn(self) -> None:
        """Each transition has an arrow with its input, and no arrow shows another one."""
        expected = [
            (state, given, to)
            for state, rows in TRANSITIONS.items()
            for given, row in rows.items()
            for to in row.to
        ]
        self.assertEqual(sorted(_drawn(PATH.read_text("utf-8"))), sorted(expected))

    def test_every_step_is_listed(self) -> None:
        """Each row of the table is listed once, with its step."""
        expected = [
            (state, given, row.step)
            for state, rows in TRANSITIONS.items()
            for given, row in rows.items()
        ]
        self.assertEqual(sorted(_listed(PATH.read_text("utf-8"))), sorted(expected))

    def test_names_and_description(self) -> None:
        """Every state has a box, and the file says in words what it shows."""
        root = _root(PATH.read_text("utf-8"))
        boxes = [
            each.attrib["data-state"] for each in root.iterfind("svg:g[@data-state]", _NAMESPACE)
        ]
        self.assertEqual(sorted(boxes), sorted(TRANSITIONS))
        for name in ("title", "desc"):
            self.assertTrue(root.findtext(f"svg:{name}", namespaces=_NAMESPACE), name)


class LayoutTests(SynchronousTestCase):
    """A table that the layout does not fit."""

    def test_new_pair(self) -> None:
        """A pair of states without a place is refused instead of left out."""
        row = Transition("wake", frozenset({State.HOLDING}))
        self.assertRaises(LayoutError, diagram, _changed(State.PAUSING, Input.BODY, row))

    def test_pair_without_a_row(self) -> None:
        """So is an arrow that no row of the table needs any longer."""
        row = Transition("try_first", frozenset({State.ATTEMPTING}))
        self.assertRaises(LayoutError, diagram, _changed(State.PLANNED, Input.START, row))

    def test_frame(self) -> None:
        """The frame's arrow holds for all of its states: they take its inputs, and end."""
        row = Transition("linger", frozenset({State.HOLDING, State.OVER}))
        self.assertRaises(LayoutError, diagram, _changed(State.HOLDING, Input.CLIENT_GONE, row))
        rows = dict(TRANSITIONS[State.PAUSING])
        del rows[Input.SHUT_DOWN]
        self.assertRaises(LayoutError, diagram, {**TRANSITIONS, State.PAUSING: rows})

    def test_new_input(self) -> None:
        """A further input between states that have an arrow needs no new place."""
        row = Transition("wake", frozenset({State.OVER}))
        svg = diagram(_changed(State.PAUSING, Input.BODY, row))
        self.assertIn((State.PAUSING, Input.BODY, State.OVER), list(_drawn(svg)))
        self.assertIn((State.PAUSING, Input.BODY, "wake"), list(_listed(svg)))
