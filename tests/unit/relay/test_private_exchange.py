"""Private exchanges: sealed to attested instances, opened on the way back, and failed over."""

from __future__ import annotations

from unittest.mock import patch

from autopilot.attestation.private_instances import Cause, ChuteStanding, UnavailableError
from autopilot.attestation.verdict import Refusal
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.private_standing import NOTHING_KNOWN
from autopilot.routing.snapshot import Snapshot
from autopilot.upstream.key_pool import KeyPool, PlatformKey
from tests.unit.relay.downstreams import INTERRUPTED
from tests.unit.relay.private import (
    API,
    CAPACITY,
    REPLY,
    STALE_NONCE,
    PrivateRouterTestCase,
    detail,
    instance,
)
from tests.unit.relay.private_failures import FAILURES, ONCE_MORE
from tests.unit.relay.routers import ALIAS, WALL_TIME
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head, whole


class AnswerTests(PrivateRouterTestCase):
    """The usual case."""

    def test_plain(self) -> None:
        """A plain request is sealed, and its reply is opened."""
        self.finds(1)
        client = self.ask("a", stream=False, temperature=0)
        call = self.call
        self.assertEqual(call.request["temperature"], 0)
        self.assertEqual(call.request["model"], "a")
        call.replies()
        self.assertEqual((client.down.status, client.down.body), (200, REPLY))
        self.assertEqual(client.down.field(b"content-type"), b"application/json")
        self.assertEqual(client.down.field(b"content-length"), b"%d" % len(REPLY))
        self.assertEqual(self.record.outcome, "completed")
        self.assertEqual((self.record.private, self.record.instance), (True, "0a000000"))
        self.assertEqual(self.outcomes, {"completed": 1})

    def test_stream(self) -> None:
        """A streamed answer is opened as it arrives."""
        self.finds(1)
        client = self.ask("a")
        self.call.streams(ROLE, TOKEN, STOP, DONE)
        self.assertEqual(client.down.body, ROLE + TOKEN + STOP + DONE)
        self.assertEqual(client.down.ended, "finish")
        self.assertEqual(client.down.field(b"content-type"), b"text/event-stream")
        self.assertEqual((self.record.outcome, self.record.terminated), ("completed", True))
        self.assertEqual(self.faults, {})

    def test_what_goes_up(self) -> None:
        """Nothing but what the platform asks for goes up beside the seal."""
        self.finds(1)
        self.ask("a", (b"User-Agent", b"sdk"), (b"Traceparent", b"00-1"), (b"X-Session", b"s"))
        call = self.call
        self.assertTrue(call.head.startswith(b"POST /api/e2e/invoke HTTP/1.1\r\n"))
        length = call.fields.pop("content-length")
        self.assertEqual(int(length), len(call.blob))
        self.assertEqual(
            call.fields | {"content-length": ""},
            {
                "host": "api.test",
                "accept-encoding": "identity",
                "authorization": "Bearer secret",
                "x-chute-id": "a",
                "x-instance-id": instance(),
                "x-e2e-nonce": f"nonce-{1:026d}",
                "x-e2e-stream": "true",
                "x-e2e-path": "/v1/chat/completions",
                "content-type": "application/octet-stream",
                "content-length": "",
            },
        )
        self.assertEqual(set(self.upstreams.origins), {API})
        self.call.streams(TOKEN, STOP, DONE)

    def test_fields(self) -> None:
        """The answer says which instance it is from, and what was verified of it."""
        self.finds(1)
        client = self.ask("a", stream=False)
        self.clock.advance(312)
        self.call.replies(
            REPLY,
            b"X-Chutes-InvocationID: 1",
            b"Set-Cookie: a=b",
            b"X-Chutes-Autopilot-Private: forged",
            b"Content-Location: http://elsewhere.test",
        )
        self.assertEqual(
            client.down.field(b"x-chutes-autopilot-private"),
            b'attested;age=312;tcb="UpToDate";measurement="1.4.1 8xh200";gpu="signed"',
        )
        self.assertEqual(client.down.field(b"x-chutes-autopilot-instance"), instance().encode())
        self.assertEqual(client.down.field(b"x-chutes-invocationid"), b"1")
        self.assertIsNone(client.down.field(b"set-cookie"))
        self.assertIsNone(client.down.field(b"content-location"))


