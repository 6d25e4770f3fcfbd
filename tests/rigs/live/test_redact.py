"""Redaction: allowed parts of a response are kept, everything else is hidden."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.live.redact import HARMLESS, Redactor
from tests.rigs.live.skeleton import skeleton_of


class RedactorTests(SynchronousTestCase):
    """Texts, names and headers."""

    def setUp(self) -> None:
        """Create a redactor that knows one model."""
        self.hidden: list[str] = []
        self.redactor = Redactor(self.hidden.append, ["acme/Model-9-TEE", "acme/Model-9"])

    def test_texts(self) -> None:
        """The platform's sentences remain readable without ids, amounts and addresses."""
        for text, told in (
            ("Authentication required.", "Authentication required."),
            ("Infrastructure is at maximum capacity, try again later",) * 2,
            ("model not found: acme/Model-9-TEE", "model not found: {model}"),
            ("Chute 11111111-2222-5333-8444-555555555555 is not TEE-enabled",
             "Chute <hidden> is not TEE-enabled"),
            ("account balance is $0.0, send tao to 5FabcDefgH1jk",
             "account balance is $<hidden>, send tao to <hidden>"),
            ("No instances available (yet) for chute_id='ab12cd34'",
             "No instances available (yet) for chute_id='<hidden>'"),
            ("user bob@mail.example from 203.0.113.9", "user <hidden> from <hidden>"),
            ("got deadbeef and QWxhZGRpbjpvcGVu", "got <hidden> and <hidden>"),
            ("a\x1b[31mred\x00", "<hidden>[<hidden>"),
        ):  # fmt: skip
            self.assertEqual(self.redactor.text(text), told)
        self.assertIn("11111111-2222-5333-8444-555555555555", self.hidden)
        self.assertNotIn("acme/Model-9-TEE", self.hidden)

    def test_length(self) -> None:
        """A long sentence is truncated."""
        self.assertEqual(len(self.redactor.text("word " * 1000)), 301)

    def test_names(self) -> None:
        """Names made of words, and spans, are kept; others are hidden and noted."""
        for name in ("x-chutes-rl-user", "completed_requests_15m", "prompt_sha256",
                     "utilization_1h", "retry-after", "e2e_pubkey"):  # fmt: skip
            self.assertEqual(self.redactor.name(name), name)
        self.assertEqual(self.hidden, [])
        for name in ("0acc0127" * 4, "11111111-2222-5333-8444-555555555555", "a" * 61, "bob@x.y",
                     "QWxhZGRpbjpvcGVu", "deadbeef"):  # fmt: skip
            self.assertEqual(self.redactor.name(name), "<hidden>")
        self.assertEqual(len(self.hidden), 6)

    def test_headers(self) -> None:
        """Only harmless headers keep a value, and only a harmless one."""
        for name, value, told in (
            ("Content-Type", "text/html; charset=utf-8", "text/html; charset=utf-8"),
            ("Via", "1.1 google", "1.1 google"),
            ("Retry-After", "30", "30"),
            ("Via", "1.1 10.0.0.1", "<redacted text, 12 characters>"),
            ("Server", "0acc01270acc0127", "<redacted hexadecimal, 16 characters>"),
            ("X-Chutes-Quota-Used", "17", "<redacted number, 2 characters>"),
            ("X-Chutes-InvocationID", "11111111-2222-5333-8444-555555555555",
             "<redacted UUID, 36 characters>"),
        ):  # fmt: skip
            self.assertEqual(self.redactor.header(name, value), told)
        self.assertIn("11111111-2222-5333-8444-555555555555", self.hidden)
        self.assertNotIn("set-cookie", HARMLESS)
        self.assertNotIn("authorization", HARMLESS)

    def test_skeletons(self) -> None:
        """Strings are kept under a few names only, and redacted."""
        value = {"id": "cmpl-1", "object": "chat.completion", "usage": {"n": 1}, "x": ["y1" * 9]}
        told = {path: str(facts) for path, facts in skeleton_of([value], self.redactor).items()}
        self.assertEqual(told["$.id"], "string of 6..6")
        self.assertEqual(told["$.object"], "string of 15..15: “chat.completion”")
        self.assertEqual(told["$.x[]"], "string of 18..18")
        self.assertEqual(told["$.x"], "array of 1..1")
        self.assertIn("y1" * 9, self.hidden)

    def test_deep_and_wide(self) -> None:
        """The skeleton of a huge response is limited."""
        deep: object = "end"
        for _ in range(200):
            deep = {"deeper": [deep]}
        wide = {f"name{chr(97 + n % 26)}{chr(97 + n // 26)}": n for n in range(2000)}
        self.assertLess(len(skeleton_of([deep], self.redactor)), 40)
        self.assertLessEqual(len(skeleton_of([wide], self.redactor)), 401)
