"""Tests of the answers for people."""

from __future__ import annotations

import json
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from stub_backend.prose import BREAKING, CHOOSING, FAILING, NAMING, answer
from tests.stub_backend.exchange import QUICK, Exchange


def _streamed(model: str, question: str) -> str:
    """Return the text that a client of `stub --prose` receives."""
    response = Exchange(replace(QUICK, prose=True)).ask(
        model, stream=True, messages=[{"role": "user", "content": question}]
    )
    assert response is not None
    events = [json.loads(each) for each in response.events() if each != "[DONE]"]
    choices = (choice for event in events for choice in event["choices"])
    return "".join(choice["delta"].get("content") or "" for choice in choices)


class ProseTests(SynchronousTestCase):
    """The sentences, and the option that selects them."""

    def test_sentences(self) -> None:
        """Each question has an answer of its own, of whole sentences."""
        questions = (CHOOSING, FAILING, NAMING, BREAKING)
        texts = ["".join(piece.text for piece in answer("a/b", each)) for each in questions]
        self.assertEqual(len(set(texts)), len(questions))
        for text in texts:
            self.assertRegex(text, r"\A[A-Z].{60,}[.]\Z")

    def test_other_questions(self) -> None:
        """The answer to any other question names the model and does not pretend to be one."""
        text = _streamed("stub/ok", "Why?")
        self.assertTrue(text.startswith("Hello from stub/ok, or rather from its understudy"), text)
        self.assertIn("all 4 characters of it", text)

    def test_broken(self) -> None:
        """A stream that breaks has the beginning of the sentence."""
        whole = _streamed("stub/ok", BREAKING)
        half = _streamed("stub/drop-mid-stream", BREAKING)
        self.assertTrue(whole.startswith(half) and len(half.split()) == QUICK.tokens // 2, half)