class FailureTests(PrivateRouterTestCase):
    """Attempts that fail before commit."""

    def test_sibling(self) -> None:
        """Another instance of the model is tried, or else the next model."""
        for each in FAILURES:
            with self.subTest(each.name):
                self.build(threshold=1)
                self.instances.told.clear()
                self.finds(1, 2)
                client = self.ask("a,b", stream=each.name != "stream only")
                first = self.call
                each.does(self)
                asked = self.instances.asked[-1]
                self.assertEqual(asked.chute, "a" if each.sibling else "b")
                if each.sibling:
                    self.assertEqual(asked.avoid, {instance(1)})
                call = self.call
                self.assertNotEqual(call.fields["x-e2e-nonce"], first.fields["x-e2e-nonce"])
                self.assertNotEqual(call.response_key, first.response_key)
                self.assertNotEqual(call.blob[:1088], first.blob[:1088])
                self.assertEqual(call.request["model"], asked.chute)
                self.answers(each.name != "stream only")
                self.assertEqual(client.down.status, 200)
                self.assertEqual(client.down.field(b"x-chutes-autopilot-attempts"), b"2")
                self.assertEqual(
                    client.down.field(b"x-chutes-autopilot-instance"), instance(2).encode()
                )
                self.assertEqual(self.reasons, (each.reason,))
                self.assertEqual(self.record.attempts, 2)
                told = [] if each.told is None else [(each.told, instance(1))]
                self.assertEqual(self.instances.told, told)
                cooling = self.tables.breaker.cooling(self.instances.asked[-1].client, 0.0)
                self.assertEqual(cooling, frozenset() if each.sibling else {"a"})

    def test_nothing_left(self) -> None:
        """Without another instance the model is left, and only that counts against it."""
        for each in FAILURES:
            with self.subTest(each.name):
                self.build(threshold=1)
                self.finds(1, Cause.NO_INSTANCE)
                client = self.ask("a", stream=each.name != "stream only")
                each.does(self)
                self.assert_refused(client, _STATUS[each.code], each.code)
                self.assertEqual(self.reasons, (each.reason,))
                self.assertEqual(self.record.attempts, 1)
                cooling = self.tables.breaker.cooling(
                    self.instances.asked[-1].client, self.clock.seconds()
                )
                self.assertEqual(cooling, {"a"} if each.cools else frozenset())
                self.instances.ready.clear()

    def test_capacity_to_the_next_model(self) -> None:
        """Capacity: a sibling, then the next model, for which an instance is kept."""
        self.finds(1, 2, 3)
        client = self.ask("a,b,c")
        for _ in range(2):
            self.wire.says(CAPACITY)
        self.assertEqual([each.chute for each in self.instances.asked], ["a", "a", "b"])
        self.assertEqual(self.instances.asked[-1].avoid, {instance(1), instance(2)})
        self.wire.says(CAPACITY)
        self.assert_refused(client, 503, "private_unavailable")
        assert client.down.refusal is not None
        self.assertIn(": at capacity 3. ", client.down.refusal.message)
        self.assertEqual(client.down.refusal.tried, b"a=capacity,a=capacity,b=capacity")
        self.assertEqual(len(self.instances.asked), 3)
        self.assertEqual(self.outcomes, {"unavailable": 1})

    def test_one_instance(self) -> None:
        """A limit of one leaves no second try."""
        self.configure(max_instances=1)
        self.finds(1)
        client = self.ask("a,b,c")
        self.wire.says(CAPACITY)
        self.assert_refused(client, 503, "private_unavailable")
        self.assertEqual(len(self.instances.asked), 1)

    def test_no_connection(self) -> None:
        """All instances have one address, so that no nonce is wasted on another."""
        self.finds(1, 2)
        self.upstreams.refusing = 1
        self.ask("a,b")
        self.assertEqual([each.chute for each in self.instances.asked], ["a", "b"])
        self.answers()
        self.assertEqual(self.reasons, ("connect_refused",))

    def test_nonce(self) -> None:
        """A refused nonce leads to one discovery, and is no failed attempt."""
        self.finds(1, 1)
        client = self.ask("a,b")
        self.wire.says(STALE_NONCE)
        self.assertEqual(self.instances.told, [("nonce_refused", instance(1))])
        self.assertEqual(self.instances.asked[-1].avoid, frozenset())
        self.assertEqual(self.instances.asked[-1].prefer, instance(1))
        self.answers()
        self.assertEqual(client.down.field(b"x-chutes-autopilot-attempts"), b"1")
        self.assertEqual((self.record.attempts, self.reasons), (1, ()))

    def test_nonce_twice(self) -> None:
        """The second time it is a failure, and not of the model."""
        self.build(threshold=1)
        self.finds(1, 1)
        client = self.ask("a")
        for _ in range(2):
            self.wire.says(STALE_NONCE)
        self.assert_refused(client, 503, "private_unavailable")
        self.assertEqual(self.reasons, (ONCE_MORE,))
        self.assertEqual(len(self.instances.asked), 2)
        self.assertEqual(
            self.tables.breaker.cooling(self.instances.asked[0].client, self.clock.seconds()),
            frozenset(),
        )

    def test_stale_connection(self) -> None:
        """A reused connection that had closed: once more, under another nonce."""
        self.finds(1, 1, 1)
        self.ask("a", stream=False)
        self.call.replies()
        self.records.clear()
        self.clients.clear()
        client = self.ask("a", stream=False)
        first = self.call.fields["x-e2e-nonce"]
        self.wire.closes()
        self.assertEqual(len(self.upstreams.wires), 2)
        self.assertNotEqual(self.call.fields["x-e2e-nonce"], first)
        self.call.replies()
        self.assertEqual(client.down.status, 200)
        self.assertEqual((self.record.attempts, self.reasons), (1, ()))

    def test_final(self) -> None:
        """What the request or the account is to blame for ends it."""
        sealed = "A" * 200
        for status, text, code in (
            (400, sealed, "private_rejected"),
            (422, "Instance returned status 422", "private_rejected"),
            (400, "Empty request body", "private_reply_invalid"),
            (422, [{"type": "missing"}], "private_reply_invalid"),
        ):
            with self.subTest(status=status, text=text):
                self.build()
                self.finds(1)
                client = self.ask("a,b")
                self.wire.says(detail(status, text))
                self.assert_refused(client, 400 if code == "private_rejected" else 502, code)
                self.assertEqual(self.reasons, ())
                assert client.down.refusal is not None
                self.assertNotIn("missing", client.down.refusal.message)

    def test_relayed(self) -> None:
        """Errors about the account are relayed, without what says that an instance answered."""
        page = whole(429, b"<html>banned</html>", b"text/html", b"Set-Cookie: a=b")
        for answer, status in (
            (detail(401, "Invalid token."), 401),
            (detail(402, {"message": "Quota exceeded"}), 402),
            (page, 429),
        ):
            with self.subTest(status):
                self.build()
                self.finds(1)
                client = self.ask("a,b")
                self.wire.says(answer)
                self.assertEqual(client.down.status, status)
                self.assertIsNone(client.down.field(b"x-chutes-autopilot-private"))
                self.assertIsNone(client.down.field(b"set-cookie"))
                self.assertEqual(self.record.outcome, "relayed_error")
                retry = b"false" if answer is page else None
                self.assertEqual(client.down.field(b"x-should-retry"), retry)

    def test_error_in_parts(self) -> None:
        """An error is judged when its body is there."""
        self.finds(1, 2)
        self.ask("a")
        answer = detail(404, "Instance not found")
        self.wire.says(answer[:-5], answer[-5:])
        self.assertEqual(self.instances.told, [("vanished", instance(1))])
        self.answers()

    def test_after_commit(self) -> None:
        """Behind the first token a fault breaks the answer off, and nothing is tried again."""
        for fault, outcome_reason in (("bad", "reply_invalid"), ("end", "no_terminator")):
            with self.subTest(fault):
                self.build()
                self.instances.asked.clear()
                self.finds(1)
                client = self.ask("a,b")
                init, token, stop, done = self.call.events(TOKEN, STOP, DONE)
                self.wire.says(head(), chunk(init), chunk(token))
                self.assertEqual(client.down.body, TOKEN)
                if fault == "bad":
                    self.wire.says(chunk(stop.replace(b'"}', b'AAAA"}') + done))
                    self.assertEqual(client.down.body, TOKEN + INTERRUPTED)
                else:
                    self.wire.says(chunk(stop), chunk(b"data: [DONE]\n\n"), chunk(b""))
                    self.assertEqual(client.down.body, TOKEN + STOP + INTERRUPTED)
                self.assertEqual(client.down.ended, "cut")
                self.assertEqual(self.record.reason, outcome_reason)
                self.assertEqual(len(self.instances.asked), 1)
                self.assertEqual(self.outcomes, {"interrupted": 1})

    def answers(self, stream: bool = True) -> None:
        """Answer the call made last."""
        if stream:
            self.call.streams(ROLE, TOKEN, STOP, DONE)
        else:
            self.call.replies()


