"""Tests of tracing: a span for each request, and one for each attempt."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, Span, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.observability.log_rate_limit import FailureLog
from autopilot.observability.tracing import Tracing, parent
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.pricing import Prices
from tests.unit.relay.routers import ALIAS, RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, STOP, TOKEN, Wire, chunk, head, whole

_TRACE = "0af7651916cd43dd8448eb211c80319c"
_SPAN = "b7ad6b7169203331"
_PARENT = f"00-{_TRACE}-{_SPAN}-01".encode()


def failures() -> FailureLog:
    """Return a failure log with a fixed clock."""
    return FailureLog(Logger(), Clock().seconds)


class SpanTestCase(RouterTestCase):
    """A router with tracing."""

    def setUp(self) -> None:
        """Keep the spans in memory."""
        self.spans = InMemorySpanExporter()
        self.tracer = Tracing(self._provider(), "1.2.3", lambda: {"a", "b", "c"}, failures())
        super().setUp()

    def _provider(self) -> TracerProvider:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        return provider

    def ended(self) -> tuple[ReadableSpan, list[ReadableSpan]]:
        """Return the span of the only finished request, and those of its attempts."""
        *attempts, request = self.spans.get_finished_spans()
        self.assertEqual(request.kind, SpanKind.SERVER)
        for each in attempts:
            self.assertEqual(each.kind, SpanKind.CLIENT)
            assert each.parent is not None
            self.assertEqual(each.parent.span_id, request.context.span_id)
        return request, attempts

    def sent_up(self) -> dict[str, list[str]]:
        """Return the fields of the last upstream request, by lower-case name."""
        found: dict[str, list[str]] = {}
        lines = self.wire.value().partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        for name, _, value in (line.partition(": ") for line in lines):
            found.setdefault(name.lower(), []).append(value)
        return found


class SpanTests(SpanTestCase):
    """The attributes of spans."""

    def test_stream(self) -> None:
        """A request that succeeds at once has two spans."""
        self.ask(ALIAS)
        self.streams()
        request, (attempt,) = self.ended()
        self.assertEqual((request.name, attempt.name), ("POST /v1/chat/completions", "chat a"))
        said = dict(request.attributes or {})
        self.assertEqual(said.pop("gen_ai.response.time_to_first_chunk"), 0.0)
        self.assertEqual(said.pop("autopilot.relayed_bytes"), len(TOKEN + STOP + DONE))
        self.assertEqual(
            said,
            {
                "autopilot.attempts": 1,
                "autopilot.candidates": 3,
                "autopilot.mode": "alias",
                "autopilot.outcome": "completed",
                "autopilot.request_id": "req-1",
                "autopilot.why": "best",
                "autopilot.affinity": "miss",
                "autopilot.affinity_why": "new",
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "chutes",
                "gen_ai.request.model": ALIAS,
                "gen_ai.response.model": "a",
                "http.request.method": "POST",
                "http.response.status_code": 200,
                "http.route": "/v1/chat/completions",
                "url.path": "/v1/chat/completions",
            },
        )
        self.assertEqual(
            dict(attempt.attributes or {}),
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "chutes",
                "gen_ai.request.model": "a",
                "http.response.status_code": 200,
                "server.address": "llm.test",
            },
        )
        self.assertEqual([event.name for event in attempt.events], ["first byte"])

    def test_usage(self) -> None:
        """The tokens that the upstream reported, by OpenTelemetry's names, and their cost."""
        usage = {
            "prompt_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens": 2,
            "reasoning_tokens": 1,
        }
        prices = Prices(Decimal(100), Decimal(300))
        model = Model("a", chute_id="a", tee=True, prices=prices)
        self.snapshot = dataclasses.replace(self.snapshot, catalog=Catalog.of([model]))
        self.ask("a", stream=False)
        self.wire.says(whole(200, json.dumps({"choices": [{}], "usage": usage}).encode()))
        request, _ = self.ended()
        said = dict(request.attributes or {})
        self.assertEqual(said["gen_ai.usage.input_tokens"], 9)
        self.assertEqual(said["gen_ai.usage.cache_read.input_tokens"], 4)
        self.assertEqual(said["gen_ai.usage.output_tokens"], 2)
        self.assertEqual(said["gen_ai.usage.reasoning.output_tokens"], 1)
        self.assertEqual(said["autopilot.cost_dollars"], 0.0015)
        self.assertEqual(request.status.status_code, StatusCode.UNSET)

    def test_failover(self) -> None:
        """Each attempt has a span; a failed attempt's has the reason, the request's no error."""
        self.ask(ALIAS)
        self.wire.says(whole(503, b"no", JSON, b"Connection: close"))
        self.streams()
        request, (first, second) = self.ended()
        self.assertEqual((first.name, second.name), ("chat a", "chat b"))
        assert first.attributes is not None
        self.assertEqual(first.attributes["error.type"], "status_503")
        self.assertEqual(first.attributes["http.response.status_code"], 503)
        self.assertEqual(first.status.status_code, StatusCode.ERROR)
        self.assertEqual(second.status.status_code, StatusCode.UNSET)
        self.assertEqual(request.status.status_code, StatusCode.UNSET)
        assert request.attributes is not None
        self.assertEqual(request.attributes["autopilot.failovers"], "status_503")

    def hedged(self) -> tuple[Wire, Wire]:
        """Race two attempts, each of which is its own upstream's parent."""
        self.hedging(0.5)
        self.ask("a,b,c")
        self.clock.advance(2.0)
        self.assertEqual(self.models, ["a", "b"])
        first, second = self.upstreams.wires
        return first, second

    def assert_race(self, first: ReadableSpan, second: ReadableSpan, dropped: str) -> None:
        """Each attempt has a span of its own time, and one is marked."""
        for each in (first, second):
            said = dict(each.attributes or {})
            self.assertEqual(said.get("autopilot.dropped"), True if each.name == dropped else None)
            self.assertEqual(each.status.status_code, StatusCode.UNSET)
        wires = self.upstreams.wires
        for span, wire in ((first, wires[0]), (second, wires[1])):
            self.assertIn(f"-{span.context.span_id:016x}-".encode(), wire.value())

    def test_hedge_won(self) -> None:
        """The second attempt's span begins with its call; the first's is marked as dropped."""
        _, second = self.hedged()
        second.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        request, (one, other) = self.ended()
        self.assertEqual((one.name, other.name), ("chat a", "chat b"))
        self.assert_race(one, other, "chat a")
        self.assertEqual([event.name for event in other.events], ["first byte"])
        self.assertEqual(request.status.status_code, StatusCode.UNSET)

    def test_hedge_lost(self) -> None:
        """The second attempt's span is marked, with the status that it had, or none."""
        first, second = self.hedged()
        second.says(whole(503, b"", JSON))
        first.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        _, (other, one) = self.ended()
        self.assertEqual((one.name, other.name), ("chat a", "chat b"))
        assert other.attributes is not None
        self.assertEqual(other.attributes["http.response.status_code"], 503)
        self.assert_race(one, other, "chat b")

    def test_hedge_after_a_failure(self) -> None:
        """Nothing is marked when the second goes on in the place of a first that has failed."""
        first, second = self.hedged()
        first.resets()
        second.says(head(), chunk(TOKEN + STOP + DONE), chunk(b""))
        _, (one, other) = self.ended()
        said = [dict(each.attributes or {}) for each in (one, other)]
        self.assertEqual([each.get("autopilot.dropped") for each in said], [None, None])
        self.assertEqual(said[0]["error.type"], "connection_lost")

    def test_hedge_left(self) -> None:
        """A client that leaves ends all three."""
        self.hedged()
        client = self.clients[0]
        client.leaves()
        client.exchange = None
        _, attempts = self.ended()
        self.assertEqual({each.name for each in attempts}, {"chat a", "chat b"})

    def test_all_failed(self) -> None:
        """A request without any response is an error."""
        self.ask("a,b")
        self.wire.closes()
        self.wire.closes()
        request, attempts = self.ended()
        self.assertEqual([each.status.status_code for each in attempts], [StatusCode.ERROR] * 2)
        self.assertEqual(request.status.status_code, StatusCode.ERROR)
        assert request.attributes is not None
        self.assertEqual(request.attributes["error.type"], "502")
        self.assertNotIn("gen_ai.response.model", request.attributes)

    def test_client_gone(self) -> None:
        """A disconnecting client is not an error."""
        for committed in (False, True):
            self.spans.clear()
            client = self.ask("a")
            if committed:
                self.wire.says(head(), chunk(TOKEN))
            client.leaves()
            request, (attempt,) = self.ended()
            assert request.attributes is not None
            self.assertEqual(request.attributes["autopilot.outcome"], "client_gone")
            statuses = {request.status.status_code, attempt.status.status_code}
            self.assertEqual(statuses, {StatusCode.UNSET})

    def test_broken(self) -> None:
        """A broken response is an error of its attempt and of the request."""
        self.ask("a")
        self.wire.says(head(), chunk(TOKEN))
        self.wire.resets()
        request, (attempt,) = self.ended()
        for each in (request, attempt):
            assert each.attributes is not None
            self.assertEqual(each.status.status_code, StatusCode.ERROR)
            self.assertEqual(each.attributes["error.type"], "upstream_broken")

    def test_refused(self) -> None:
        """A rejected request has no attempts, and is not an error."""
        self.ask("unheard-of")
        request, attempts = self.ended()
        self.assertEqual(attempts, [])
        assert request.attributes is not None
        self.assertEqual(request.attributes["http.response.status_code"], 400)
        self.assertEqual(request.status.status_code, StatusCode.UNSET)

    def test_names(self) -> None:
        """Names outside the catalog are not in span names, and attributes are limited in length."""
        self.tracer = Tracing(self._provider(), "1", lambda: (), failures())
        self.build()
        self.ask("a")
        self.streams()
        request, (attempt,) = self.ended()
        self.assertEqual(attempt.name, "chat")
        self.spans.clear()
        self.ask(",".join(["a"] * 500))
        self.streams()
        request = self.spans.get_finished_spans()[-1]
        assert request.attributes is not None
        self.assertEqual(len(str(request.attributes["gen_ai.request.model"])), 256)

    def test_nothing_said(self) -> None:
        """Spans contain no body, key or address (contract §10)."""
        self.ask("a", messages=[{"role": "user", "content": "a private matter"}])
        self.streams()
        told = "".join(each.to_json() for each in self.spans.get_finished_spans())
        for word in ("private", "secret", "192.0.2.1", "q=1", TOKEN.decode()[:20]):
            self.assertNotIn(word, told)

    def test_dialects(self) -> None:
        """An attempt's span has the upstream's host."""
        self.ask("a", dialect=Dialect.MESSAGES)
        self.wire.says(whole(200, b"{}"))
        _, (attempt,) = self.ended()
        assert attempt.attributes is not None
        self.assertEqual(attempt.attributes["server.address"], "claude.test")


