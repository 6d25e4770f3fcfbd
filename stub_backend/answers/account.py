"""Errors about the caller's credentials, quota and rate: 401, 402, 403 and 429."""

from __future__ import annotations

from stub_backend.answers.error_responses import detailed, paged
from stub_backend.answers.pages import front_end_page, nginx_page
from stub_backend.scenario import HTML, Scenario

AT_CAPACITY = "Infrastructure is at maximum capacity, try again later"
SHARED_LIMIT = "Rate limit exceeded. Try again later."
_NO_MONEY = "Quota exceeded and account balance is $0.0, please pay with fiat or send tao to 5FStub"

CREDENTIALS: tuple[Scenario, ...] = (
    detailed("401", "Invalid token.", "a bearer token that is neither a key nor a JWT"),
    detailed("401-anonymous", "Authentication required.", "no usable user"),
    detailed("401-expired", "Token expired.", "an expired JWT"),
    detailed("401-malformed", "Missing or invalid authorization header(s)",
             "a malformed key"),
    detailed("401-unknown", "Invalid token or user not found",
             "an unknown or revoked key, or one without the scope"),
    detailed("401-management", "Can't find a user with that api key in our db :(",
             "an unknown key, in the management host's words"),
    detailed("401-hotkey", "Invalid nonce!", "a hotkey signature with an invalid nonce"),
    detailed("403-scope", "Token does not have permission for this resource", "scope missing"),
    detailed("403-e2e-nonce", "Invalid, expired, or already-used nonce",
             "an end-to-end encrypted call whose nonce was used"),
    paged("403-html", HTML, front_end_page(403, "Forbidden", "Your request was refused."),
          "the edge's firewall"),
)  # fmt: skip

QUOTAS: tuple[Scenario, ...] = (
    detailed("402-quota",
             {"message": _NO_MONEY, "quota_reset_timestamp": "2026-02-19T00:00:00+00:00"},
             "quota and balance used up, detail as an object"),
    detailed("402-no-quota", {"message": _NO_MONEY},
             "balance used up and no quota to reset, detail as an object"),
    detailed("402-string", _NO_MONEY, "quota and balance used up, detail as a string"),
    detailed("402-subscription",
             "Subscription usage cap exceeded. Please add balance to continue.",
             "subscription cap reached"),
    detailed("402-tee", "TEE models require an active subscription or positive balance.",
             "TEE model without a subscription"),
    detailed("402-creator", "The account that created this chute has zero balance.",
             "the chute's creator has no balance (the stub's words)"),
)  # fmt: skip

LIMITS: tuple[Scenario, ...] = (
    detailed("429-capacity", AT_CAPACITY, "every slot of this model is taken"),
    detailed("429-capacity-short", "Infrastructure is at maximum capacity",
             "the same without the advice"),
    detailed("429-capacity-retry-after", AT_CAPACITY, "the same with Retry-After: 1",
             (("retry-after", "1"),)),
    paged("429-edge-html", HTML, nginx_page("429 Too Many Requests"),
          "the edge's limit on this user or address"),
    detailed("429-account",
             "Free models limit reached for today - maintain >= $10 balance or upgrade "
             "subscription to pro to unlock more.", "the account's own limit"),
    detailed("429-free-model", "Invalid free model, please select one of the free models",
             "a model that free accounts may not use"),
    detailed("429-maintenance", "model is under maintenance", "an older build's maintenance"),
    detailed("429-spamming", "Stop spamming this prompt, please...",
             "an older build's answer to a prompt sent too often"),
    detailed("429-shared", SHARED_LIMIT, "a limit shared by all callers of the platform"),
    detailed("429-e2e-instance", "Instance is at maximum capacity, try again later",
             "an end-to-end encrypted call to a full instance"),
    detailed("429-retry-after", SHARED_LIMIT, "a rate limit with Retry-After: 1",
             (("retry-after", "1"),)),
    detailed("429-retry-after-long", SHARED_LIMIT, "a rate limit with Retry-After: 60",
             (("retry-after", "60"),)),
)  # fmt: skip

ACCOUNT: tuple[Scenario, ...] = (*CREDENTIALS, *QUOTAS, *LIMITS)
