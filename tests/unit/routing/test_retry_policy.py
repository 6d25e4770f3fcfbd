"""Tests of the retry policy: every row of the table, and responses that match no row."""

from __future__ import annotations

import json
from itertools import product
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.retry_policy import (
    Policy,
    Reply,
    RetryAction,
    RetryDecision,
    at_head,
    is_edge_limit,
    on_body,
)
from autopilot.routing.selector import Mode

STRICT, STANDARD, OPEN = Policy.STRICT, Policy.STANDARD, Policy.OPEN
ALIAS, LIST, DIRECT = Mode.ALIAS, Mode.LIST, Mode.DIRECT
COMMIT, READ = RetryDecision(RetryAction.COMMIT), RetryDecision(RetryAction.READ)
JSON, HTML = "application/json", "text/html"

CAPACITY = "Infrastructure is at maximum capacity, try again later"
EXHAUSTED = "exhausted all available targets to no avail"
NOT_FOUND = "model not found: acme/M"
CONTEXT = "Invalid request: Invalid request: This model's maximum context length is 8192 tokens."


def _next(reason: str, pause: int | None = None) -> RetryDecision:
    return RetryDecision(RetryAction.NEXT, FailureReason(reason), pause)


def _body(detail: object) -> bytes:
    return json.dumps({"detail": detail}).encode()


def _judge(
    status: int,
    detail: object,
    policy: Policy,
    mode: Mode = ALIAS,
    *,
    larger: bool = True,
    retry_after: str | None = None,
) -> RetryDecision:
    """Return the decision on a JSON error, whether or not its body is needed."""
    reply = Reply(status, JSON, retry_after)
    head = at_head(reply, policy, mode)
    judged = on_body(reply, _body(detail), policy, mode, larger)
    if head.action is not RetryAction.READ:
        assert head == judged, (head, judged)
    return judged


class HeadTests(SynchronousTestCase):
    """Decisions by status and content type alone."""

    def test_every_status_without_json(self) -> None:
        """Without JSON the status decides: 503 in every policy, 502 and such except in strict."""
        gateways = {502, 504, 520, 521, 522, 523, 524, 529}
        for status, policy, mode in product(range(200, 600), Policy, Mode):
            expected = COMMIT
            if status == 503 or (status in gateways and policy is not STRICT):
                expected = _next(f"status_{status}")
            elif policy is OPEN and status == 429:
                expected = _next("status_429")
            elif policy is OPEN and status >= 500:
                expected = _next(f"status_{status}")
            for content_type in (HTML, "", "text/plain", "application/jsonlines"):
                reply = Reply(status, content_type)
                self.assertEqual(at_head(reply, policy, mode), expected, (reply, policy, mode))
                judged = on_body(reply, _body(CAPACITY), policy, mode, True)
                self.assertEqual(judged, expected, (reply, policy, mode))

    def test_which_json_bodies_are_read(self) -> None:
        """Bodies of 429, 500 and 400 are read except in strict, of 404 not under a direct name."""
        for status, policy, mode in product(range(200, 600), Policy, Mode):
            asked = {429, 500, 400} | (set() if mode is DIRECT else {404})
            read = policy is not STRICT and status in asked
            judged = at_head(Reply(status, JSON), policy, mode)
            self.assertEqual(judged.action is RetryAction.READ, read, (status, policy, mode))
            if read:
                self.assertEqual(judged, READ)

    def test_json_types(self) -> None:
        """Every JSON media type is recognized."""
        for content_type in (JSON, "text/json", "application/problem+json"):
            self.assertEqual(at_head(Reply(429, content_type), STANDARD, LIST), READ)


