"""Every way to ask, every way to fail, before and after the commit: one row each.

Each row says what the first upstream attempt does. Before the commit: how many attempts follow from
it, and what the client gets. After it: there is exactly one attempt, and the client gets the bytes
that came, an error event, and a cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.unit.relay.downstreams import INTERRUPTED
from tests.unit.relay.routers import ALIAS, CONNECT_TIMEOUT, RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, STOP, TOKEN, chunk, head, shaped, whole

CAPACITY = b'{"detail":"Infrastructure is at maximum capacity, try again later"}'
OTHER_429 = b'{"detail":"You have too many requests"}'
EXHAUSTED = b'{"detail":"exhausted all available targets to no avail"}'
OTHER_500 = b'{"detail":"boom"}'
CAPACITY_ERROR = b'{"error":{"message":"Infrastructure is at maximum capacity","code":429}}\n'
BARE = b'{"error":{"message":"exhausted all available targets","code":500}}'
GOOD = TOKEN + STOP + DONE
SELECTORS = {"alias": (ALIAS, 3), "list": ("b,a", 2), "direct": ("a", 1)}


class Row(NamedTuple):
    """What an attempt does, and what follows where a candidate is left and where none is."""

    name: str
    does: Callable[[MatrixTests], None]
    reason: str | None
    """Why the next candidate is tried; None: it is not."""
    status: int
    """What the client gets when this was the last attempt."""
    answer: str | bytes
    """The router's own error code, or the bytes relayed."""


def _answers(response: bytes) -> Callable[[MatrixTests], None]:
    return lambda test: test.wire.says(response)


def _refuses(test: MatrixTests) -> None:
    test.upstreams.refusing += 1


def _hangs(test: MatrixTests) -> None:
    test.upstreams.hanging = True


def _resets(test: MatrixTests) -> None:
    test.wire.resets()


def _resets_inside(test: MatrixTests) -> None:
    test.wire.says(chunk(b"da"))
    test.wire.resets()


def _is_silent(test: MatrixTests) -> None:
    test.clock.advance(60)


def _sends_a_head_only(test: MatrixTests) -> None:
    test.wire.says(head())
    test.clock.advance(60)


def _is_good(test: MatrixTests) -> None:
    test.wire.says(head(), chunk(TOKEN), chunk(STOP + DONE), chunk(b""))


CONNECT_ERROR = "upstream_connect_error"
LIMITED = shaped(CAPACITY, "rate_limit_error")

BEFORE = (
    Row("connect timeout", _hangs, "connect_timeout", 502, CONNECT_ERROR),
    Row("refused", _refuses, "connect_refused", 502, CONNECT_ERROR),
    Row("reset", _resets, "connection_lost", 502, CONNECT_ERROR),
    Row("header timeout", _is_silent, "header_timeout", 504, "upstream_header_timeout"),
    Row(
        "first-byte timeout",
        _sends_a_head_only,
        "first_body_byte_timeout",
        504,
        "upstream_first_body_byte_timeout",
    ),
    Row("503", _answers(whole(503, b"no")), "status_503", 503, b"no"),
    Row("429 capacity", _answers(whole(429, CAPACITY)), "capacity", 429, LIMITED),
    Row(
        "429 other",
        _answers(whole(429, OTHER_429)),
        None,
        429,
        shaped(OTHER_429, "rate_limit_error"),
    ),
    Row(
        "500 platform",
        _answers(whole(500, EXHAUSTED)),
        "status_500",
        500,
        shaped(EXHAUSTED, "server_error"),
    ),
    Row(
        "500 other",
        _answers(whole(500, OTHER_500)),
        "status_500",
        500,
        shaped(OTHER_500, "server_error"),
    ),
    Row("200", _is_good, None, 200, GOOD),
)

AFTER: tuple[tuple[str, Callable[[MatrixTests], None], bytes], ...] = (
    ("reset", _resets, b""),
    ("closed", lambda test: test.wire.closes(), b""),
    ("reset inside an event", _resets_inside, b"da"),
    ("silence", lambda test: test.clock.advance(120), b""),
    ("another head", lambda test: test.wire.says(whole(503, b"")), b""),
    ("bare JSON 503", lambda test: test.wire.says(chunk(b'{"error":"503"}\n')), b""),
    ("bare JSON 429", lambda test: test.wire.says(chunk(CAPACITY_ERROR)), b""),
    ("bare JSON 500, then the end", lambda test: test.wire.says(chunk(BARE), chunk(b"")), b""),
)


