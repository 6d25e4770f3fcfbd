"""Diagram of an exchange's states, drawn from its transition table.

``python -m tools.exchange_diagram`` writes docs/design/exchange.svg. Inputs, steps and destinations
come from the table. Positions are constants, because eight states and two dozen arrows need a
layout that a person has checked. A pair of states without a position is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from html import escape
from pathlib import Path
from typing import NamedTuple

from autopilot.relay.exchange_states import TRANSITIONS, Input, State, Transition

PATH = Path(__file__).resolve().parents[1] / "docs" / "design" / "exchange.svg"

# These inputs end an exchange in every state inside the frame, so one arrow represents them.
FRAMED = (State.ATTEMPTING, State.READING, State.PAUSING, State.HOLDING)
LEAVING = (Input.CLIENT_GONE, Input.SHUT_DOWN)

Table = Mapping[State, Mapping[Input, Transition]]

_WIDTH, _HEIGHT = 1000, 944
_LINE = 15


class LayoutError(Exception):
    """The table and the layout disagree: a position must be added or removed."""


class Anchor(Enum):
    """The end of a label at its position."""

    START = "start"
    MIDDLE = "middle"
    END = "end"


class Box(NamedTuple):
    """A state's position, and a short description of it."""

    x: int
    y: int
    width: int
    height: int
    meaning: tuple[str, ...]


class Arrow(NamedTuple):
    """A path from one state to another, and the position of its label's first line."""

    path: str
    x: int
    y: int
    anchor: Anchor = Anchor.START
    stacked: bool = True
    """Each input on a line of its own, instead of all on one line."""


_BOXES = {
    State.PLANNED: Box(20, 90, 110, 58, ("no attempt yet",)),
    State.PACING: Box(44, 284, 96, 66, ("a token of its", "key is due")),
    State.ATTEMPTING: Box(210, 90, 560, 58, ("a request is on its way; no response head yet",)),
    State.READING: Box(270, 284, 110, 66, ("an error; its", "body decides")),
    State.PAUSING: Box(465, 284, 110, 66, ("then the same", "model again")),
    State.HOLDING: Box(660, 284, 110, 66, ("a 2xx, before its", "commit point")),
    State.STREAMING: Box(866, 284, 114, 66, ("committed and", "being relayed")),
    State.OVER: Box(
        20, 574, 960, 58, ("one record, everything released; later inputs are ignored",)
    ),
}
_ARROWS = {
    (State.PLANNED, State.ATTEMPTING): Arrow("M130 119H206", 157, 112, Anchor.MIDDLE),
    (State.PLANNED, State.OVER): Arrow("M30 148V570", 37, 184),
    (State.PLANNED, State.PACING): Arrow("M92 148V280", 99, 184),
    (State.PACING, State.ATTEMPTING): Arrow("M140 317H172V136H206", 166, 262, Anchor.END),
    (State.PACING, State.OVER): Arrow("M92 350V570", 99, 382),
    (State.ATTEMPTING, State.ATTEMPTING): Arrow("M560 90V68H590V86", 600, 78, stacked=False),
    (State.ATTEMPTING, State.READING): Arrow("M290 148V280", 282, 260, Anchor.END),
    (State.ATTEMPTING, State.HOLDING): Arrow("M680 148V280", 673, 184, Anchor.END),
    (State.ATTEMPTING, State.PAUSING): Arrow("M485 148V280", 478, 184, Anchor.END),
    (State.ATTEMPTING, State.STREAMING): Arrow("M770 119H894V280", 887, 150, Anchor.END),
    (State.ATTEMPTING, State.OVER): Arrow("M226 148V570", 234, 184),
    (State.READING, State.READING): Arrow("M270 332H248V308H266", 251, 349, Anchor.MIDDLE),
    (State.READING, State.ATTEMPTING): Arrow("M360 284V152", 352, 184, Anchor.END),
    (State.READING, State.PAUSING): Arrow("M380 328H461", 421, 274, Anchor.MIDDLE),
    (State.READING, State.STREAMING): Arrow("M360 350V452H894V354", 370, 445, stacked=False),
    (State.READING, State.OVER): Arrow("M290 350V570", 298, 382),
    (State.HOLDING, State.HOLDING): Arrow("M738 350V372H758V354", 748, 388, Anchor.MIDDLE),
    (State.HOLDING, State.ATTEMPTING): Arrow("M750 284V152", 742, 184, Anchor.END),
    (State.HOLDING, State.PAUSING): Arrow("M660 328H579", 618, 274, Anchor.MIDDLE),
    (State.HOLDING, State.STREAMING): Arrow("M770 328H862", 833, 274, Anchor.MIDDLE),
    (State.HOLDING, State.OVER): Arrow("M680 350V570", 688, 382),
    (State.PAUSING, State.ATTEMPTING): Arrow("M555 284V152", 547, 184, Anchor.END),
    (State.PACING, State.PACING): Arrow("M56 350V372H76V354", 86, 388, Anchor.END),
    (State.PAUSING, State.PAUSING): Arrow("M485 350V372H505V354", 495, 388, Anchor.MIDDLE),
    (State.PAUSING, State.OVER): Arrow("M555 350V570", 563, 382),
    (State.STREAMING, State.STREAMING): Arrow("M936 284V262H960V280", 948, 224, Anchor.MIDDLE),
    (State.STREAMING, State.OVER): Arrow("M910 350V570", 917, 382),
}
_FRAME = Box(
    186,
    34,
    614,
    440,
    ("before commit: nothing, or a head and comments only, written to the client",),
)
_FRAME_ARROW = Arrow("M400 474V570", 408, 526, stacked=False)
# The positions of the lists of steps, below the diagram.
_LISTS = {
    State.PLANNED: (20, 672),
    State.PACING: (20, 724),
    State.PAUSING: (20, 822),
    State.ATTEMPTING: (208, 672),
    State.READING: (396, 672),
    State.HOLDING: (584, 672),
    State.STREAMING: (772, 672),
}

