"""The ``models`` member: what it may hold, and the selector that it makes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.request.models import join_models, read_models
from autopilot.routing.router_error import RouterError


class ReadModelsTests(SynchronousTestCase):
    """Reading the value."""

    def test_lists(self) -> None:
        """A list of strings is read as it is; null and an empty list are none."""
        for raw, expected in (
            (b'["a", "b,c" , ""]', ["a", "b,c", ""]),
            (b'["\\u0061"]', ["a"]),
            (b"null", []),
            (b"[ ]", []),
        ):
            self.assertEqual(list(read_models(raw)), expected, raw)  # type: ignore[arg-type]

    def test_anything_else(self) -> None:
        """Anything else is an error that names the member."""
        for raw in (
            *(b'"a"', b"1", b"true", b"{}", b'{"a":"b"}', b"[1]", b'["a",null]', b'[["a"]]'),
            *(b'["\\ud800"]', b"[" * 50_000 + b"]" * 50_000, b'"' + b"a" * 2_000_000 + b'"'),
        ):
            error = read_models(raw)
            assert isinstance(error, RouterError), raw[:20]
            self.assertEqual(
                (error.status, error.code, error.param, error.message),
                (400, "invalid_model_list", "models", "'models' must be a list of strings."),
            )

    def test_length(self) -> None:
        """A list of absurd length is refused unread, and one just below that is read."""
        self.assertEqual(len(read_models(b'["%b"]' % (b"a" * 131_068))), 1)  # type: ignore[arg-type]
        error = read_models(b'["%b"]' % (b"a" * 131_069))
        assert isinstance(error, RouterError)
        self.assertEqual((error.code, error.param), ("invalid_model", "model"))


class JoinModelsTests(SynchronousTestCase):
    """The selector of both members."""

    def test_joined(self) -> None:
        """``model`` comes first, and its suffix is that of the whole; the result is a list."""
        for model, models, expected in (
            ("a", ["b", "c"], "a,b,c"),
            (" a ", ["b"], "a,b"),
            ("a,b", ["c"], "a,b,c"),
            ("a:latency", ["b"], "a,b:latency"),
            ("a,b :Throughput ", ["c"], "a,b,c:throughput"),
            ("a", ["b:latency"], "a,b:latency"),
            ("", ["a", "b"], "a,b"),
            (" \t", ["a"], ",a"),
            ("", ["a:latency"], ",a:latency"),
            ("", ["a,b"], "a,b"),
            ("", [" "], ", "),
            (":latency", ["a"], ",a:latency"),
        ):
            self.assertEqual(join_models(model, models), expected)
