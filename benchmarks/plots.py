"""The two plots: cost and latency of an event by the number of streams.

They need matplotlib, which is installed in an environment of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import Measurement, Results

_COLOURS = {"autopilot, alias": "#c0392b", "nginx": "#27803b", "caddy": "#2460a7"}
_DIRECT = ("no proxy", "#777777")
_ROUND = [digit * 10**power for power in range(6) for digit in (1, 2, 5)]


def draw(results: Results, folder: Path) -> None:
    """Write ``cpu.svg`` and ``latency.svg``; equal results give equal bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "chutes-autopilot", "font.size": 10})
    folder.mkdir(parents=True, exist_ok=True)
    keys = {each.key for each in results.scenarios if each.growth}
    found = [m for m in results.measurements if m.scenario in keys and m.upstream == "plain"]
    axes, save = _figure("CPU per relayed event", "µs of CPU per event")
    for subject, colour in _COLOURS.items():
        _line(axes, found, subject, lambda m: m.cpu_us, label=subject, color=colour, marker="o")
    save(folder / "cpu.svg")
    axes, save = _figure("Latency of an event, upstream to client", "µs, logarithmic")
    for subject, colour in (*_COLOURS.items(), _DIRECT):
        for name, style in (("p50", "-"), ("p99", ":")):
            _line(
                axes,
                found,
                subject,
                attrgetter(name),
                label=f"{subject}, {name}",
                color=colour,
                linestyle=style,
                marker="o",
            )
    axes.set_yscale("log")
    lowest, highest = axes.get_ylim()
    within = [each for each in _ROUND if lowest < each < highest]
    axes.set_yticks(within, [f"{each:,}" for each in within])
    save(folder / "latency.svg")


def _figure(title: str, unit: str) -> tuple[Any, Callable[[Path], None]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.set(title=f"{title}, 10,000 events/s in all", xlabel="streams", ylabel=unit)
    axes.set_xscale("log")
    axes.grid(True, color="#dddddd")

    def save(path: Path) -> None:
        axes.set_ylim(bottom=0 if axes.get_yscale() == "linear" else None)
        axes.set_xticks([100, 400, 1000, 2500, 5000], ["100", "400", "1,000", "2,500", "5,000"])
        axes.minorticks_off()
        if axes.lines:
            figure.legend(loc="outside right upper", fontsize=8)
        figure.savefig(path, metadata={"Date": None})

    return axes, save


def _line(
    axes: Any,
    found: list[Measurement],
    subject: str,
    read: Callable[[Measurement], float | None],
    **style: Any,
) -> None:
    points: dict[int, list[float]] = {}
    for each in found:
        value = read(each)
        if each.subject == subject and value is not None:
            points.setdefault(each.streams, []).append(value)
    if points:
        axes.plot(sorted(points), [median(points[n]) for n in sorted(points)], **style)


if __name__ == "__main__":
    draw(Results.load(Path(sys.argv[1])), Path(sys.argv[2]))
