"""Errors about the request: 400, 404, 405, 410, 413, 422 and 426."""

from __future__ import annotations

from stub_backend.answers.error_responses import detailed, paged
from stub_backend.dialect import compact
from stub_backend.scenario import JSON, Scenario

_OVERFLOW = (
    "Invalid request: Invalid request: This model's maximum context length is 8192 tokens. "
    "However, you requested 9001 tokens (8001 in the messages, 1000 in the completion). "
    "Please reduce the length of the messages or completion."
)
_SGLANG_OVERFLOW = (
    "Invalid request: Invalid request: The input (9001 tokens) is longer than the model's "
    "context length (8192 tokens)."
)
_MISSING = {
    "type": "missing",
    "loc": ["body", "messages"],
    "msg": "Field required",
    "input": {"model": "stub/422-list"},
}

INVALID: tuple[Scenario, ...] = (
    detailed("400-context", _OVERFLOW, "context overflow in vLLM's words; context length 8192",
             length=8192),
    detailed("400-context-sglang", _SGLANG_OVERFLOW,
             "context overflow in SGLang's words; context length 8192", length=8192),
    detailed("400-context-object",
             {"object": "error", "message": _OVERFLOW, "type": "BadRequestError", "param": None,
              "code": 400},
             "context overflow as the engine's error object; context length 8192", length=8192),
    detailed("400-content-policy",
             "Invalid request: Invalid request: The prompt was refused by the content policy.",
             "a prompt rejected by the content policy"),
    detailed("400-engine-object",
             {"object": "error", "message": "temperature must be non-negative",
              "type": "BadRequestError", "param": "temperature", "code": 400},
             "the engine's own error object as detail"),
    detailed("400-json", "Invalid request JSON: unexpected character: line 1 column 2 (char 1)",
             "a body that is not JSON, in the platform's words"),
    detailed("400-file", "File content not currently supported", "a file as part of a message"),
    detailed("400-regex", "Regex-based structured output is temporarily disabled.",
             "a pattern in the output's schema"),
    detailed("400-tool-arguments", "Invalid tool_calls.function.arguments value, expected JSON",
             "an earlier tool call whose arguments are not JSON"),
    detailed("400-images", "Exceeded maximum image URLs per request: 8", "too many images"),
    paged("400-edge-error", JSON, compact({"error": "$.model: required parameter missing"}),
          "the edge's validator, in another envelope"),
    detailed("413", "Request body is too large.", "body over the cap, with Connection: close",
             (("connection", "close"),)),
    detailed("422-list", [_MISSING], "validation error, detail as a list"),
)  # fmt: skip

ABSENT: tuple[Scenario, ...] = (
    detailed("404-model", "model not found: {model}", "unknown, or every listed model is cold"),
    detailed("404-chute", "No matching chute found!", "private or absent chute"),
    detailed("404-cord", "No matching cord found!", "path not served, or stream not a boolean"),
    detailed("404-path", "Not Found", "a path unknown to the web framework"),
    detailed("404-e2e-instance", "No active instances found for this chute",
             "an end-to-end encrypted call to a chute without instances"),
    detailed("405", "Method Not Allowed", "a method that the path does not support"),
    detailed("410-e2e-instance", "Instance is no longer active",
             "an end-to-end encrypted call to an instance that is gone"),
    detailed("426-tee", "Chute {id} is not TEE-enabled, and X-TEE-Only was requested.",
             "X-TEE-Only on a model that is not TEE"),
)  # fmt: skip

REQUESTS: tuple[Scenario, ...] = (*INVALID, *ABSENT)
