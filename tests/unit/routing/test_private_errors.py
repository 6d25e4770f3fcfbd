"""Errors of the platform on the way of sealed requests, those of errors.json first."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.private_errors import PrivateError, private_error

_ERRORS = json.loads(
    (Path(__file__).resolve().parents[2] / "data" / "private" / "errors.json").read_text()
)["errors"]
_BY_CLASS = {
    "auth": PrivateError.RELAYED,
    "account": PrivateError.RELAYED,
    "edge_throttled": PrivateError.RELAYED,
    "bug": PrivateError.OURS,
    "nonce": PrivateError.NONCE,
    "instance_gone": PrivateError.INSTANCE_GONE,
    "model_absent": PrivateError.MODEL_ABSENT,
    "stream_only": PrivateError.STREAM_ONLY,
    "capacity": PrivateError.CAPACITY,
    "instance_trouble": PrivateError.TROUBLE,
    "instance_refused": PrivateError.NOT_SERVED,
    "request_refused": PrivateError.REJECTED,
    "key_mismatch": PrivateError.KEY_CHANGED,
    "sealed_error": PrivateError.REJECTED,
}


def _detail(text: object) -> bytes:
    return json.dumps({"detail": text}).encode()


class PrivateErrorTests(SynchronousTestCase):
    """One kind for each error."""

    def test_recorded(self) -> None:
        """Each answer to a sealed call has a kind, by its text."""
        tried = set()
        for error in _ERRORS:
            if error["where"] != "POST /e2e/invoke":
                continue
            with self.subTest(status=error["status"], kind=error["class"]):
                body = error["body"]
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.assertEqual(private_error(error["status"], data), _BY_CLASS[error["class"]])
                tried.add(error["class"])
        self.assertEqual(tried, set(_BY_CLASS))

    def test_unknown(self) -> None:
        """What is not known is relayed about an account alone; faults are the instance's."""
        for status, expected in (
            (400, PrivateError.OURS),
            (401, PrivateError.RELAYED),
            (402, PrivateError.RELAYED),
            (403, PrivateError.RELAYED),
            (404, PrivateError.TROUBLE),
            (408, PrivateError.TROUBLE),
            (410, PrivateError.INSTANCE_GONE),
            (413, PrivateError.REJECTED),
            (422, PrivateError.OURS),
            (429, PrivateError.RELAYED),
            (499, PrivateError.OURS),
            (500, PrivateError.TROUBLE),
            (599, PrivateError.TROUBLE),
        ):
            for body in (
                _detail("something"),
                _detail(["x"]),
                b"",
                b"[1]",
                b'{"detail":',
                b"<html>",
            ):
                with self.subTest(status=status, body=body):
                    self.assertEqual(private_error(status, body), expected)

    def test_of_the_instance(self) -> None:
        """What the instance said counts, whatever status stands on the outside."""
        for said, expected in (
            (400, PrivateError.REJECTED),
            (403, PrivateError.NOT_SERVED),
            (404, PrivateError.TROUBLE),
            (413, PrivateError.REJECTED),
            (422, PrivateError.REJECTED),
            (429, PrivateError.CAPACITY),
            (500, PrivateError.TROUBLE),
        ):
            text = f"Instance returned status {said}"
            self.assertEqual(private_error(said, _detail(text)), expected)
            self.assertEqual(private_error(502, _detail(f" {text} ")), expected)

    def test_sealed(self) -> None:
        """Long base64 is the engine's sealed refusal; short, or with blanks, it is a text."""
        self.assertEqual(private_error(400, _detail("A" * 100)), PrivateError.REJECTED)
        self.assertEqual(private_error(400, _detail("A" * 99)), PrivateError.OURS)
        self.assertEqual(private_error(400, _detail("A" * 99 + " A")), PrivateError.OURS)
        self.assertEqual(private_error(401, _detail("A" * 100)), PrivateError.RELAYED)