class RowTests(SynchronousTestCase):
    """Each row, under each policy."""

    def test_status_503_is_next_in_every_policy(self) -> None:
        """A 503 of a cold or disabled model leads to the next model in every policy."""
        for policy, mode in product(Policy, Mode):
            detail = "No instances available (yet) for chute_id='x'"
            self.assertEqual(_judge(503, detail, policy, mode), _next("status_503"))

    def test_the_table(self) -> None:
        """Each status and message under each policy."""
        rows: tuple[tuple[int, object, RetryDecision, RetryDecision, RetryDecision], ...] = (
            (429, CAPACITY, COMMIT, _next("capacity"), _next("capacity")),
            (429, {"message": CAPACITY}, COMMIT, _next("capacity"), _next("capacity")),
            (429, "Rate limit exceeded.", COMMIT, COMMIT, _next("status_429")),
            (429, "Free models limit reached", COMMIT, COMMIT, _next("status_429")),
            (429, None, COMMIT, COMMIT, _next("status_429")),
            (500, EXHAUSTED, COMMIT, _next("status_500"), _next("status_500")),
            (500, CAPACITY, COMMIT, _next("status_500"), _next("status_500")),
            (500, "list index out of range", COMMIT, _next("status_500"), _next("status_500")),
            (500, "", COMMIT, _next("status_500"), _next("status_500")),
            (500, {"message": EXHAUSTED}, COMMIT, _next("status_500"), _next("status_500")),
            (500, {"message": "boom"}, COMMIT, COMMIT, _next("status_500")),
            (500, ["boom"], COMMIT, COMMIT, _next("status_500")),
            (500, None, COMMIT, COMMIT, _next("status_500")),
            (502, "bad gateway", COMMIT, _next("status_502"), _next("status_502")),
            (504, "timed out", COMMIT, _next("status_504"), _next("status_504")),
            *(
                (status, None, COMMIT, _next(f"status_{status}"), _next(f"status_{status}"))
                for status in (520, 521, 522, 523, 524, 529)
            ),
            *(
                (status, None, COMMIT, COMMIT, _next(f"status_{status}"))
                for status in (505, 519, 525, 528, 530)
            ),
            (501, EXHAUSTED, COMMIT, COMMIT, _next("status_501")),
            (599, EXHAUSTED, COMMIT, COMMIT, _next("status_599")),
            (404, NOT_FOUND, COMMIT, _next("not_found"), _next("not_found")),
            (404, "No matching cord found!", COMMIT, COMMIT, COMMIT),
            (400, CONTEXT, COMMIT, _next("context"), _next("context")),
            (400, [{"msg": CONTEXT}], COMMIT, _next("context"), _next("context")),
            (400, "content policy", COMMIT, COMMIT, COMMIT),
            (400, CAPACITY, COMMIT, COMMIT, COMMIT),
        )
        for status, detail, *expected in rows:
            for policy, judgement in zip((STRICT, STANDARD, OPEN), expected, strict=True):
                self.assertEqual(_judge(status, detail, policy), judgement, (status, detail))

    def test_the_callers_own_errors_are_final_in_every_policy(self) -> None:
        """Credential, balance, size and TEE errors go to the client, whatever their text."""
        details = (CAPACITY, EXHAUSTED, NOT_FOUND, CONTEXT, None, {"message": CONTEXT})
        for status, detail, policy, mode in product(
            (401, 402, 403, 405, 408, 409, 413, 422, 426, 451), details, Policy, Mode
        ):
            self.assertEqual(_judge(status, detail, policy, mode), COMMIT, (status, detail))

    def test_a_timeout_of_a_reused_connection(self) -> None:
        """A 408 there says only that the connection was idle for too long."""
        for policy, mode, kind in product(Policy, Mode, ("", "text/plain", "application/json")):
            decision = at_head(Reply(408, kind, "1", reused=True), policy, mode)
            expected = COMMIT if policy is STRICT else RetryDecision(RetryAction.REPEAT)
            self.assertEqual(decision, expected)
            self.assertEqual(at_head(Reply(408, kind, "1"), policy, mode), COMMIT)
            for status in (200, 401, 409, 422):
                self.assertEqual(at_head(Reply(status, kind, None, True), policy, mode), COMMIT)

    def test_a_success_is_committed(self) -> None:
        """A 2xx or 3xx is committed, whatever its body."""
        for status, policy, mode in product((200, 201, 204, 302, 399), Policy, Mode):
            self.assertEqual(_judge(status, CAPACITY, policy, mode), COMMIT)

    def test_model_not_found_is_next_where_there_are_others(self) -> None:
        """A client that named this model alone gets the 404."""
        for policy in (STANDARD, OPEN):
            self.assertEqual(_judge(404, NOT_FOUND, policy, ALIAS), _next("not_found"))
            self.assertEqual(_judge(404, NOT_FOUND, policy, LIST), _next("not_found"))
            self.assertEqual(_judge(404, NOT_FOUND, policy, DIRECT), COMMIT)

    def test_context_exceeded_needs_a_larger_candidate(self) -> None:
        """Without a candidate with a larger context the client gets the error."""
        for policy, mode in product((STANDARD, OPEN), Mode):
            self.assertEqual(_judge(400, CONTEXT, policy, mode), _next("context"))
            self.assertEqual(_judge(400, CONTEXT, policy, mode, larger=False), COMMIT)

    def test_a_larger_candidate_matters_to_nothing_else(self) -> None:
        """Other rows do not depend on a larger candidate."""
        self.assertEqual(_judge(429, CAPACITY, STANDARD, larger=False), _next("capacity"))

    def test_capacity_and_exhaustion_hold_in_every_mode(self) -> None:
        """These rows apply to direct names too, because they concern the model."""
        for mode in Mode:
            self.assertEqual(_judge(429, CAPACITY, STANDARD, mode), _next("capacity"))
            self.assertEqual(_judge(500, EXHAUSTED, STANDARD, mode), _next("status_500"))

    def test_unreadable_bodies_say_nothing(self) -> None:
        """A malformed JSON body is the client's answer, or leads to the next model under open."""
        for status, body in product((429, 500, 404, 400), (b"", b"<html>", b'{"detail":"Infra')):
            for policy in (STRICT, STANDARD):
                judged = on_body(Reply(status, JSON), body, policy, ALIAS, True)
                self.assertEqual(judged, COMMIT, (status, body))
        page = Reply(500, HTML)
        self.assertEqual(on_body(page, _body("boom"), STANDARD, ALIAS, True), COMMIT)
        self.assertEqual(on_body(Reply(429, JSON), b"", OPEN, ALIAS, True), _next("status_429"))
        self.assertEqual(on_body(Reply(500, JSON), b"", OPEN, ALIAS, True), _next("status_500"))
        self.assertEqual(on_body(Reply(400, JSON), b"", OPEN, ALIAS, True), COMMIT)

    def test_a_body_is_parsed_once(self) -> None:
        """However many rows read a body, its objects are made once."""
        for status in (429, 500, 404, 400):
            with patch.object(json, "loads", wraps=json.loads) as parsed:
                on_body(Reply(status, JSON), b'{"detail":[{}]}', OPEN, ALIAS, True)
            self.assertEqual(parsed.call_count, 1, status)


