"""A stub of the Chutes.ai platform: its feeds, its models, and every failure they can show.

Run `python -m stub_backend --help`, or use it in-process: `site(reactor, StubOptions())`.
It imports nothing of the router.
"""

from stub_backend.evidence_scenarios import EVIDENCE_SCENARIOS, EvidenceScenario
from stub_backend.log import Received
from stub_backend.options import StubOptions
from stub_backend.scenario import Ending, Scenario
from stub_backend.scenarios import SCENARIOS
from stub_backend.stub import Stub, site

__all__ = [
    "EVIDENCE_SCENARIOS",
    "SCENARIOS",
    "Ending",
    "EvidenceScenario",
    "Received",
    "Scenario",
    "Stub",
    "StubOptions",
    "site",
]
