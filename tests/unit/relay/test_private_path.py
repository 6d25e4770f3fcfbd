"""The way to attested instances: the question, the seal, the call, and the thread of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.private_instances import Cause, UnavailableError
from autopilot.attestation.sealing import UnsealableError, open_reply
from autopilot.observability.log_rate_limit import FailureLog
from autopilot.observability.private_counts import PrivateCounts
from autopilot.relay import private_call, private_path
from autopilot.relay.private_path import INVOKE, Chute, PrivatePath
from autopilot.upstream.pool import Origin
from autopilot.upstream.target import RequestTarget
from tests.unit.attestation.fake_instances import FakeInstances, attested
from tests.unit.attestation.sealed import instance_key, read_request
from tests.unit.relay.test_private_call import CallTestCase, _Handler

BODY = b'{"model":"a","messages":[]}'
CHUTE = Chute("c-1", b"client", "Bearer secret")


class PathTests(SynchronousTestCase):
    """Sealing."""

    def setUp(self) -> None:
        """Make a path whose threads wait for the test."""
        self.threads: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self.instances = FakeInstances(attested(instance_key(), "0a-1"))
        target = RequestTarget.sealed(Origin("https", "api.test", 443, "/api"), INVOKE)
        self.path = PrivatePath(self.instances, PrivateCounts(), target, self._in_thread)

    def _in_thread(self, call: Callable[..., Any], *given: Any) -> Deferred[Any]:
        self.threads.append((Deferred(), call, given))
        return self.threads[-1][0]

    def test_small(self) -> None:
        """A usual body is sealed at once, to the instance's key."""
        sealed = self.successResultOf(self.path.sealed(CHUTE, BODY, {"0a-2"}, "0a-1"))
        request = read_request(sealed.request.blob)
        self.assertEqual((request["model"], request["messages"]), ("a", []))
        self.assertEqual(request["e2e_response_pk"].encode(), sealed.request.response_key.text)
        (asked,) = self.instances.asked
        self.assertEqual((asked.chute, asked.client), ("c-1", b"client"))
        self.assertEqual((asked.authorization, asked.prefer), ("Bearer secret", "0a-1"))
        self.assertEqual(asked.avoid, {"0a-2"})
        self.assertEqual(self.threads, [])

    def test_large(self) -> None:
        """A thread seals a large body."""
        self.patch(private_path, "LARGE", len(BODY) - 1)
        sealing = self.path.sealed(CHUTE, BODY, (), None)
        self.assertNoResult(sealing)
        ((done, call, given),) = self.threads
        done.callback(call(*given))
        self.assertEqual(read_request(self.successResultOf(sealing).request.blob)["model"], "a")

    def test_cancelled(self) -> None:
        """Whoever waits may give up: while an instance is looked for, and in the thread."""
        self.patch(private_path, "LARGE", 1)
        for ready in (True, False):
            if not ready:
                self.instances.ready.clear()
            sealing = self.path.sealed(CHUTE, BODY, (), None)
            sealing.cancel()
            self.failureResultOf(sealing, CancelledError)
            self.assertTrue(self.instances.asked[-1].answer.called)
        ((done, call, given),) = self.threads
        done.callback(call(*given))  # too late, and without effect

    def test_not_asked(self) -> None:
        """Without a chute, or without a key, there is no question."""
        for chute, cause in (
            (Chute("", b"c", "Bearer k"), Cause.NO_CHUTE),
            (Chute("c\r\nX: y", b"c", "Bearer k"), Cause.NO_CHUTE),
            (Chute("c-1", b"c", ""), Cause.UNAUTHORIZED),
        ):
            failure = self.failureResultOf(self.path.sealed(chute, BODY, (), None))
            failure.trap(UnavailableError)
            self.assertEqual(failure.value.cause, cause)
        self.assertEqual(self.instances.asked, [])

    def test_unsealable(self) -> None:
        """A body that names a response key itself is not sealed."""
        body = json.dumps({"model": "a", "e2e_response_pk": "x"}).encode()
        self.failureResultOf(self.path.sealed(CHUTE, body, (), None), UnsealableError)

    def test_no_secrets(self) -> None:
        """What is kept of the client does not show in a text."""
        sealed = self.successResultOf(self.path.sealed(CHUTE, BODY, (), None))
        shown = repr(sealed) + repr(CHUTE)
        self.assertNotIn("secret", shown)
        self.assertNotIn("client", shown)
        self.assertNotIn("n" * 32, shown)
        self.assertNotIn(instance_key().text[:20], shown)

    def test_call(self) -> None:
        """The call has the fields that the platform asks for, and no others."""
        sealed = self.successResultOf(self.path.sealed(CHUTE, BODY, (), None))
        for streams, said in ((True, b"true"), (False, b"false")):
            call = self.path.call(
                sealed,
                CHUTE,
                "/v1/completions",
                _Handler(),
                streams=streams,
                held=lambda size: None,
                failures=FailureLog(Logger(), Clock().seconds),
            )
            head, _, blob = call.inner.payload.partition(b"\r\n\r\n")
            self.assertEqual(blob, sealed.request.blob)
            self.assertEqual(
                head.split(b"\r\n"),
                [
                    b"POST /api/e2e/invoke HTTP/1.1",
                    b"Host: api.test",
                    b"Accept-Encoding: identity",
                    b"Authorization: Bearer secret",
                    b"X-Chute-Id: c-1",
                    b"X-Instance-Id: 0a-1",
                    b"X-E2E-Nonce: " + b"n" * 32,
                    b"X-E2E-Stream: " + said,
                    b"X-E2E-Path: /v1/completions",
                    b"Content-Type: application/octet-stream",
                    b"Content-Length: %d" % len(blob),
                ],
            )


class LargeReplyTests(CallTestCase):
    """Large replies."""

    def test_opened_in_a_thread(self) -> None:
        """The path opens them in a thread, too."""
        self.patch(private_call, "LARGE", 10)
        work: list[Any] = []

        def in_thread(*given: Any) -> Deferred[Any]:
            work.append(given)
            return succeed(given[0](*given[1:]))

        target = RequestTarget.sealed(Origin("http", "api.test", 80), INVOKE)
        path = PrivatePath(FakeInstances(), PrivateCounts(), target, in_thread)
        call = self.make(streams=False)
        blob = self.blob()
        opened = path._open_large(blob, self.key, 1000)
        self.assertEqual(self.successResultOf(opened), b'{"choices":[]}')
        self.assertEqual(work, [(open_reply, blob, self.key, 1000)])
        call.outer.abort()
