"""What the stub answers before any model is asked, and how it is steered."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from stub_backend import StubOptions
from stub_backend.scripts import UnknownScenarioError
from tests.stub_backend.exchange import QUICK, Exchange


def post(body: bytes, **headers: str) -> tuple[int, str]:
    """Status and body of one chat call with any body."""
    return post_to(Exchange(), body, **headers)


def post_to(exchange: Exchange, body: bytes, **headers: str) -> tuple[int, str]:
    """The same on a given connection."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    exchange.send("POST", "/v1/chat/completions", body, fields)
    exchange.run()
    answer = exchange.answer()
    assert answer is not None
    return answer.status, answer.body.decode()


class TrapTests(SynchronousTestCase):
    """Bodies that the platform does not take."""

    def test_models(self) -> None:
        """No model, an unknown one, one that is no string."""
        self.assertEqual(post(b"{}"), (404, '{"detail":"No matching chute found!"}'))
        self.assertEqual(post(b'{"model":"x"}'), (404, '{"detail":"model not found: x"}'))
        self.assertEqual(post(b'{"model":7}'), (500, "Internal Server Error"))

    def test_streams(self) -> None:
        """`stream` has to be a real boolean, `stream_options` an object."""
        for value in (b"null", b'"true"'):
            body = b'{"model":"stub/ok","stream":%s}' % value
            self.assertEqual(post(body), (404, '{"detail":"No matching cord found!"}'))
        body = b'{"model":"stub/ok","stream":true,"stream_options":null}'
        self.assertEqual(post(body)[0], 500)

    def test_not_json(self) -> None:
        """Broken JSON is 400, JSON that is no object 500."""
        self.assertEqual(post(b"{")[0], 400)
        self.assertEqual(post(b"[]")[0], 500)

    def test_selectors(self) -> None:
        """A chute id, a suffix and a list select their model."""
        chute = Exchange().stub.population.find("stub/ok")
        assert chute is not None
        for model in (chute.chute_id, "stub/ok:latency", "unknown, stub/ok"):
            body = json.dumps({"model": model}).encode()
            status, text = post(body)
            self.assertEqual(status, 200, model)
            self.assertEqual(json.loads(text)["model"], "stub/ok")

    def test_tee_only(self) -> None:
        """A model without a TEE responds 426 to X-TEE-Only."""
        self.assertEqual(post(b'{"model":"stub/ok"}', X_TEE_Only="true")[0], 426)

    def test_require_auth(self) -> None:
        """Keys are required only with the option."""
        strict = StubOptions(require_auth=True, token_delay=0.0)
        body = b'{"model":"stub/ok"}'
        cases = {
            "": (401, "Authentication required."),
            "Bearer nonsense": (401, "Invalid token."),
            "Bearer cpk_short": (401, "Missing or invalid authorization header(s)"),
        }
        for given, (status, detail) in cases.items():
            answer = post_to(Exchange(strict), body, Authorization=given)
            self.assertEqual(answer, (status, f'{{"detail":"{detail}"}}'))
        self.assertEqual(post_to(Exchange(strict), body, Authorization="Bearer cpk_a.b.c")[0], 200)

    def test_paths(self) -> None:
        """Unknown paths are 404 for GET and POST."""
        self.assertEqual(Exchange().fetch("GET", "/v1/models/x").status, 404)
        self.assertEqual(Exchange().fetch("POST", "/v1/embeddings", {}).status, 404)


class LogTests(SynchronousTestCase):
    """The log of received requests."""

    def test_record(self) -> None:
        """A record has the body, its hash, the model and the status; the hash is also a header."""
        exchange = Exchange()
        answer = exchange.ask("stub/503-cold")
        assert answer is not None
        (record,) = exchange.stub.calls("stub/503-cold")
        self.assertEqual(record.body_sha256, hashlib.sha256(record.body).hexdigest())
        self.assertEqual(answer.header("x-stub-body-sha256"), record.body_sha256)
        self.assertEqual((record.status, record.ended, record.aborted), (503, True, False))
        self.assertEqual(record.header("HOST"), "stub")

    def test_client_leaves(self) -> None:
        """A response stops when its client disconnects, and is marked as aborted."""
        exchange = Exchange(StubOptions(token_delay=1.0))
        exchange.send("POST", "/v1/chat/completions", b'{"model":"stub/ok","stream":true}')
        exchange.clock.advance(3.0)
        exchange.leave()
        self.assertTrue(exchange.last.aborted)
        self.assertEqual(exchange.clock.getDelayedCalls(), [])
        self.assertEqual(exchange.stub.connections, {"made": 1, "open": 0})

    def test_client_is_slow(self) -> None:
        """A response pauses while its client does not read."""
        exchange = Exchange()
        exchange.send("POST", "/v1/chat/completions", b'{"model":"stub/huge","stream":true}')
        exchange.channel.pauseProducing()
        exchange.clock.advance(1.0)
        held = len(exchange.transport.value())
        exchange.clock.advance(1.0)
        self.assertEqual(len(exchange.transport.value()), held)
        exchange.channel.resumeProducing()
        exchange.run()
        self.assertTrue(exchange.last.ended)

    def test_keep_alive(self) -> None:
        """A connection serves several requests."""
        exchange = Exchange()
        for _ in range(3):
            answer = exchange.ask("stub/ok")
            assert answer is not None
            self.assertEqual(answer.status, 200)
        self.assertEqual(len(exchange.stub.calls()), 3)
        exchange.stub.reset()
        self.assertEqual(exchange.stub.log, [])