class PropagationTests(SpanTestCase):
    """The parents of spans."""

    def test_parent(self) -> None:
        """The client's trace continues, and each attempt is the parent of the upstream's spans."""
        fields = ((b"TraceParent", _PARENT), (b"tracestate", b"vendor=1"), (b"X-Other", b"1"))
        self.ask(ALIAS, *fields)
        self.wire.says(whole(503, b"", JSON, b"Connection: close"))
        fields_of_second = self.sent_up()
        self.streams()
        request, (first, second) = self.ended()
        assert request.parent is not None
        self.assertEqual(f"{request.parent.span_id:016x}", _SPAN)
        self.assertEqual(f"{request.context.trace_id:032x}", _TRACE)
        expected = f"00-{_TRACE}-{second.context.span_id:016x}-01"
        self.assertEqual(fields_of_second["traceparent"], [expected])
        self.assertEqual(fields_of_second["tracestate"], ["vendor=1"])
        self.assertEqual(fields_of_second["x-other"], ["1"])
        self.assertNotEqual(first.context.span_id, second.context.span_id)

    def test_none(self) -> None:
        """Without a parent the router starts a trace."""
        self.ask("a")
        self.assertEqual(len(self.sent_up()["traceparent"]), 1)
        self.streams()
        request, _ = self.ended()
        self.assertIsNone(request.parent)

    def test_not_sampled(self) -> None:
        """The client's sampling decision applies, and is passed upstream."""
        self.ask("a", (b"traceparent", _PARENT[:-2] + b"00"))
        (told,) = self.sent_up()["traceparent"]
        self.assertTrue(told.startswith(f"00-{_TRACE}-"))
        self.assertTrue(told.endswith("-00"))
        self.streams()
        self.assertEqual(self.spans.get_finished_spans(), ())

    def test_off(self) -> None:
        """Without tracing the client's fields go upstream unchanged."""
        self.tracer = None
        self.build()
        self.ask("a", (b"traceparent", b"whatever"), (b"tracestate", b"this"))
        self.assertEqual(self.sent_up()["traceparent"], ["whatever"])
        self.assertEqual(self.sent_up()["tracestate"], ["this"])