_STYLE = """\
svg { --ground: #ffffff; --text: #1f2328; --faint: #57606a; --line: #57606a; --box: #eef4fb;
  --edge: #2f6fb0; --name: #0b5394; font: 12px system-ui, "DejaVu Sans", sans-serif; }
@media (prefers-color-scheme: dark) {
  svg { --ground: #16191d; --text: #e2e6ea; --faint: #a3adb8; --line: #9aa5b1; --box: #1d2b3a;
    --edge: #5fa4e6; --name: #9ecbff; }
}
.ground { fill: var(--ground); }
.box { fill: var(--box); stroke: var(--edge); stroke-width: 1.5; }
.frame { fill: none; stroke: var(--faint); stroke-dasharray: 5 4; }
.arrow path { fill: none; stroke: var(--line); stroke-width: 1.3; marker-end: url(#tip); }
.common path { stroke-dasharray: 5 4; }
#tip path { fill: var(--line); }
text { fill: var(--text); }
.arrow text { stroke: var(--ground); stroke-width: 4; paint-order: stroke; }
.name { fill: var(--name); font-weight: 600; font-size: 13px; }
.meaning, .step { fill: var(--faint); font-size: 11px; }
.input { font-size: 11px; }"""


def pairs(table: Table) -> dict[tuple[State, State], list[Input]]:
    """Return the inputs that may lead from one state to another, without the frame's."""
    found: dict[tuple[State, State], list[Input]] = {}
    for state, rows in table.items():
        for given, row in rows.items():
            if state in FRAMED and given in LEAVING:
                if row.to != {State.OVER}:
                    raise LayoutError(f"{given} in {state} leads elsewhere than to {State.OVER}")
                continue
            for to in State:
                if to in row.to:
                    found.setdefault((state, to), []).append(given)
    return found


