"""Invented results of runs, for the tests of reports and targets."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.results import Measurement, Results, ScenarioInfo

ONE = Measurement(
    scenario="unary-closed",
    upstream="plain",
    subject="caddy",
    round=1,
    streams=32,
    units=1000,
    elapsed=2.0,
    cpu=0.1,
    load_share=0.2,
    upstream_share=0.1,
    shared_core=True,
    p50=200,
    mean=250.4,
    p99=400,
    p999=500,
    longest=600,
    first_byte_p50=150,
    first_byte_p99=300,
    max_gap_ms=20.0,
    grown=0,
    rss=0,
    peak=0,
    errors=0,
)


def run(**cpu_of_subjects: tuple[float, ...]) -> Results:
    """Return a run of one scenario, from each subject's CPU seconds per 1000 requests by round."""
    names = {"autopilot": "autopilot, alias", "before": "before, alias", "direct": "no proxy"}
    measurements = [
        replace(ONE, subject=names.get(name, name), round=number, cpu=cpu)
        for name, cpus in cpu_of_subjects.items()
        for number, cpu in enumerate(cpus, 1)
    ]
    info = ScenarioInfo("unary-closed", "closed loop", "request", "unary", 32, False)
    return Results({"CPU": "some"}, {"rounds": 3}, [info], measurements)