class PauseTests(SynchronousTestCase):
    """A short Retry-After under the open policy."""

    def pause(self, retry_after: str | None) -> int | None:
        """Return the pause after a 429 that matches no other row."""
        judgement = _judge(429, "slow down", OPEN, retry_after=retry_after)
        self.assertEqual(judgement.reason, "status_429")
        return judgement.pause

    def test_up_to_five_seconds(self) -> None:
        """A Retry-After of 0 to 5 whole seconds is honoured."""
        for text, seconds in (("0", 0), ("1", 1), ("5", 5), (" 3\t", 3), ("005", 5)):
            self.assertEqual(self.pause(text), seconds, text)

    def test_anything_else_is_not(self) -> None:
        """Longer times, dates, fractions and malformed values are not honoured."""
        for text in (
            *(None, "", " ", "6", "60", "1.5", "-1", "+1", "1 s", "1,2"),
            *("\xa01", "X1", "1X", "\u0663", "9" * 5000, "0" * 10, "Wed, 21 Oct 2026 07:28:00 GMT"),
        ):
            self.assertIsNone(self.pause(text), text)

    def test_only_what_open_adds_is_waited_for(self) -> None:
        """The other rows turn to the next model at once, and other policies never wait."""
        for status, detail in ((503, ""), (502, ""), (504, ""), (429, CAPACITY), (500, EXHAUSTED)):
            self.assertIsNone(_judge(status, detail, OPEN, retry_after="2").pause, status)
        self.assertEqual(_judge(500, "", OPEN, retry_after="2"), _next("status_500"))
        self.assertEqual(_judge(500, None, OPEN, retry_after="2"), _next("status_500", 2))
        self.assertEqual(at_head(Reply(429, HTML, "2"), OPEN, LIST), _next("status_429", 2))
        self.assertEqual(at_head(Reply(529, HTML, "2"), OPEN, LIST), _next("status_529"))
        self.assertEqual(at_head(Reply(530, HTML, "2"), OPEN, LIST), _next("status_530", 2))
        self.assertEqual(_judge(429, "", STANDARD, retry_after="2"), COMMIT)


