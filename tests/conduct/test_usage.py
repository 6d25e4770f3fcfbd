"""With ``USAGE=request`` a client gets the bytes that it would have had, from both engines."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.conduct.served import CHAT, Served, direct, question

_TOKENS = 12
# What the stub derives from the bytes of the request: the id, and the verification of a chunk.
_DERIVED = re.compile(rb"(?<=call_)[0-9a-f]{12}|[0-9a-f]{32}")
# Usage in each chunk, in the last chunk if asked, and in forms of their own.
_UNASKED = ("ok", "ok-vllm", "reasoning", "reasoning-vllm", "tool-call-vllm", "extra-keys")
_ASKED = ("usage-asked", "usage-asked-vllm")
_OTHERS = ("crlf", "byte-by-byte", "comments", "no-done", "400-json")
_DONE = b"data: [DONE]\n\n"


def neutral(body: bytes) -> bytes:
    """Return a body without what depends on the bytes of the request."""
    return _DERIVED.sub(b"-", body)


class UsageTests(SynchronousTestCase):
    """The stub's streams through a router that asks for usage."""

    def setUp(self) -> None:
        """Start the router."""
        self.served = Served(tokens=_TOKENS, usage="request")

    def tearDown(self) -> None:
        """Nothing is left behind."""
        self.assertEqual(self.served.left_behind(), [])

    def test_same_bytes(self) -> None:
        """The body is that of the request without the router's addition."""
        for path in (CHAT, "/v1/completions"):
            for name in (*_UNASKED, *_ASKED, *_OTHERS):
                body = question(f"stub/{name}")
                seen = self.served.post(body, path=path)
                call = self.served.calls(f"stub/{name}")[-1]
                self.assertEqual(
                    call.body, body[:-1] + b',"stream_options":{"include_usage":true}}'
                )
                without = direct(replace(call, body=body), _TOKENS)
                said = without.body.partition(_DONE)  # what is behind it is never relayed
                self.assertEqual(neutral(seen.given), neutral(b"".join(said[:2])), (name, path))

    def test_told_apart(self) -> None:
        """The stub would have sent more: what is taken out is a chunk that it sent."""
        for name in _ASKED:
            self.assertIsNone(self.served.ask(f"stub/{name}").usage)
            call = self.served.calls(f"stub/{name}")[-1]
            usage = direct(call, _TOKENS).usage
            assert usage is not None
            self.assertEqual(usage["completion_tokens"], _TOKENS)

    def test_asked_by_the_client(self) -> None:
        """A client that asks gets the chunk."""
        for name in _ASKED:
            asking = json.loads(question(f"stub/{name}"))
            asking["stream_options"] = {"include_usage": True}
            seen = self.served.post(json.dumps(asking).encode())
            assert seen.usage is not None
            self.assertEqual(seen.usage["completion_tokens"], _TOKENS)
