"""Requests that are refused before any attempt: the error, and the record."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.error_bodies import too_large
from autopilot.routing.snapshot import Snapshot
from tests.unit.relay.routers import ALIAS, RouterTestCase


class RefusalTests(RouterTestCase):
    """Requests that get an error of the router's own, and no upstream attempt."""

    def refused(self, status: int, code: str, mode: str = "none", **kwargs: object) -> None:
        """One request is refused, and leaves a record with the kind of its selector."""
        client = self.ask(**kwargs)  # type: ignore[arg-type]
        self.assert_refused(client, status, code)
        self.assertIsNone(client.exchange)
        record = self.records[-1]
        self.assertEqual((record.outcome, record.status, record.attempts), ("refused", status, 0))
        self.assertEqual((record.mode, record.model, record.candidates), (mode, None, 0))
        self.assertEqual(self.upstreams.wires, [])

    def test_bodies(self) -> None:
        """Each kind of bad body has its code."""
        self.refused(400, "invalid_json", body=b"{")
        self.refused(400, "invalid_body", body=b"[]")
        self.refused(400, "missing_model", body=b"{}")
        self.refused(413, "request_too_large", body=b" " * 100_001)
        self.assertEqual(too_large(5).code, "request_too_large")

    def test_no_model(self) -> None:
        """The error for a request without a model names the router's own alias."""
        client = self.ask(body=b'{"model":" "}')
        assert client.down.refusal is not None
        self.assertIn(f"an alias such as '{ALIAS}'", client.down.refusal.message)

    def test_selectors(self) -> None:
        """A bad list, an unknown model and an alias without candidates have their codes."""
        self.refused(400, "invalid_model_list", model=",")
        self.refused(400, "unknown_model", "direct", model="zzz")
        self.refused(400, "unknown_model", "list", model="a,zzz")
        self.snapshot = Snapshot()
        self.refused(503, "no_candidates", "alias")

    def test_when_to_try_again(self) -> None:
        """Without candidates that is when the feeds are read next, at the time of asking."""
        self.snapshot = Snapshot()
        for seconds in (9, 3):
            self.refreshed_in = seconds
            client = self.ask()
            self.assert_refused(client, 503, "no_candidates")
            assert client.down.refusal is not None
            self.assertEqual(client.down.refusal.retry_after, seconds)

    def test_activity(self) -> None:
        """The watch on the reactor can name the reading of a request, also of a refused one."""
        self.assertEqual(self.activity.since(0.0), "")
        self.clock.advance(2.0)
        self.refused(400, "invalid_json", body=b"{")
        self.assertEqual(self.activity.latest, ("reading a request", self.clock.seconds()))

    def test_draining(self) -> None:
        """A router that shuts down takes nothing new."""
        self.proxy.draining = True
        self.refused(503, "draining")

    def test_overloaded(self) -> None:
        """Over the limit requests are refused, until one of those under way is over."""
        self.build(max_active=1)
        first = self.ask()
        self.assertEqual(self.proxy.active, 1)
        self.assert_refused(self.ask(), 503, "overloaded")
        first.leaves()
        self.assertEqual(self.proxy.active, 0)
        self.assertIsNotNone(self.ask().exchange)

    def test_compressed(self) -> None:
        """Compressed bodies are refused; `identity` is none."""
        client = self.ask(ALIAS, (b"content-encoding", b"gzip"))
        self.assert_refused(client, 415, "unsupported_content_encoding")
        self.assertIsNotNone(self.ask(ALIAS, (b"Content-Encoding", b" Identity ")).exchange)

    def test_commit_header(self) -> None:
        """An unknown commit point is refused, a known one in any case is taken."""
        client = self.ask(ALIAS, (b"X-Autopilot-Commit", b"never"))
        self.assert_refused(client, 400, "invalid_commit")
        self.assertIsNotNone(self.ask(ALIAS, (b"x-autopilot-commit", b"BYTE")).exchange)

    def test_tee_only(self) -> None:
        """Where confidential models are asked for, others are no candidates."""
        self.assertIsNotNone(self.ask(ALIAS, (b"X-TEE-Only", b"true")).exchange)
        model = self.snapshot.catalog
        assert model is not None
        self.snapshot = Snapshot(ranking=self.snapshot.ranking)
        client = self.ask(ALIAS, (b"X-TEE-Only", b"true"))
        self.assert_refused(client, 400, "tee_required")

    def test_tee_only_said_more_than_once(self) -> None:
        """Who says it anywhere means it; other words are not it."""
        self.snapshot = Snapshot(ranking=self.snapshot.ranking)
        name = b"X-TEE-Only"
        for fields in (
            ((name, b"false"), (name, b"True")),
            ((name, b"no , true"),),
            ((name, b" TRUE\t"),),
        ):
            self.assert_refused(self.ask(ALIAS, *fields), 400, "tee_required")
        for word in (b"false", b"", b"1", b"truer", b"true;x"):
            self.assertIsNotNone(self.ask(ALIAS, (name, word)).exchange)


class TooLargeTests(SynchronousTestCase):
    """The refusal of a body that is too large."""

    def test_it_names_the_limit(self) -> None:
        """The message says what would be accepted."""
        self.assertIn("1234 bytes", too_large(1234).message)
