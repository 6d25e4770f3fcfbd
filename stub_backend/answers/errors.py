"""All error responses of the platform and its edge: status, content type and body."""

from __future__ import annotations

from stub_backend.answers.account import ACCOUNT, AT_CAPACITY
from stub_backend.answers.outages import OUTAGES
from stub_backend.answers.requests import REQUESTS
from stub_backend.scenario import Scenario

__all__ = ["AT_CAPACITY", "ERRORS"]

ERRORS: tuple[Scenario, ...] = (*REQUESTS, *ACCOUNT, *OUTAGES)
