"""The errors that the platform shows on the way of an encrypted call."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stub_backend.problem import Problem
from stub_backend.sealed.replies import FAILED, INSTANCE_STATUS

INVALID_NONCE = "Invalid, expired, or already-used nonce"
UNOPENED = '{"detail":"E2E decryption failed"}'
EMPTY = "Empty request body"
NOT_VERIFIED = "Instance has no deployment_id; evidence is only available after TEE verification"
_LIMITED = "Rate limit exceeded. Try again later."
_OLD = (
    "Non-streaming E2E requests require chutes >= 0.5.27 for vLLM chutes. Please use stream=True "
    "until the chute has been upgraded."
)
_QUOTA = "Quota exceeded and account balance is $0.0, please pay with fiat or send tao to <address>"
_EDGE = (
    "<html>\r\n<head><title>429 Too Many Requests</title></head>\r\n"
    "<body>\r\n<center><h1>429 Too Many Requests</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


class Stage(Enum):
    """The request that an error answers."""

    DISCOVERY = "GET /e2e/instances"
    INVOKE = "POST /e2e/invoke"
    EVIDENCE = "GET /instances/{id}/evidence"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One error. `spares_nonce`: it comes before the nonce is looked at.

    `plain_only`: streamed calls do not get it. In a text detail, `{id}` is the instance's id.
    """

    name: str
    stage: Stage
    problem: Problem
    spares_nonce: bool = False
    plain_only: bool = False

    def of(self, instance_id: str) -> Problem:
        """Return the error of a request about this instance."""
        detail = self.problem.detail
        if not isinstance(detail, str) or "{id}" not in detail:
            return self.problem
        return Problem(self.problem.status, detail.replace("{id}", instance_id))


def missing_header(name: str) -> dict[str, object]:
    """Return the platform's complaint about a header."""
    return {"type": "missing", "loc": ["header", name], "msg": "Field required", "input": None}


def _discovery(name: str, status: int, detail: str) -> Refusal:
    return Refusal(f"discovery-{name}", Stage.DISCOVERY, Problem(status, detail))


def _invoke(name: str, status: int, detail: object, **options: bool) -> Refusal:
    return Refusal(f"invoke-{name}", Stage.INVOKE, Problem(status, detail), **options)


def _evidence(name: str, status: int, detail: str) -> Refusal:
    return Refusal(f"evidence-{name}", Stage.EVIDENCE, Problem(status, detail))


def _instance(status: int) -> Refusal:
    return _invoke(f"{status}-instance", status, INSTANCE_STATUS.format(status))


REFUSALS: tuple[Refusal, ...] = (
    _discovery("401", 401, "Invalid token."),
    _discovery("404-chute", 404, "Chute not found"),
    _discovery("404-cold", 404, "No active instances found for this chute"),
    _discovery("404-no-key", 404, "No E2E-capable instances available"),
    _discovery("429", 429, _LIMITED),
    _invoke("401", 401, "Invalid token.", spares_nonce=True),
    _invoke("422-header", 422, [missing_header("X-Chute-Id")], spares_nonce=True),
    _invoke("403-nonce", 403, INVALID_NONCE),
    _invoke("404-gone", 404, "Instance not found"),
    _invoke("404-chute", 404, "Chute not found"),
    _invoke("400-moved", 400, "Instance does not belong to the specified chute"),
    _invoke("410", 410, "Instance is no longer active"),
    _invoke("503-disabled", 503, "This chute is currently disabled."),
    _invoke("400-stream-only", 400, _OLD, plain_only=True),
    _invoke("402", 402, {"message": _QUOTA}),
    _invoke("400-empty", 400, EMPTY),
    _invoke("429-capacity", 429, "Instance is at maximum capacity, try again later"),
    _invoke("429-all", 429, "Infrastructure is at maximum capacity, try again later"),
    Refusal("invoke-429-edge", Stage.INVOKE, Problem(429, None, _EDGE), spares_nonce=True),
    _invoke("502", 502, "Instance requires key exchange, try a different instance"),
    *(_instance(status) for status in (403, 404, 422, 500, 503)),
    _invoke("500", 500, FAILED),
    _invoke("400-unopened", 400, UNOPENED),
    _evidence("400-unverified", 400, NOT_VERIFIED),
    _evidence(
        "400-outdated", 400, "Instances requires chutes_version >= 0.6.0 to retrieve evidence."
    ),
    _evidence("400-external", 400, "TEE evidence is unavailable for this execution backend."),
    _evidence("403", 403, "You do not have access to this instance"),
    _evidence("404", 404, "Instance {id} not found"),
    _evidence("429", 429, _LIMITED),
    _evidence(
        "502",
        502,
        "Attestation service unavailable. The attestation proxy could not be reached or returned "
        "an error.",
    ),
)
