"""Whole error responses: status, content type and body as the platform or its edge gives them."""

from __future__ import annotations

from stub_backend.answers.account import ACCOUNT, AT_CAPACITY
from stub_backend.answers.asked import ASKED
from stub_backend.answers.outages import OUTAGES
from stub_backend.scenario import Scenario

__all__ = ["AT_CAPACITY", "REFUSALS"]

REFUSALS: tuple[Scenario, ...] = (*ASKED, *ACCOUNT, *OUTAGES)
