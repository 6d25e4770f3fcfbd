"""What the router learns across requests, and from which clients."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.conduct.learned import FAILURES, ROWS, play_learning
from tests.conduct.play import FIRST, SECOND
from tests.conduct.served import Served, question

_LIST = f"{FIRST},{SECOND}"


class LearnedTests(SynchronousTestCase):
    """Each row under both values of COMMIT."""

    def test_rows(self) -> None:
        """A model that fails follows the others, one that rejects requests does not."""
        for row in ROWS:
            for commit in ("content", "complete"):
                self.assertEqual(
                    play_learning(row, commit), row.expected(commit), f"{row.name} ({commit})"
                )


class OthersTests(SynchronousTestCase):
    """Whose failures affect other clients."""

    def setUp(self) -> None:
        """A router whose first model breaks every answer."""
        self.served = Served(tokens=4)
        self.served.stub.script(FIRST, (), "drop-mid-stream")

    def ask(self, model: str, key: str) -> str:
        """Ask in a conversation of its own; which model was called first."""
        before = len(self.served.stub.calls())
        self.served.post(question(model, f"Tell story {before}."), key=key)
        return self.served.stub.calls()[before].model or ""

    def test_one_client_cools_for_itself(self) -> None:
        """One client's failures do not change another client's order."""
        for _ in range(3 * FAILURES):
            self.ask(_LIST, "one")
        self.assertEqual(self.ask(_LIST, "one"), SECOND)
        self.assertEqual(self.ask(_LIST, "another"), FIRST)

    def test_different_clients_cool_for_all(self) -> None:
        """The failures of three different clients change the order for all."""
        for number in range(FAILURES):
            self.assertEqual(self.ask(_LIST, f"client-{number}"), FIRST)
        self.assertEqual(self.ask(_LIST, "another"), SECOND)

    def test_broken_answers_leave_no_samples(self) -> None:
        """A model that starts quickly and breaks every answer does not rank first."""
        self.ask(FIRST, "one")
        self.ask(SECOND, "one")
        self.assertEqual(self.ask(f"{_LIST}:latency", "another"), SECOND)
