"""Spans of requests and attempts, by OpenTelemetry's conventions for HTTP and generative AI.

OpenTelemetry is installed by the extra ``otel`` only, so this module is imported only when traces
are enabled. Like a record, a span contains no body, key or address (contract §10).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from autopilot.observability.records import BROKEN, OWN_ERRORS, Outcome, reasons
from autopilot.routing.usage import PICODOLLARS, Usage

if TYPE_CHECKING:
    from autopilot.observability.log_rate_limit import FailureLog
    from autopilot.observability.records import RequestRecord

_P = ParamSpec("_P")
_R = TypeVar("_R")

_Fields = Sequence[tuple[bytes, bytes]]
_PARENT, _STATE = b"traceparent", b"tracestate"
_PROVIDER: Final = "chutes"
_OPERATIONS: Final = {b"/v1/completions": "text_completion"}
_MAX_MODEL_NAME: Final = 256
_DROPPED: Final = "autopilot.dropped"

_propagator = TraceContextTextMapPropagator()


class Tracing:
    """Starts the traces of requests.

    ``known`` returns the models of the catalog. Only their names appear in span names, which must
    have low cardinality.
    """

    def __init__(
        self,
        provider: TracerProvider,
        version: str,
        known: Callable[[], Container[str]],
        failures: FailureLog,
    ) -> None:
        self._tracer = provider.get_tracer("chutes-autopilot", version)
        self._known = known
        self._failures = failures

    def __call__(
        self, path: bytes, named: Mapping[bytes, Sequence[bytes]], asked: str | None, host: str
    ) -> RequestTrace:
        """Start the span of a request, as a child of the client's span if it sent a valid one."""
        try:
            spans = self._begin(path, named, asked, host)
        except Exception:  # noqa: BLE001  an application's provider may raise anything
            spans = None
            self.failed()
        return RequestTrace(self, spans)

    def _begin(
        self, path: bytes, named: Mapping[bytes, Sequence[bytes]], asked: str | None, host: str
    ) -> _Spans:
        target = path.decode("latin-1")
        common: dict[str, str] = {
            "gen_ai.operation.name": _OPERATIONS.get(path, "chat"),
            "gen_ai.provider.name": _PROVIDER,
        }
        span = self._tracer.start_span(
            f"POST {target}",
            context=parent(named),
            kind=SpanKind.SERVER,
            attributes={
                **common,
                "http.request.method": "POST",
                "http.route": target,
                "url.path": target,
                **({} if asked is None else {"gen_ai.request.model": asked[:_MAX_MODEL_NAME]}),
            },
        )
        return _Spans(self, span, common | {"server.address": host})

    def failed(self) -> None:
        """Log the exception being handled; the caller then ends that request's trace."""
        self._failures.report("Tracing failed; the request goes on without it")

    def attempt(self, model: str, within: Span, common: Mapping[str, str]) -> Span:
        """Start the span of an attempt."""
        operation = common["gen_ai.operation.name"]
        return self._tracer.start_span(
            f"{operation} {model}" if model in self._known() else operation,
            context=set_span_in_context(within, Context()),
            kind=SpanKind.CLIENT,
            attributes={**common, "gen_ai.request.model": model[:_MAX_MODEL_NAME]},
        )


class RequestTrace:
    """Traces one request, by the protocol of ``autopilot.relay.trace``, without ever raising.

    An exception of the application's tracer provider is logged, and ends the trace.
    """

    def __init__(self, tracing: Tracing, spans: _Spans | None) -> None:
        self._tracing = tracing
        self._spans = spans

    def attempting(self, model: str) -> None:
        """Start the span of an attempt with ``model``, ending that of the attempt before."""
        self._do(_Spans.attempting, model)

    def inject(self, fields: _Fields) -> _Fields:
        """Return the fields with a ``traceparent`` that makes the attempt the upstream's parent."""
        injected = self._do(_Spans.inject, fields)
        return fields if injected is None else injected

    def hedging(self, model: str) -> None:
        """Start the span of a second attempt beside the current one."""
        self._do(_Spans.hedging, model)

    def inject_beside(self, fields: _Fields) -> _Fields:
        """As `inject`, with the second attempt as the upstream's parent."""
        injected = self._do(_Spans.inject_beside, fields)
        return fields if injected is None else injected

    def overtaken(self) -> None:
        """Mark the attempt's span as dropped, and go on with that of the second one."""
        self._do(_Spans.overtaken)

    def hedge_lost(self, status: int | None) -> None:
        """Mark the second attempt's span as dropped, and end it."""
        self._do(_Spans.hedge_lost, status)

    def failed(self, reason: str, status: int | None) -> None:
        """Mark the attempt's span as failed, and end it."""
        self._do(_Spans.failed, reason, status)

    def committed(self, status: int) -> None:
        """Record that the first byte of the response goes to the client."""
        self._do(_Spans.committed, status)

    def over(self, record: RequestRecord) -> None:
        """Set the facts of the finished request's record, and end all its spans."""
        self._do(_Spans.over, record)

    def _do(
        self, step: Callable[Concatenate[_Spans, _P], _R], *given: _P.args, **named: _P.kwargs
    ) -> _R | None:
        if self._spans is None:
            return None
        try:
            return step(self._spans, *given, **named)
        except Exception:  # noqa: BLE001  an application's provider may raise anything
            self._spans = None
            self._tracing.failed()
            return None