class ParentTests(SynchronousTestCase):
    """The parsing of the client's trace context."""

    def read(self, *values: bytes, state: tuple[bytes, ...] = ()) -> str | None:
        """Return the parent's span context, if the fields are valid."""
        context = parent({b"traceparent": values, b"tracestate": state})
        found = get_current_span(context).get_span_context()
        return f"{found.span_id:016x}" if found.is_valid else None

    def test_valid(self) -> None:
        """Valid fields are accepted, also of later versions (W3C Trace Context)."""
        self.assertEqual(self.read(_PARENT), _SPAN)
        self.assertEqual(self.read(_PARENT, state=(b"a=1", b"b=2")), _SPAN)
        self.assertEqual(self.read(b"cc" + _PARENT[2:] + b"-later"), _SPAN)

    def test_invalid(self) -> None:
        """Invalid fields start a new trace."""
        for value in (
            b"",
            b"00",
            _PARENT.upper(),
            b"ff" + _PARENT[2:],
            _PARENT + b"-more",
            b"00-" + b"0" * 32 + _PARENT[35:],
            _PARENT.replace(_SPAN.encode(), b"0" * 16),
            b"\xff" * 55,
        ):
            self.assertIsNone(self.read(value), value)
        self.assertIsNone(self.read(_PARENT, _PARENT))
        self.assertIsNone(self.read())

    @given(st.lists(st.binary(max_size=80), max_size=3), st.lists(st.binary(max_size=600)))
    def test_anything(self, values: list[bytes], state: list[bytes]) -> None:
        """No field raises an exception."""
        self.read(*values, state=tuple(state))

    @given(st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
    def test_shapes(self, value: bytes) -> None:
        """Well-formed fields are valid, except the reserved values."""
        _version, trace, span, _flags = value.split(b"-")
        reserved = value[:2] == b"ff" or not int(trace, 16) or not int(span, 16)
        self.assertEqual(self.read(value), None if reserved else span.decode())


class BrokenTests(SpanTestCase):
    """Exceptions in tracing, which fail no request and are logged once."""

    def serves(self, target: object, name: str, *, calls: int) -> bool:
        """Serve a request, after a failover, while a method raises but for its first calls.

        Return whether it did.
        """
        self.tracer = Tracing(self._provider(), "1", lambda: {"a", "b", "c"}, failures())
        self.build()
        real = getattr(target, name)
        left = calls

        def broken(*given: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise ZeroDivisionError
            return real(*given, **named)

        with patch.object(target, name, broken):
            self.ask(ALIAS, (b"traceparent", _PARENT))
            self.wire.says(whole(503, b"", JSON, b"Connection: close"))
            self.assertEqual(len(self.sent_up()["traceparent"]), 1)
            self.streams()
        self.assertEqual((self.records[-1].outcome, self.records[-1].attempts), ("completed", 2))
        raised = left < 0
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), int(raised))
        return raised

    def test_every_call(self) -> None:
        """Each method may raise, at any call."""
        calls_of = ("add_event", "end", "set_attribute", "set_attributes", "set_status")
        for target, name in (
            *((Span, each) for each in calls_of),
            (Tracer, "start_span"),
            (TraceContextTextMapPropagator, "inject"),
            (TraceContextTextMapPropagator, "extract"),
        ):
            self.assertTrue(self.serves(target, name, calls=0), name)
            for calls in (1, 2):
                self.serves(target, name, calls=calls)

    def test_fields_as_they_came(self) -> None:
        """A request whose trace was ended goes upstream with the client's own fields."""
        with patch.object(Tracer, "start_span", side_effect=ZeroDivisionError):
            self.ask("a", (b"traceparent", _PARENT))
        self.assertEqual(self.sent_up()["traceparent"], [_PARENT.decode()])
        self.streams()
        self.assertEqual(self.spans.get_finished_spans(), ())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_catalog(self) -> None:
        """Reading the catalog's names is protected, too."""
        known: dict[str, frozenset[str]] = {}
        self.tracer = Tracing(self._provider(), "1", lambda: known["gone"], failures())
        self.build()
        self.ask("a")
        self.streams()
        self.assertEqual(self.records[-1].outcome, "completed")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