class AgainTests(SynchronousTestCase):
    """The engine's own errors, after which the same model is tried again."""

    ENGINE = b'{"error":{"message":"busy"}}'

    def again(
        self,
        status: int,
        body: bytes = ENGINE,
        policy: Policy = STANDARD,
        retry_after: str | None = None,
        content_type: str = JSON,
    ) -> RetryDecision:
        """Return the decision on a body, for a direct name."""
        reply = Reply(status, content_type, retry_after)
        return on_body(reply, body, policy, DIRECT, False)

    def test_pauses(self) -> None:
        """A 429 is tried again after its Retry-After or a second, a 500 after a quarter of one."""
        for status, retry_after, seconds in (
            (429, None, 1.0),
            (429, "0", 0),
            (429, "5", 5),
            (429, "6", None),
            (429, "Wed, 21 Oct 2026 07:28:00 GMT", None),
            (500, None, 0.25),
            (500, "3", 0.25),
            (500, "6", 0.25),
        ):
            for policy in (STANDARD, OPEN):
                decision = self.again(status, policy=policy, retry_after=retry_after)
                expected = RetryDecision(
                    RetryAction.NEXT, FailureReason(f"status_{status}"), None, seconds
                )
                self.assertEqual(decision, expected, (status, retry_after))

    def test_nothing_else(self) -> None:
        """No other status, body, type or policy has it."""
        for status in (400, 408, 501, 502, 503, 529):
            self.assertIsNone(self.again(status).again, status)
        for status in (429, 500):
            for body in (
                b'{"error":"busy"}',
                b'{"error":null}',
                b'{"error":{"message":"busy"},"detail":null}',
                b'{"message":"busy"}',
                b'[{"error":{}}]',
                b'{"error":{',
            ):
                self.assertEqual(self.again(status, body), COMMIT, body)
            self.assertEqual(self.again(status, policy=STRICT), COMMIT)
            self.assertEqual(self.again(status, content_type=HTML), COMMIT)


class EdgeLimitTests(SynchronousTestCase):
    """The edge's own 429."""

    def test_a_page_is_the_edge_limit(self) -> None:
        """A 429 in HTML is recognized by its type or, without one, by its first bytes."""
        page = b"\r\n <HTML><center>nginx</center>"
        self.assertTrue(is_edge_limit(Reply(429, HTML), b""))
        self.assertTrue(is_edge_limit(Reply(429, "application/xhtml+xml"), b""))
        self.assertTrue(is_edge_limit(Reply(429, ""), page))
        self.assertTrue(is_edge_limit(Reply(429, ""), b"<!DOCTYPE html>"))

    def test_nothing_else_is(self) -> None:
        """JSON, other types, other statuses and unknown bodies are not an edge limit."""
        self.assertFalse(is_edge_limit(Reply(429, JSON), b"<html>"))
        self.assertFalse(is_edge_limit(Reply(429, "text/plain"), b"<html>"))
        self.assertFalse(is_edge_limit(Reply(429, ""), b""))
        self.assertFalse(is_edge_limit(Reply(429, ""), b'{"detail":"<html"}'))
        self.assertFalse(is_edge_limit(Reply(503, HTML), b"<html>"))
        self.assertFalse(is_edge_limit(Reply(428, HTML), b"<html>"))


class ReasonTests(SynchronousTestCase):
    """The set of failover reasons."""

    def test_the_words(self) -> None:
        """The set is complete and unchanged, as dashboards depend on it."""
        network = {
            *("dns_error", "connect_refused", "connect_error", "connect_timeout", "tls_error"),
            "proxy_error",
            *("connection_lost", "header_timeout", "protocol_error"),
            *("first_body_byte_timeout", "plain_timeout", "stalled", "total_deadline"),
            *("error_event", "gave_up", "no_terminator", "cut", "invalid_event", "empty"),
            "coded",
        }
        responses = {"capacity", "not_found", "context", "status_402", "status_429"}
        responses |= {f"status_{status}" for status in range(500, 600)}
        private = {"not_attested", "discovery", "nonce_refused", "instance_gone", "not_served"}
        private |= {"reply_invalid"}
        self.assertEqual(set(FailureReason), network | responses | private)