class _Spans:
    """The spans of one request and of its attempts."""

    def __init__(self, tracing: Tracing, span: Span, common: Mapping[str, str]) -> None:
        self._tracing = tracing
        self._span = span
        self._common = common
        self._attempt: Span | None = None
        self._last: Span | None = None
        self._beside: Span | None = None

    def attempting(self, model: str) -> None:
        self._end_attempt()
        self._last = self._attempt = self._tracing.attempt(model, self._span, self._common)

    def inject(self, fields: _Fields) -> _Fields:
        return _injected(fields, self._last or self._span)

    def hedging(self, model: str) -> None:
        self._beside = self._tracing.attempt(model, self._span, self._common)

    def inject_beside(self, fields: _Fields) -> _Fields:
        return _injected(fields, self._beside or self._span)

    def overtaken(self) -> None:
        if self._attempt is not None:
            self._attempt.set_attribute(_DROPPED, True)
            self._end_attempt()
        self._last = self._attempt = self._beside
        self._beside = None

    def hedge_lost(self, status: int | None) -> None:
        beside, self._beside = self._beside, None
        if beside is not None:
            beside.set_attribute(_DROPPED, True)
            if status is not None:
                beside.set_attribute("http.response.status_code", status)
            beside.end()

    def failed(self, reason: str, status: int | None) -> None:
        if self._attempt is not None:
            self._attempt.set_attribute("error.type", reason)
            self._attempt.set_status(Status(StatusCode.ERROR))
            if status is not None:
                self._attempt.set_attribute("http.response.status_code", status)
            self._end_attempt()

    def committed(self, status: int) -> None:
        self._span.add_event("first byte")
        if self._attempt is not None:
            self._attempt.add_event("first byte")
            self._attempt.set_attribute("http.response.status_code", status)

    def over(self, record: RequestRecord) -> None:
        error_type = _error_type(record)
        for span in (self._attempt, self._span):
            if span is not None and error_type is not None:
                span.set_attribute("error.type", error_type)
                span.set_status(Status(StatusCode.ERROR))
        self._end_attempt()
        self.hedge_lost(None)
        self._span.set_attributes(_attributes(record))
        self._span.end()

    def _end_attempt(self) -> None:
        if self._attempt is not None:
            self._attempt.end()
            self._attempt = None


def _injected(fields: _Fields, within: Span) -> _Fields:
    """Return the fields with a span as the parent of the upstream's."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, set_span_in_context(within, Context()))
    kept = [field for field in fields if field[0].lower() not in (_PARENT, _STATE)]
    own = ((name.encode("ascii"), value.encode("latin-1")) for name, value in carrier.items())
    return [*kept, *own]


def parent(named: Mapping[bytes, Sequence[bytes]]) -> Context:
    """Return the context given by ``traceparent`` and ``tracestate``, empty if they are invalid.

    Several ``traceparent`` fields are invalid, while several ``tracestate`` fields form one list
    (W3C Trace Context §3.2.1, §3.3.1).
    """
    given = named.get(_PARENT, ())
    if len(given) != 1:
        return Context()
    carrier = {
        "traceparent": given[0].decode("latin-1"),
        "tracestate": b",".join(named.get(_STATE, ())).decode("latin-1"),
    }
    return _propagator.extract(carrier, Context())


def _error_type(record: RequestRecord) -> str | None:
    """Return the ``error.type`` of a request, or None.

    A 5xx or a broken response is an error; a client that disconnects is not. An outcome says more
    than the status only where the status was sent before the failure.
    """
    if record.outcome in BROKEN:
        return str(record.outcome)
    status = record.status
    if status is not None and status >= 500:
        return str(status)
    return str(record.outcome) if record.outcome is Outcome.FAILED else None


def _attributes(record: RequestRecord) -> dict[str, str | int | float | bool]:
    usage, cost = record.usage or Usage(), record.cost_picodollars
    known: dict[str, str | int | float | bool | None] = {
        "http.response.status_code": record.status,
        "gen_ai.response.model": None if record.outcome in OWN_ERRORS else record.model,
        "gen_ai.response.time_to_first_chunk": None
        if record.ttfb_ms is None
        else record.ttfb_ms / 1000.0,
        "gen_ai.usage.input_tokens": usage.prompt,
        "gen_ai.usage.cache_read.input_tokens": usage.cached,
        "gen_ai.usage.output_tokens": usage.completion,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
        "autopilot.cost_dollars": None if cost is None else cost / PICODOLLARS,
        "autopilot.attempts": record.attempts,
        "autopilot.candidates": record.candidates,
        "autopilot.failovers": reasons(record) or None,
        "autopilot.mode": record.mode,
        "autopilot.outcome": str(record.outcome),
        "autopilot.relayed_bytes": record.bytes,
        "autopilot.request_id": record.req_id,
        "autopilot.why": None if record.why is None else str(record.why),
        "autopilot.affinity": None if record.affinity is None else str(record.affinity),
        "autopilot.affinity_why": None if record.affinity_why is None else str(record.affinity_why),
    }
    return {name: value for name, value in known.items() if value is not None}
