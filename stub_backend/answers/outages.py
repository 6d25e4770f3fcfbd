"""Errors of a model, its replicas, or the edge in front of them: 408 and 5xx."""

from __future__ import annotations

from stub_backend.answers.error_responses import detailed, engine_error, error_response, paged
from stub_backend.answers.pages import front_end_page, nginx_page
from stub_backend.call import Call
from stub_backend.scenario import HTML, TEXT_PLAIN, Scenario, healthy
from stub_backend.steps import Steps

_TRACEBACK = (
    "Traceback (most recent call last):\n  File \"app.py\", line 7, in invoke\n"
    "    raise ConnectionError(target)\nConnectionError: the stub's target"
)  # fmt: skip
_ENGINE_ERROR = {
    "object": "error",
    "message": "Engine is shutting down",
    "type": "ServiceUnavailableError",
    "param": None,
    "code": 503,
}


def stale_408(call: Call) -> Steps:
    """A 408 on a connection that carried a request before, else the usual response."""
    if not call.reused:
        return healthy(call)
    return error_response(call, 408, TEXT_PLAIN, b"Request Timeout", (("connection", "close"),))


REPLICAS: tuple[Scenario, ...] = (
    detailed("500-exhausted", "exhausted all available targets to no avail",
             "three replicas of the model failed"),
    detailed("500-no-infrastructure", "No infrastructure available to serve request (code 7)",
             "no replica could be reached"),
    detailed("500-no-infrastructure-plain", "No infrastructure available to serve request",
             "the same without an error code"),
    detailed("500-no-result", "No result returned from upstream", "a replica returned nothing"),
    detailed("500-unhandled", "Unhandled error generating response: ClientPayloadError()",
             "a replica broke off"),
    detailed("500-other", "KeyError: 'choices'", "raw exception text"),
    detailed("500-traceback", _TRACEBACK, "raw exception text of many lines"),
    detailed("500-e2e", "Internal error during E2E invocation",
             "an end-to-end encrypted call that failed"),
    paged("500-text", TEXT_PLAIN, b"Internal Server Error", "a body that crashes the handler"),
    detailed("503-cold", "No instances available (yet) for chute_id='{id}'", "cold model"),
    detailed("503-disabled", "This chute is currently disabled.", "a disabled chute"),
    detailed("503-engine", _ENGINE_ERROR, "the engine's own error object as detail"),
    detailed("502-e2e-key", "Instance requires key exchange, try a different instance",
             "an end-to-end encrypted call to an instance without a key"),
    engine_error("429-engine", "RateLimitError", "The engine's queue is full",
                 "the engine's own limit, in OpenAI's envelope"),
    engine_error("500-engine", "InternalServerError", "CUDA error: out of memory",
                 "the engine's own fault, in OpenAI's envelope"),
)  # fmt: skip

EDGE: tuple[Scenario, ...] = (
    paged("408", TEXT_PLAIN, b"Request Timeout", "the edge gave up waiting for the request"),
    Scenario("408-reused", "the same on a connection that carried a request before", stale_408),
    paged("502-html", HTML, front_end_page(502, "Server Error", "The server had a bad answer."),
          "the edge got an invalid response"),
    paged("502-ingress", HTML, nginx_page("502 Bad Gateway"),
          "the ingress got an invalid response"),
    paged("502-empty", TEXT_PLAIN, b"", "the same with an empty body"),
    paged("503-html", HTML, nginx_page("503 Service Temporarily Unavailable"), "ingress trouble"),
    paged("503-empty", TEXT_PLAIN, b"", "edge trouble with an empty body"),
    paged("504-html", HTML, front_end_page(504, "Timeout", "The server took too long."),
          "the edge gave up on a slow call"),
    paged("504-ingress", HTML, nginx_page("504 Gateway Time-out"),
          "the ingress gave up on a slow call"),
    paged("504-empty", TEXT_PLAIN, b"", "the same with an empty body"),
    paged("520-html", HTML, front_end_page(520, "Unknown Error", "A puzzling answer."),
          "the edge got a response that it did not understand"),
    paged("521-html", HTML, front_end_page(521, "Server Down", "The server is down."),
          "the edge was refused"),
    paged("522-html", HTML, front_end_page(522, "Timeout", "No connection to the server."),
          "the edge could not connect in time"),
    paged("523-html", HTML, front_end_page(523, "Unreachable", "There is no way to the server."),
          "the edge found no way to the platform"),
    paged("524-html", HTML, front_end_page(524, "Timeout", "The server was connected and silent."),
          "the edge connected and heard nothing"),
    detailed("529", "Site is overloaded", "an intermediary with too much to do"),
)  # fmt: skip

OUTAGES: tuple[Scenario, ...] = (*REPLICAS, *EDGE)
