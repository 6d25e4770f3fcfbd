"""The judge detects each fault of an answer."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.conduct.judge import Verdict, judge, read, worst
from tests.conduct.seen import Client, Seen, seen

TEXTS = {"one": ["I", " say", " this"], "two": ["We", " say", " that"]}
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"code":"upstream_stream_interrupted"}}\n\n'
FINISH = {"choices": [{"delta": {}, "finish_reason": "stop"}], "model": "one"}


def event(value: dict[str, Any]) -> bytes:
    """Return an event of a stream."""
    return b"data: %b\n\n" % json.dumps(value).encode()


def words(model: str, *some: str) -> bytes:
    """Return the events of some words of a model."""
    return b"".join(
        event({"model": model, "choices": [{"delta": {"content": word}}]}) for word in some
    )


WHOLE = words("one", *TEXTS["one"]) + event(FINISH) + DONE


def response(body: bytes, *, ended: bool = True, status: int = 200, kind: str = "") -> Seen:
    """Return a response as sent on the wire."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind or 'text/event-stream'}\r\n"
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    end = b"0\r\n\r\n" if ended else b""
    return seen(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + end, 1.0)


class JudgeTests(SynchronousTestCase):
    """A verdict on each kind of answer."""

    def verdict(self, body: bytes, *, ended: bool = True, **rules: Any) -> Verdict:
        """Judge a stream."""
        return judge(read(response(body, ended=ended)), TEXTS, **rules)

    def test_whole(self) -> None:
        """All words of one model, with its finish reason and an end that clients accept."""
        self.assertIs(self.verdict(WHOLE), Verdict.PASS)
        self.assertIs(self.verdict(WHOLE.removesuffix(DONE)), Verdict.PASS)
        self.assertIs(self.verdict(WHOLE, ended=False), Verdict.PASS)
        self.assertIs(self.verdict(WHOLE + ERROR, ended=False), Verdict.PASS)
        self.assertIs(self.verdict(WHOLE.replace(b"\n", b"\r\n")), Verdict.PASS)

    def test_against_the_rule(self) -> None:
        """A complete answer that came too late, or from the wrong model."""
        self.assertIs(self.verdict(WHOLE, by_the_rule=False), Verdict.PARTIAL)
        self.assertIs(self.verdict(WHOLE, status=400), Verdict.PARTIAL)

    def test_told(self) -> None:
        """A partial answer that its client can recognize."""
        half = words("one", "I")
        self.assertIs(self.verdict(half, ended=False), Verdict.SAFE)
        self.assertIs(self.verdict(half + ERROR, ended=False), Verdict.SAFE)
        self.assertIs(self.verdict(half + ERROR), Verdict.SAFE)
        self.assertIs(self.verdict(half + ERROR + DONE), Verdict.SAFE)
        self.assertIs(self.verdict(half + words("two", "We"), ended=False), Verdict.SAFE)
        self.assertIs(self.verdict(WHOLE.removesuffix(DONE), ended=False), Verdict.SAFE)
        self.assertIs(self.verdict(b"", ended=False), Verdict.SAFE)

    def test_truncated(self) -> None:
        """A partial answer that looks complete."""
        half = words("one", "I", " say")
        for body in (half, half + DONE, half + event(FINISH), half + event(FINISH) + DONE):
            self.assertIs(self.verdict(body), Verdict.FAIL)
            self.assertIs(self.verdict(body, by_the_rule=False, lost=1), Verdict.FAIL)
        self.assertIs(self.verdict(half + DONE, ended=False), Verdict.FAIL)
        self.assertIs(self.verdict(WHOLE.replace(event(FINISH), b"")), Verdict.FAIL)

    def test_mixed(self) -> None:
        """The words of two models, or those of one under the other's name."""
        mixed = words("one", "I", " say") + words("two", " that") + event(FINISH) + DONE
        self.assertIs(self.verdict(mixed), Verdict.FAIL)
        wrong = words("one", *TEXTS["two"]) + event(FINISH) + DONE
        self.assertIs(self.verdict(wrong), Verdict.FAIL)
        twice = words("one", *TEXTS["one"], "I") + event(FINISH) + DONE
        self.assertIs(self.verdict(twice), Verdict.FAIL)
        unknown = words("three", "I") + event(FINISH | {"model": "three"}) + DONE
        self.assertIs(self.verdict(unknown), Verdict.FAIL)

    def test_nothing(self) -> None:
        """No response, and one without a word."""
        self.assertIs(judge(read(None), TEXTS), Verdict.FAIL)
        self.assertIs(self.verdict(b""), Verdict.FAIL)
        self.assertIs(self.verdict(DONE), Verdict.FAIL)

    def test_broken_event(self) -> None:
        """A word may be missing only if an event is broken."""
        broken = words("one", "I") + b'data: {"cho\n\n' + words("one", " this")
        body = broken + event(FINISH) + DONE
        self.assertIs(self.verdict(body, lost=1), Verdict.PASS)
        self.assertIs(self.verdict(body), Verdict.FAIL)
        unmarked = words("one", "I", " this") + event(FINISH) + DONE
        self.assertIs(self.verdict(unmarked, lost=1), Verdict.FAIL)
        turned = body.replace(b'"I"', b'"that"')
        self.assertIs(self.verdict(turned, lost=1), Verdict.FAIL)

    def test_statuses(self) -> None:
        """An error is visible; an expected one passes if the rule holds."""
        error = b'{"error":{"message":"no"}}'
        answer = read(response(error, status=400, kind="application/json"))
        self.assertIs(judge(answer, TEXTS), Verdict.SAFE)
        self.assertIs(judge(answer, TEXTS, status=400), Verdict.PASS)
        self.assertIs(judge(answer, TEXTS, status=429), Verdict.SAFE)
        self.assertIs(judge(answer, TEXTS, status=400, by_the_rule=False), Verdict.SAFE)
        cut = read(response(error, status=400, kind="application/json", ended=False))
        self.assertIs(judge(cut, TEXTS, status=400), Verdict.SAFE)

    def test_error_under_the_status_of_an_answer(self) -> None:
        """JSON in place of a stream: a client that expects events receives none."""
        plain = response(b'{"error":{"message":"no"}}', kind="application/json")
        self.assertIs(judge(read(plain), TEXTS), Verdict.FAIL)

    def test_worst(self) -> None:
        """The worst of several verdicts is the furthest from a pass."""
        self.assertIs(worst([Verdict.PASS, Verdict.SAFE, Verdict.PARTIAL]), Verdict.SAFE)
        self.assertIs(worst(list(Verdict)), Verdict.FAIL)
        self.assertIs(worst([Verdict.PASS]), Verdict.PASS)


class ClientTests(SynchronousTestCase):
    """The time of the first word."""

    def test_first_word(self) -> None:
        """The first word is the first content that is not empty."""
        times = iter([1.0, 2.0])
        client = Client(lambda: next(times))
        client.dataReceived(b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n')
        self.assertIsNone(client.first_word)
        client.dataReceived(words("one", "I").replace(b": ", b":"))
        client.dataReceived(words("one", "I").replace(b": ", b":"))
        self.assertEqual(client.first_word, 1.0)
