"""Whole error responses: status, content type and body as the platform or its edge gives them."""

from __future__ import annotations

from collections.abc import Callable

from stub_backend.answers.pages import front_end_page, nginx_page
from stub_backend.call import Call
from stub_backend.dialect import compact
from stub_backend.scenario import HTML, JSON, TEXT_PLAIN, Scenario, body_head, stub_headers
from stub_backend.steps import Headers, Send, Steps

MakeBody = Callable[[Call], bytes]

AT_CAPACITY = "Infrastructure is at maximum capacity, try again later"
_OVERFLOW = (
    "Invalid request: Invalid request: This model's maximum context length is 8192 tokens. "
    "However, you requested 9001 tokens (8001 in the messages, 1000 in the completion). "
    "Please reduce the length of the messages or completion."
)
_SGLANG_OVERFLOW = (
    "Invalid request: Invalid request: The input (9001 tokens) is longer than the model's "
    "context length (8192 tokens)."
)
_NO_MONEY = "Quota exceeded and account balance is $0.0, please pay with fiat or send tao to 5FStub"
_MISSING = {
    "type": "missing",
    "loc": ["body", "messages"],
    "msg": "Field required",
    "input": {"model": "stub/422-list"},
}


def refused(call: Call, status: int, content_type: str, body: bytes, extra: Headers = ()) -> Steps:
    """An error response; it carries none of the platform's success headers."""
    yield body_head(status, content_type, len(body), stub_headers(call), extra)
    yield Send(body)


def _row(
    name: str, summary: str, content_type: str, body: MakeBody, extra: Headers, length: int
) -> Scenario:
    status = int(name[:3])

    def answer(call: Call) -> Steps:
        return refused(call, status, content_type, body(call), extra)

    return Scenario(
        name,
        summary,
        answer,
        status=status,
        content_type=content_type,
        context_length=length,
    )


def _detail(
    name: str, detail: object, summary: str, extra: Headers = (), length: int = 131_072
) -> Scenario:
    """A refusal of the application: `{"detail": ...}`. The name starts with the status."""

    def body(call: Call) -> bytes:
        text = detail
        if isinstance(detail, str):
            text = detail.replace("{model}", call.chute.name).replace("{id}", call.chute.chute_id)
        return compact({"detail": text})

    return _row(name, summary, JSON, body, extra, length)


def _page(name: str, content_type: str, page: bytes, summary: str) -> Scenario:
    """A refusal whose body is fixed."""
    return _row(name, summary, content_type, lambda _call: page, (), 131_072)


REFUSALS: tuple[Scenario, ...] = (
    _detail("400-context", _OVERFLOW, "context overflow in vLLM's words; context length 8192",
            length=8192),
    _detail("400-context-sglang", _SGLANG_OVERFLOW,
            "context overflow in SGLang's words; context length 8192", length=8192),
    _detail("400-context-object",
            {"object": "error", "message": _OVERFLOW, "type": "BadRequestError", "param": None,
             "code": 400},
            "context overflow as the engine's error object; context length 8192", length=8192),
    _detail("400-content-policy",
            "Invalid request: Invalid request: The prompt was refused by the content policy.",
            "a refusal for what the prompt says"),
    _detail("400-engine-object",
            {"object": "error", "message": "temperature must be non-negative",
             "type": "BadRequestError", "param": "temperature", "code": 400},
            "the engine's own error object as detail"),
    _page("400-edge-error", JSON, compact({"error": "$.model: required parameter missing"}),
          "the edge's validator, in another envelope"),
    _detail("401", "Invalid token.", "a bearer token that is neither key nor JWT"),
    _detail("401-anonymous", "Authentication required.", "no usable user"),
    _detail("401-expired", "Token expired.", "a JWT past its time"),
    _detail("402-quota",
            {"message": _NO_MONEY, "quota_reset_timestamp": "2026-02-19T00:00:00+00:00"},
            "quota and balance used up, detail as an object"),
    _detail("402-string", _NO_MONEY, "quota and balance used up, detail as a string"),
    _detail("402-subscription",
            "Subscription usage cap exceeded. Please add balance to continue.",
            "subscription cap reached"),
    _detail("402-tee", "TEE models require an active subscription or positive balance.",
            "TEE model without a subscription"),
    _detail("403-scope", "Token does not have permission for this resource", "scope missing"),
    _page("403-html", HTML, front_end_page(403, "Forbidden", "Your request was refused."),
          "the edge's firewall"),
    _detail("404-model", "model not found: {model}", "unknown, or every listed model is cold"),
    _detail("404-chute", "No matching chute found!", "private or absent chute"),
    _detail("404-cord", "No matching cord found!", "path not served, or stream not a boolean"),
    _page("408", TEXT_PLAIN, b"Request Timeout", "the edge gave up waiting for the request"),
    _detail("413", "Request body is too large.", "body over the cap, with Connection: close",
            (("connection", "close"),)),
    _detail("422-list", [_MISSING], "validation error, detail as a list"),
    _detail("426-tee", "Chute {id} is not TEE-enabled, and X-TEE-Only was requested.",
            "X-TEE-Only on a model that is not TEE"),
    _detail("429-capacity", AT_CAPACITY, "every slot of this model is taken"),
    _detail("429-capacity-retry-after", AT_CAPACITY, "the same with Retry-After: 1",
            (("retry-after", "1"),)),
    _page("429-edge-html", HTML, nginx_page("429 Too Many Requests"),
          "the edge's limit on this user or address"),
    _detail("429-account",
            "Free models limit reached for today - maintain >= $10 balance or upgrade "
            "subscription to pro to unlock more.", "the account's own limit"),
    _detail("429-retry-after", "Rate limit exceeded. Try again later.",
            "a rate limit with Retry-After: 1", (("retry-after", "1"),)),
    _detail("429-retry-after-long", "Rate limit exceeded. Try again later.",
            "a rate limit with Retry-After: 60", (("retry-after", "60"),)),
    _detail("500-exhausted", "exhausted all available targets to no avail",
            "three replicas of the model failed"),
    _detail("500-no-infrastructure", "No infrastructure available to serve request (code 7)",
            "no replica could be reached"),
    _detail("500-no-result", "No result returned from upstream", "a replica answered nothing"),
    _detail("500-unhandled", "Unhandled error generating response: ClientPayloadError()",
            "a replica broke off"),
    _detail("500-other", "KeyError: 'choices'", "raw exception text"),
    _page("500-text", TEXT_PLAIN, b"Internal Server Error", "a body the handler trips over"),
    _page("502-html", HTML, front_end_page(502, "Server Error", "The server had a bad answer."),
          "the edge got a bad answer"),
    _detail("503-cold", "No instances available (yet) for chute_id='{id}'", "cold model"),
    _detail("503-disabled", "This chute is currently disabled.", "switched off"),
    _page("503-html", HTML, nginx_page("503 Service Temporarily Unavailable"), "ingress trouble"),
    _page("503-empty", TEXT_PLAIN, b"", "edge trouble with an empty body"),
    _page("504-html", HTML, front_end_page(504, "Timeout", "The server took too long."),
          "the edge gave up on a slow call"),
)  # fmt: skip