class WaitTests(PrivateRouterTestCase):
    """The wait for an attested instance."""

    def test_times(self) -> None:
        """The attempt is measured from its sending, not from the wait on."""
        client = self.ask("a,b", stream=False)
        self.assertEqual(self.upstreams.wires, [])
        self.clock.advance(19)
        self.instances.asked[0].answer.callback(self.found(1))
        self.clock.advance(179)
        self.assertIsNone(client.down.ended)
        self.call.replies()
        self.assertEqual(client.down.status, 200)
        self.assertEqual(self.record.duration_ms, 198_000.0)
        self.assertLess(abs((self.tables.latency.plain_p95("a") or 179.0) - 179.0), 20.0)

    def test_too_long(self) -> None:
        """After its time the next model is tried, and the question is given up."""
        cancelled: list[object] = []
        client = self.ask("a,b")
        self.instances.asked[0].answer._canceller = cancelled.append
        self.finds(2)
        self.clock.advance(20)
        self.assertEqual(len(cancelled), 1)
        self.assertEqual([each.chute for each in self.instances.asked], ["a", "b"])
        self.call.streams(TOKEN, STOP, DONE)
        self.assertEqual(client.down.ended, "finish")
        self.assertEqual(self.reasons, ("not_attested",))

    def test_total_deadline(self) -> None:
        """The total deadline counts while an instance is waited for."""
        self.build(total=5.0)
        client = self.ask("a,b")
        self.clock.advance(5)
        self.assert_refused(client, 504, "upstream_total_timeout")
        self.assertEqual(self.reasons, ("total_deadline",))

    def test_client_leaves(self) -> None:
        """With the client the question ends, and a nonce that comes too late is not used."""
        client = self.ask("a,b")
        asked = self.instances.asked[0]
        client.leaves()
        self.assertEqual(self.record.outcome, "client_gone")
        self.assertTrue(asked.answer.called)
        self.assertEqual((self.upstreams.wires, len(self.instances.asked)), ([], 1))

    def test_shutdown(self) -> None:
        """A router that stops does not wait for an instance."""
        client = self.ask("a,b")
        self.proxy.shut_down()
        self.assert_refused(client, 503, "draining")
        self.assertTrue(self.instances.asked[0].answer.called)

    def test_causes(self) -> None:
        """Without any instance the client learns how often each cause was found."""
        self.finds(
            UnavailableError(
                Cause.REFUSED,
                Refusal.TCB_STATUS,
                found=(Refusal.TCB_STATUS, Cause.NOT_ATTESTABLE, Cause.NOT_ATTESTABLE),
            ),
            UnavailableError(Cause.DISCOVERY_LIMITED, retry_after=11.2),
            UnavailableError(Cause.NO_INSTANCE, retry_after=30.0),
        )
        client = self.ask("a,b,c")
        self.assert_refused(client, 503, "private_unavailable")
        error = client.down.refusal
        assert error is not None
        self.assertEqual(
            error.message,
            "No attested instance took the request: refused 1 (tcb_status), not attestable 2,"
            " discovery limited, no instance 1. Nothing was sent in another way.",
        )
        self.assertEqual((error.retry_after, error.tried), (12, None))
        self.assertEqual(self.reasons, ("not_attested", "discovery", "not_attested"))
        self.assertEqual(self.upstreams.wires, [])
        client_hash = self.instances.asked[0].client
        self.assertEqual(self.tables.breaker.cooling(client_hash, 1000.0), frozenset())
        self.assertEqual((self.record.private, self.record.instance), (True, None))

    def test_key_refused(self) -> None:
        """A key that the platform refuses ends the request: another model would need it too."""
        for status in (401, 402, 403):
            self.build()
            self.finds(UnavailableError(Cause.UNAUTHORIZED, status=status))
            client = self.ask("a,b")
            self.assert_refused(client, status, "private_unauthorized")

    def test_library(self) -> None:
        """Without the packages no model can be attested."""
        self.finds(Cause.LIBRARY)
        client = self.ask("a,b")
        self.assert_refused(client, 503, "private_unavailable")
        self.assertEqual(len(self.instances.asked), 1)

    def test_stopped(self) -> None:
        """Who looked for an instance has stopped: the request fails, and not as a bug."""
        client = self.ask("a")
        self.instances.asked[0].answer.cancel()
        self.assert_refused(client, 503, "private_unavailable")

    def test_bug(self) -> None:
        """What else is raised is a bug: 500, and nothing is sent."""
        client = self.ask("a,b")
        self.instances.asked[0].answer.errback(ZeroDivisionError())
        self.assert_refused(client, 500, "internal_error")
        self.assertEqual(self.upstreams.wires, [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_chute(self) -> None:
        """A model whose chute the catalog does not state is no candidate."""
        catalog = Catalog.of([Model("a", tee=True), Model("b", "b", tee=True)])
        self.snapshot = Snapshot(catalog, self.snapshot.ranking, 990.0, 995.0)
        self.finds(1)
        self.ask("a,b")
        self.assertEqual([each.chute for each in self.instances.asked], ["b"])
        self.call.streams(TOKEN, STOP, DONE)
        self.assertEqual(self.reasons, ())


class ConversationTests(PrivateRouterTestCase):
    """Conversations stay with the instance that has read them."""

    def test_stays(self) -> None:
        """The instance is preferred; another one is a move."""
        expected = (
            (1, b"miss", "new"),
            (1, b"hit", None),
            (2, b"moved", "gone"),
            (2, b"hit", None),
        )
        prefers = (None, instance(1), instance(1), instance(2))
        for (number, affinity, why), prefer in zip(expected, prefers, strict=True):
            self.finds(number)
            client = self.ask(ALIAS)
            self.assertEqual(self.instances.asked[-1].prefer, prefer)
            self.call.streams(TOKEN, STOP, DONE)
            self.assertEqual(client.down.field(b"x-chutes-autopilot-affinity"), affinity)
            self.assertEqual(self.records[-1].affinity_why, why)

    def test_moves_after_a_failure(self) -> None:
        """An instance that fails loses the conversation to its sibling."""
        self.finds(1, 1, 2)
        self.ask(ALIAS)
        self.call.streams(TOKEN, STOP, DONE)
        client = self.ask(ALIAS)
        self.wire.says(CAPACITY)
        self.call.streams(TOKEN, STOP, DONE)
        self.assertEqual(client.down.field(b"x-chutes-autopilot-affinity"), b"moved")
        self.assertEqual(self.records[-1].affinity_why, "failed")


class LentKeyTests(PrivateRouterTestCase):
    """Keys of the operator's own pool."""

    def test_the_pool_learns(self) -> None:
        """A key that the platform refuses rests, although this request is not repeated."""
        for status, text in ((402, {"message": "Quota exceeded"}), (401, "Invalid token.")):
            self.build()
            keys = [PlatformKey(f"p{at}", b"cpk_lent%d" % at, b"%016d" % at) for at in (1, 2)]
            self.proxy.key_pool = KeyPool(keys, self.clock.seconds, lambda: WALL_TIME)
            numbers = []
            for _ in range(2):
                self.finds(1)
                client = self.ask("a", stream=False)
                asked = self.instances.asked[-1]
                self.assertEqual(asked.client, b"%016d" % int(asked.authorization[-1]))
                self.assertEqual(self.call.fields["authorization"], asked.authorization)
                numbers.append(asked.authorization[-1])
                self.wire.says(detail(status, text))
                self.assert_refused(client, 502, "account_refused")
            self.assertEqual(sorted(numbers), ["1", "2"])

    def test_discovery(self) -> None:
        """A key with which no instance may be looked for rests as well."""
        keys = [PlatformKey(f"p{at}", b"cpk_lent%d" % at, b"%016d" % at) for at in (1, 2)]
        pool = self.proxy.key_pool = KeyPool(keys, self.clock.seconds, lambda: WALL_TIME)
        for status, resting in ((403, 0), (402, 1), (401, 2)):
            self.finds(UnavailableError(Cause.UNAUTHORIZED, status=status))
            client = self.ask("a", stream=False)
            self.assertEqual(len(pool.resting()), resting)
            if resting:  # what the platform says of the operator's account is not for clients
                self.assert_refused(client, 502, "account_refused")
            else:
                self.assert_refused(client, 403, "private_unauthorized")


class PathTests(PrivateRouterTestCase):
    """Private mode fails closed."""

    def test_without_private_mode(self) -> None:
        """A router without the packages sends nothing."""
        self.proxy._private = None
        client = self.ask("a")
        self.assert_refused(client, 503, "private_unavailable")
        self.assertEqual(self.upstreams.wires, [])

    def test_counter_with_a_bug(self) -> None:
        """A counter that raises costs the client nothing."""
        self.finds(1)
        client = self.ask("a", stream=False)
        with patch.object(self.counts, "request", side_effect=ZeroDivisionError):
            self.call.replies()
        self.assertEqual((client.down.body, self.record.outcome), (REPLY, "completed"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_plain_origin(self) -> None:
        """Whatever is asked, and whatever fails, goes to one place."""
        for each in FAILURES:
            self.build()
            self.finds(1, 2, 3)
            self.ask("a,b,c", stream=each.name != "stream only")
            for _ in range(3):
                if self.upstreams.alive:
                    each.does(self)
            self.assertEqual(set(self.upstreams.origins), {API})
            self.instances.ready.clear()

    def test_standing(self) -> None:
        """What is known of chutes is known of their models."""
        exchanges = self.private_exchanges()
        self.assertEqual(exchanges.standing(b"c", self.snapshot), NOTHING_KNOWN)
        self.instances.known = ChuteStanding(frozenset({"a"}), frozenset({"b", "x"}))
        known = exchanges.standing(b"c", self.snapshot)
        self.assertEqual((known.ready, known.unattestable), ({"a"}, {"b"}))
        self.assertEqual(exchanges.standing(b"c", Snapshot()), NOTHING_KNOWN)
        self.assertEqual(exchanges.host, "api.test")


_STATUS = {
    "private_unavailable": 503,
    "private_unsupported": 400,
    "private_reply_invalid": 502,
    "upstream_stream_interrupted": 502,
    "upstream_connect_error": 502,
    "upstream_header_timeout": 504,
}
