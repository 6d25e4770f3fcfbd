"""The plot of a run as SVG: five panels over one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import floor, log10
from typing import Final

from tests.rigs.soak.sampling import MB, Sample

_WIDTH, _PANEL, _LEFT, _RIGHT, _TOP = 860, 110, 70, 20, 40
_GAP: Final = 28
_STEPS: Final = (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10)
_COLOURS: Final = ("#2460a7", "#27803b", "#8e44ad", "#c0392b", "#b9770e")


def svg(samples: Sequence[Sample], title: str) -> str:
    """Plot memory, descriptors, active requests, requests and failures per second over time."""
    pairs = list(pairwise(samples)) or [(samples[0], samples[0])]
    times = [each.at for each in samples]
    later = [after.at for _, after in pairs]
    panels = (
        ("resident memory, MB", times, [each.rss / MB for each in samples]),
        ("open descriptors", times, [float(each.descriptors) for each in samples]),
        ("active requests", times, [float(each.active) for each in samples]),
        ("requests/s", later, [_rate(a, b, a.requests, b.requests) for a, b in pairs]),
        ("injected failures/s", later, [_rate(a, b, a.failures, b.failures) for a, b in pairs]),
    )
    end = max(times[-1], 1.0)
    height = _TOP + len(panels) * (_PANEL + _GAP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}">',
        "<style>text { font: 11px sans-serif }</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="20">{title}</text>',
    ]
    for place, (name, moments, values) in enumerate(panels):
        top = _TOP + place * (_PANEL + _GAP)
        parts += _panel(name, moments, values, end, top, _COLOURS[place])
    for share in range(5):
        x = _x(end * share / 4, end)
        parts.append(f'<text x="{x}" y="{height - 8}" text-anchor="middle">{end * share / 4:.0f} s')
        parts[-1] += "</text>"
    return "\n".join([*parts, "</svg>"]) + "\n"


def _rate(before: Sample, after: Sample, low: int, high: int) -> float:
    return (high - low) / max(after.at - before.at, 0.001)


def _x(at: float, end: float) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * at / end, 1)


def _round(value: float) -> float:
    """Return the next round number."""
    power: float = 10 ** floor(log10(value))
    return next(step * power for step in _STEPS if step * power >= value)


def _panel(
    name: str, moments: Sequence[float], values: Sequence[float], end: float, top: int, colour: str
) -> list[str]:
    most = _round(max([*values, 1.0]) * 1.02)
    points = " ".join(
        f"{_x(at, end)},{round(top + _PANEL - _PANEL * value / most, 1)}"
        for at, value in zip(moments, values, strict=True)
    )
    right, bottom = _WIDTH - _RIGHT, top + _PANEL
    lines = [f'<text x="{_LEFT}" y="{top - 5}" fill="{colour}">{name}</text>']
    for share in (0.0, 0.5, 1.0):
        y = round(bottom - _PANEL * share, 1)
        lines += [
            f'<line x1="{_LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="#dddddd"/>',
            f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{most * share:.4g}</text>',
        ]
    lines.append(f'<polyline fill="none" stroke="{colour}" points="{points}"/>')
    return lines