def diagram(table: Table) -> str:
    """Return the diagram as the text of an SVG file."""
    inputs = pairs(table)
    if inputs.keys() != _ARROWS.keys():
        raise LayoutError(f"without a place, or without a row: {inputs.keys() ^ _ARROWS.keys()}")
    for state in FRAMED:
        if not table[state].keys() >= set(LEAVING):
            raise LayoutError(f"{state} does not take every input of the frame's arrow")
    lines = [
        *_opening(),
        *_frame(),
        *(_arrow((start,), to, _ARROWS[start, to], inputs[start, to]) for start, to in _ARROWS),
        *(_box(state, box) for state, box in _BOXES.items()),
        *(_steps(state, table[state], x, y) for state, (x, y) in _LISTS.items()),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _opening() -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}"'
        f' viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="title desc">'
    )
    yield "<!-- Written by `python -m tools.exchange_diagram`. -->"
    yield '<title id="title">States of an exchange</title>'
    yield (
        '<desc id="desc">A state diagram. An exchange goes from planned to attempting, then'
        " through reading, holding, pausing and further attempts to streaming and over. Arrows"
        " carry the inputs that may lead from state to state; below, each state's inputs and"
        " their steps are listed.</desc>"
    )
    yield f"<style>\n{_STYLE}\n</style>"
    yield (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8Z"/></marker></defs>'
    )
    yield f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>'


def _frame() -> Iterator[str]:
    """Yield the frame around the states that share two inputs, and the arrow of these."""
    x, y, width, height, (meaning,) = _FRAME
    yield f'<rect class="frame" x="{x}" y="{y}" width="{width}" height="{height}" rx="12"/>'
    yield _text(x + 14, y + 20, meaning, "meaning")
    yield _arrow(FRAMED, State.OVER, _FRAME_ARROW, LEAVING, "arrow common")


def _arrow(
    starts: tuple[State, ...],
    to: State,
    arrow: Arrow,
    inputs: Iterable[Input],
    kind: str = "arrow",
) -> str:
    """Return an arrow with its label; ``data-from`` and ``data-to`` name its states."""
    names = [given.value for given in inputs]
    lines = names if arrow.stacked else [", ".join(names)]
    label = "".join(
        _text(arrow.x, arrow.y + _LINE * number, line, "input", arrow.anchor)
        for number, line in enumerate(lines)
    )
    states = f'data-from="{" ".join(starts)}" data-to="{to}"'
    return f'<g class="{kind}" {states}><path d="{arrow.path}"/>{label}</g>'


def _box(state: State, box: Box) -> str:
    middle = box.x + box.width // 2
    first = box.y + (box.height - _LINE * len(box.meaning)) // 2 + 4
    lines = "".join(
        _text(middle, first + _LINE * number, line, "meaning", Anchor.MIDDLE)
        for number, line in enumerate(box.meaning, start=1)
    )
    return (
        f'<g data-state="{state}"><rect class="box" x="{box.x}" y="{box.y}" width="{box.width}"'
        f' height="{box.height}" rx="10"/>{_text(middle, first, state, "name", Anchor.MIDDLE)}'
        f"{lines}</g>"
    )


def _steps(state: State, rows: Mapping[Input, Transition], x: int, y: int) -> str:
    """Return a state's list: a line for each input, with the step that takes it."""
    lines = "".join(
        f'<g data-input="{given}" data-step="{row.step}">'
        f"{_text(x, y + _LINE * number, given, 'input')}"
        f"{_text(x + 74, y + _LINE * number, row.step, 'step')}</g>"
        for number, (given, row) in enumerate(rows.items(), start=1)
    )
    return f'<g data-steps="{state}">{_text(x, y - 2, state, "name")}{lines}</g>'


def _text(x: int, y: int, text: str, kind: str, anchor: Anchor = Anchor.START) -> str:
    end = "" if anchor is Anchor.START else f' text-anchor="{anchor.value}"'
    return f'<text class="{kind}" x="{x}" y="{y}"{end}>{escape(text)}</text>'


if __name__ == "__main__":
    PATH.write_text(diagram(TRANSITIONS), "utf-8")