class MatrixTests(RouterTestCase):
    """The rows, for the alias, a list and a direct name."""

    def begin(self, row: Row, model: str) -> None:
        """Ask, with the first attempt failing as the row says."""
        connects = row.does in (_refuses, _hangs)
        if connects:
            row.does(self)
        self.ask(model)
        if row.does is _hangs:
            self.upstreams.hanging = False
            self.clock.advance(CONNECT_TIMEOUT)
        elif not connects:
            row.does(self)

    def test_before_commit_with_a_candidate_left(self) -> None:
        """A retryable failure of the first candidate costs one more attempt, others none."""
        for mode in ("alias", "list"):
            for row in BEFORE:
                self.build()
                self.begin(row, SELECTORS[mode][0])
                self.assert_went_on(mode, row)

    def assert_went_on(self, mode: str, row: Row) -> None:
        """Assert the results of the rows while a candidate remains."""
        down, where = self.clients[0].down, (mode, row.name)
        attempts = 1 if row.reason is None else 2
        if row.reason is not None:
            self.assertIsNone(down.head, where)
            _is_good(self)
        self.assertEqual(self.record.attempts, attempts, where)
        self.assertEqual(self.reasons, (row.reason,) if row.reason else (), where)
        self.assertEqual(down.status, 200 if row.reason else row.status, where)
        self.assertEqual(down.body, GOOD if row.reason else row.answer, where)
        self.assertEqual(down.ended, "finish", where)
        self.assert_debug(mode, attempts)

    def assert_debug(self, mode: str, attempts: int) -> None:
        """Alias and list responses name the model and the attempts; direct ones do not."""
        down = self.clients[0].down
        order = {"alias": b"abc", "list": b"ba", "direct": b"a"}[mode]
        selected = None if mode == "direct" else order[attempts - 1 : attempts]
        counted = None if mode == "direct" else b"%d" % attempts
        self.assertEqual(down.field(b"x-chutes-autopilot-selected"), selected)
        self.assertEqual(down.field(b"x-chutes-autopilot-attempts"), counted)
        self.assertEqual(down.field(b"x-request-id"), b"req-1")

    def test_before_commit_on_the_last_candidate(self) -> None:
        """With one attempt, the client gets the response there was, or the router's own error."""
        for mode, (model, _) in SELECTORS.items():
            for row in BEFORE:
                self.build(max_attempts=1)
                self.begin(row, model)
                down, where = self.clients[0].down, (mode, row.name)
                self.assertEqual((self.record.attempts, down.status), (1, row.status), where)
                self.assertLessEqual(len(self.upstreams.wires), 1, where)
                if isinstance(row.answer, str):
                    self.assertEqual((down.code, down.head), (row.answer, None), where)
                else:
                    self.assertEqual((down.body, down.ended), (row.answer, "finish"), where)
                    self.assert_debug(mode, 1)

    def test_before_commit_on_all(self) -> None:
        """When every candidate fails the same way each is tried once."""
        for mode, (model, candidates) in SELECTORS.items():
            for row in BEFORE:
                self.build()
                self.upstreams.refusing = candidates if row.does is _refuses else 0
                self.upstreams.hanging = row.does is _hangs
                self.ask(model)
                tries = 0
                while not self.records and tries < 9:
                    tries += 1
                    if row.does is _hangs:
                        self.clock.advance(CONNECT_TIMEOUT)
                    else:
                        row.does(self)
                down, where = self.clients[0].down, (mode, row.name)
                attempts = candidates if row.reason else 1
                self.assertEqual((self.record.attempts, down.status), (attempts, row.status), where)
                self.assertEqual(len(self.reasons), attempts if row.reason else 0, where)

    def test_after_commit(self) -> None:
        """After the first relayed byte: one attempt, what came, an event or none, and a cut."""
        for mode, (model, _) in SELECTORS.items():
            for name, does, more in AFTER:
                self.build()
                client = self.ask(model)
                self.wire.says(head(), chunk(TOKEN))
                self.assertEqual(client.down.body, TOKEN)
                does(self)
                where = (mode, name)
                event = b"" if more else INTERRUPTED  # nothing can be said inside an event
                self.assertEqual(client.down.body, TOKEN + more + event, where)
                self.assertEqual((client.down.ended, len(self.models)), ("cut", 1), where)
                self.assertEqual((self.record.attempts, self.reasons), (1, ()), where)
                self.assertEqual(self.proxy.active, 0, where)
                self.assert_debug(mode, 1)

    def test_after_a_committed_error(self) -> None:
        """An error that is being relayed is cut when it breaks, and nothing is added."""
        for mode, (model, _) in SELECTORS.items():
            self.build()
            client = self.ask(model)
            self.wire.says(whole(401, b'{"detail":"no"}', JSON)[:-4])
            self.wire.resets()
            self.assertEqual((client.down.status, client.down.ended), (401, "cut"))
            self.assertEqual((client.down.body, len(self.models)), (b'{"detail":"', 1))
            self.assert_debug(mode, 1)
