"""Checks that cost nothing: the two feeds, and evidence."""

from __future__ import annotations

from functools import partial

from tests.rigs.live.check import Check, Cost
from tests.rigs.live.facts import catalog_facts, evidence_facts, feed_facts
from tests.rigs.live.model_choice import NO_CHUTE, ModelChoice
from tests.rigs.live.request import Auth, Host, LiveRequest

MODELS = "/v1/models"
EVIDENCE = "/chutes/{chute}/evidence"
NONCE = "?nonce={nonce}"


def catalog(_cast: ModelChoice, *, query: str = "", auth: Auth = Auth.NONE) -> LiveRequest:
    """Return a request for the catalog that accepts compression."""
    return LiveRequest(method="GET", path=MODELS + query, auth=auth, compressed=True)


def feed(_cast: ModelChoice) -> LiveRequest:
    """Return a request for the utilization feed that accepts compression."""
    return LiveRequest(
        host=Host.API, method="GET", path="/chutes/utilization", auth=Auth.NONE, compressed=True
    )


def _head(_cast: ModelChoice) -> LiveRequest:
    return LiveRequest(method="HEAD", path=MODELS)


def _entry(choice: ModelChoice) -> LiveRequest:
    return LiveRequest(method="GET", path=MODELS + "/{model}", fill={"model": choice.usual().name})


def _evidence(chute: str, nonce: str | None) -> LiveRequest:
    query = "" if nonce is None else NONCE
    fill = {"chute": chute, "nonce": nonce or ""}
    return LiveRequest(
        host=Host.API, method="GET", path=EVIDENCE + query, fill=fill, auth=Auth.NONE
    )


def _of_tee(choice: ModelChoice) -> LiveRequest:
    return _evidence(choice.tee().chute_id, choice.nonce)


def _of_other(choice: ModelChoice) -> LiveRequest:
    return _evidence(choice.not_tee().chute_id, choice.nonce)


def _of_unknown(choice: ModelChoice) -> LiveRequest:
    return _evidence(NO_CHUTE, choice.nonce)


def _stats(_cast: ModelChoice) -> LiveRequest:
    return LiveRequest(host=Host.API, method="GET", path="/invocations/stats/llm", auth=Auth.NONE)


def _aliases(_cast: ModelChoice) -> LiveRequest:
    return LiveRequest(host=Host.API, method="GET", path="/model_aliases/")


def _instances(choice: ModelChoice) -> LiveRequest:
    fill = {"chute": choice.tee().chute_id}
    return LiveRequest(host=Host.API, method="GET", path="/e2e/instances/{chute}", fill=fill)


CHECKS: tuple[Check, ...] = (
    Check(id="catalog", what="the catalog, without a key", cost=Cost.NOTHING,
          build=catalog, facts=catalog_facts),
    Check(id="feed", what="the utilization feed, without a key", cost=Cost.NOTHING,
          build=feed, facts=feed_facts),
    Check(id="catalog-bad-key", what="the catalog with a bad key", cost=Cost.NOTHING,
          build=partial(catalog, auth=Auth.WRONG)),
    Check(id="catalog-or", what="the catalog with ?or=true", cost=Cost.NOTHING,
          build=partial(catalog, query="?or=true"), facts=catalog_facts, on_request=True),
    Check(id="catalog-head", what="HEAD of the catalog", cost=Cost.NOTHING,
          build=_head, on_request=True),
    Check(id="catalog-entry", what="one entry of the catalog by its name",
          cost=Cost.NOTHING, build=_entry, on_request=True),
    Check(id="evidence-no-nonce", what="evidence without a nonce", cost=Cost.NOTHING,
          build=lambda choice: _evidence(choice.tee().chute_id, None),
          accepted=("evidence-edge-nonce",)),
    Check(id="evidence-short-nonce", what="evidence with a short nonce",
          cost=Cost.NOTHING, build=lambda choice: _evidence(choice.tee().chute_id, "abcde")),
    Check(id="evidence", what="evidence of a TEE model with a fresh nonce",
          cost=Cost.NOTHING, build=_of_tee, facts=evidence_facts,
          accepted=("evidence-partial", "evidence-all-failed", "evidence-400-outdated")),
    Check(id="evidence-no-tee", what="evidence of a model that is not TEE",
          cost=Cost.NOTHING, build=_of_other),
    Check(id="evidence-nobody", what="evidence of a chute that does not exist",
          cost=Cost.NOTHING, build=_of_unknown, on_request=True),
    Check(id="stats", what="the public daily statistics", cost=Cost.NOTHING, build=_stats,
          on_request=True),
    Check(id="aliases", what="the account's aliases, of which only the shape is kept",
          cost=Cost.NOTHING, build=_aliases, on_request=True),
    Check(id="e2e-instances", what="instances to encrypt to", cost=Cost.NOTHING,
          build=_instances, on_request=True),
)  # fmt: skip
