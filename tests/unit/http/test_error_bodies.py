"""Tests of the shapes of the router's own errors."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http import error_bodies
from autopilot.http.dialect import Dialect
from autopilot.routing.router_error import RouterError

FACTS = {"message": "why", "param": "model", "code": "a_code"}


def refusal(status: int, code: str = "a_code") -> RouterError:
    """Return an error with this status."""
    return RouterError(status, code, "why", "model")


class ErrorTests(SynchronousTestCase):
    """OpenAI's shape and Anthropic's, in bodies and events."""

    def test_openai(self) -> None:
        """The type follows from the status, except for "not ready"."""
        for status, kind in (
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "invalid_request_error"),
            (429, "rate_limit_error"),
            (499, "invalid_request_error"),
            (500, "server_error"),
            (504, "server_error"),
        ):
            for dialect in (None, Dialect.COMPLETIONS, Dialect.RESPONSES):
                body = json.loads(error_bodies.error_body(refusal(status), dialect))
                self.assertEqual(body, {"error": {"type": kind, **FACTS}})
        self.assertEqual(error_bodies.error_type(refusal(503, "not_ready")), "not_ready")

    def test_anthropic(self) -> None:
        """The type is Anthropic's for the status."""
        for status, kind in (
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (404, "not_found_error"),
            (405, "invalid_request_error"),
            (413, "request_too_large"),
            (503, "overloaded_error"),
            (500, "api_error"),
            (502, "api_error"),
        ):
            body = json.loads(error_bodies.error_body(refusal(status), Dialect.MESSAGES))
            self.assertEqual(body, {"type": "error", "error": {"type": kind, **FACTS}})

    def test_events(self) -> None:
        """An error is one complete event, named if the dialect names its events."""
        plain = error_bodies.error_event(refusal(502), Dialect.COMPLETIONS)
        self.assertEqual(plain, b"data: %b\n\n" % error_bodies.error_body(refusal(502)))
        named = error_bodies.error_event(refusal(502), Dialect.MESSAGES)
        self.assertTrue(named.startswith(b'event: error\ndata: {"type":"error"'))
        self.assertTrue(named.endswith(b"}\n\n"))
        failed = error_bodies.error_event(refusal(502), Dialect.RESPONSES)
        self.assertTrue(failed.startswith(b"event: response.failed\ndata: {"))
        event = json.loads(failed.partition(b"data: ")[2])
        self.assertEqual(event["type"], "response.failed")
        self.assertEqual(event["sequence_number"], 0)
        response = {"id": "", "object": "response", "status": "failed", "output": []}
        error = {"type": "server_error", **FACTS}
        self.assertEqual(event["response"], {**response, "error": error})

    def test_failed_response(self) -> None:
        """It continues the upstream's response and its numbers, not those in a text."""
        created = (
            b'{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","x":{}}}'
        )
        quoted = (
            rb'{"sequence_number": 7, "delta": "\"sequence_number\":9,'
            rb' \"response\":{\"id\":\"no\"}"}'
        )
        for opening, latest, identity, number in (
            (created, quoted, "resp_1", 8),
            (b'{ "response" : { "object": "response", "id" : "r-2" } }', b"", "r-2", 0),
            (quoted, created, "", 1),
            (b'{"response":{"usage":{"id":"no"}}}', b'"sequence_number":"9"', "", 0),
            (b'{"response":{"id":"a\\"b"}}', b'"sequence_number":' + b"9" * 400, "", None),
        ):
            event = error_bodies.error_event(refusal(502), Dialect.RESPONSES, opening, latest)
            value = json.loads(event.partition(b"data: ")[2])
            self.assertEqual(value["response"]["id"], identity)
            if number is not None:
                self.assertEqual(value["sequence_number"], number)

    def test_reason_phrases(self) -> None:
        """Registered statuses have their standard phrase, and any other has one, too."""
        for status, phrase in (
            (200, b"OK"),
            (426, b"Upgrade Required"),
            (429, b"Too Many Requests"),
            (599, b"Unknown"),
        ):
            self.assertEqual(error_bodies.reason_phrase(status), phrase)

    def test_fields(self) -> None:
        """A 429 and a 503 have a Retry-After, of one second unless the error has another."""
        kind = (b"Content-Type", b"application/json")
        self.assertEqual(error_bodies.error_fields(refusal(502)), [kind])
        again = (b"x-should-retry", b"true")
        self.assertEqual(
            error_bodies.error_fields(refusal(503)), [kind, (b"Retry-After", b"1"), again]
        )
        tried = RouterError(502, "upstream_connect_error", "", tried=b"m=status_503")
        own = (b"x-chutes-autopilot-tried", b"m=status_503")
        never = (b"x-should-retry", b"false")
        self.assertEqual(error_bodies.error_fields(tried), [kind, never, own])
        nameless = RouterError(502, "upstream_connect_error", "", tried=b"")
        self.assertEqual(error_bodies.error_fields(nameless), [kind, never])
        limited = error_bodies.error_fields(refusal(429))
        self.assertEqual(limited, [kind, (b"Retry-After", b"1")])
        scheme = (b"WWW-Authenticate", b"Bearer")
        self.assertEqual(error_bodies.error_fields(refusal(401)), [kind, scheme])
        later = RouterError(503, "overloaded", "", retry_after=7)
        self.assertIn((b"Retry-After", b"7"), error_bodies.error_fields(later))