class ControlTests(SynchronousTestCase):
    """Changes of feeds and models at run time."""

    def test_scripts(self) -> None:
        """Each call consumes a step of the script, and later calls use the last scenario."""
        exchange = Exchange()
        model = exchange.stub.population.chat[0].name
        exchange.stub.script(model, ["503-cold", "stub/429-capacity"])
        answers = [exchange.ask(model) for _ in range(4)]
        self.assertEqual([each.status for each in answers if each], [503, 429, 200, 200])

    def test_scripts_over_http(self) -> None:
        """A command sets a script, and an invalid one is rejected."""
        exchange = Exchange()
        command = {"model": "stub/ok", "script": ["500-exhausted"], "then": "404-model"}
        self.assertEqual(exchange.fetch("POST", "/stub/scenario", command).status, 200)
        statuses = [answer.status for _ in range(2) if (answer := exchange.ask("stub/ok"))]
        self.assertEqual(statuses, [500, 404])
        bad = exchange.fetch("POST", "/stub/scenario", {"model": "stub/ok", "script": ["nope"]})
        self.assertEqual(bad.status, 400)
        self.assertRaises(UnknownScenarioError, exchange.stub.script, "stub/ok", ["nope"])

    def test_feeds(self) -> None:
        """Each mode of a feed can be set and reset."""
        exchange = Exchange(QUICK)
        wanted = {"500": 500, "html": 502, "empty": 200, "shrunk": 200, "garbage": 200, "slow": 200}
        for mode, status in wanted.items():
            for feed, path in (("models", "/v1/models"), ("utilization", "/chutes/utilization")):
                exchange.fetch("POST", "/stub/feeds", {feed: mode})
                self.assertEqual(exchange.fetch("GET", path).status, status, mode)
        exchange.fetch("POST", "/stub/feeds", {"models": "empty", "utilization": "empty"})
        self.assertEqual(exchange.fetch("GET", "/v1/models").json()["data"], [])
        self.assertEqual(exchange.fetch("GET", "/chutes/utilization").json(), [])
        exchange.fetch("POST", "/stub/reset")
        self.assertTrue(exchange.fetch("GET", "/v1/models").json()["data"])

    def test_measured_ago(self) -> None:
        """The utilization has one fixed time, or the age that was asked for."""
        for ago, within in ((None, False), (90.0, True)):
            exchange = Exchange(replace(QUICK, measured_ago=ago))
            (first, *_) = exchange.fetch("GET", "/chutes/utilization").json()
            measured = datetime.fromisoformat(first["timestamp"]).replace(tzinfo=UTC)
            age = (datetime.now(UTC) - measured).total_seconds()
            self.assertEqual(90 <= age < 3600, within)

    def test_feed_hangs(self) -> None:
        """A hanging feed sends nothing until the client disconnects."""
        exchange = Exchange()
        exchange.stub.feeds.behave(models="hang")
        exchange.send("GET", "/v1/models")
        exchange.run()
        self.assertEqual(exchange.transport.value(), b"")
        exchange.leave()
        self.assertTrue(exchange.last.aborted)

    def test_bad_feed_commands(self) -> None:
        """Unknown feeds and modes are rejected."""
        for value in ({"models": "nope"}, {"weather": "ok"}, ["models"], 7):
            self.assertEqual(Exchange().fetch("POST", "/stub/feeds", value).status, 400)

    def test_log_over_http(self) -> None:
        """A command returns the log, which does not contain commands."""
        exchange = Exchange()
        exchange.ask("stub/ok")
        (only,) = exchange.fetch("GET", "/stub/log").json()["requests"]
        self.assertEqual((only["model"], only["scenario"], only["status"]), ("stub/ok", "ok", 200))
        self.assertIn("stub/ok", exchange.fetch("GET", "/stub/scenarios").json())
        self.assertEqual(exchange.fetch("GET", "/stub/nothing").status, 404)
