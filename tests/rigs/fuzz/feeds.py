"""Targets for the platform's feeds: each response gives an expected error or usable values."""

from __future__ import annotations

import json
import math
from itertools import pairwise

from autopilot.attestation.evidence_parser import read_answer
from autopilot.attestation.evidence_state import EvidenceState
from autopilot.feeds.model_list import model_document, models_document
from autopilot.feeds.parsers import parse_catalog, parse_utilization
from autopilot.http.fetch import FetchedResponse
from autopilot.http.fetch_error import OUTCOMES, FetchError
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.ranking import Load, rank
from autopilot.routing.snapshot import Snapshot

_LONGEST_NAME = 256
_STATUSES = (200, 200, 200, 200, 400, 404, 422, 429, 500, 502)
_NONCE = "ab" * 32
_KNOWN = Catalog.of(
    [Model("acme/Model-1", "chute-of-acme/Model-1"), Model("b", "2"), Model("c-TEE", "3")]
)


def catalog(data: bytes) -> None:
    """Parse the data as a catalog."""
    try:
        parsed = parse_catalog(data)
    except FetchError as error:
        assert error.outcome in OUTCOMES
        return
    assert parsed.rejected >= 0
    names = [model.name for model in parsed.models]
    assert len(set(names)) == len(names), names
    for model in parsed.models:
        _check_name(model.name)
        for size in (model.context_length, model.max_output_length):
            assert size is None or size >= 1, model
        assert model.raw in data, model.raw
    made = Catalog.of(parsed.models)
    Snapshot(made)
    _check_listing(made)


def _check_listing(made: Catalog) -> None:
    """Check that the list of models is valid JSON, entry by entry."""
    listing = json.loads(models_document(made, ["alias"], 7))["data"]
    others = [name for name in made.models if name != "alias"]
    assert [each["id"] for each in listing] == ["alias", *others], listing
    for name in others:
        document = model_document(made, ["alias"], 7, name)
        assert document is not None and json.loads(document)["id"] == name


def utilization(data: bytes) -> None:
    """Parse the data as the utilization feed; rank its models with a catalog and without one."""
    try:
        parsed = parse_utilization(data)
    except FetchError as error:
        assert error.outcome in OUTCOMES
        return
    for load in parsed.loads:
        _check_load(load)
    for made in (_KNOWN, None):
        ranking = rank(parsed.loads, made)
        assert ranking == rank(reversed(parsed.loads), made), "another order, another ranking"
        names = [each.name for each in ranking]
        assert len(set(names)) == len(names), names
        assert all(a.score >= b.score for a, b in pairwise(ranking)), ranking
        for each in ranking:
            parts = (each.score, each.free, each.bonus, each.penalty, each.util, each.rate_limit)
            assert all(map(math.isfinite, parts)), each
            assert each.active_instance_count > 0, each
        Snapshot(made, ranking)


def _check_load(load: Load) -> None:
    """Check that names are printable and numbers finite."""
    _check_name(load.name)
    assert load.active_instance_count >= 0
    numbers = (
        load.utilization_current,
        load.utilization_5m,
        load.utilization_15m,
        load.utilization_1h,
        load.rate_limit_ratio_5m,
        load.rate_limit_ratio_15m,
        load.rate_limit_ratio_1h,
        load.scale_allowance,
    )
    assert all(each is None or (math.isfinite(each) and each >= 0) for each in numbers), load


def _check_name(name: str) -> None:
    assert 0 < len(name) <= _LONGEST_NAME and name.isprintable(), name


def evidence(data: bytes) -> None:
    """Parse the data as evidence: the first byte selects the status, the rest is the body."""
    status = _STATUSES[int.from_bytes(data[:1]) % len(_STATUSES)]
    keys = {"i1": "a2V5"}
    found = read_answer(FetchedResponse(status, data[1:]), _NONCE, frozenset({bytes(32)}), keys)
    assert found.state in (EvidenceState.UNAVAILABLE, EvidenceState.PRESENT), found
    assert (found.state is EvidenceState.UNAVAILABLE) == (found.reason is not None), found
    assert status == 200 or found.state is EvidenceState.UNAVAILABLE, found
    assert min(found.instances, found.failed, found.gpus, found.nonces_bound) >= 0, found
    assert found.state is EvidenceState.UNAVAILABLE or found.instances > 0, found
    assert all(len(each) == 32 for each in found.nonce_hashes), found
    assert (
        read_answer(FetchedResponse(status, data[1:]), _NONCE, frozenset({bytes(32)}), keys)
        == found
    )
