"""The stub's only resource, which routes every request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from stub_backend.attestation import Attestation
from stub_backend.auth import unauthorised
from stub_backend.call import DIALECTS, Call, read_body, stream_flag
from stub_backend.control import Control, control_path
from stub_backend.dialect import Dialect, compact
from stub_backend.e2e import PREFIX as E2E_PREFIX
from stub_backend.e2e import EndToEnd, SealedCall
from stub_backend.edge import Edge
from stub_backend.evidence import Evidence
from stub_backend.feeds import Feeds
from stub_backend.ledger import Entry, Ledger
from stub_backend.log import Log, Received
from stub_backend.messages import COUNT_TOKENS
from stub_backend.native import find_chute
from stub_backend.options import StubOptions
from stub_backend.player import Player
from stub_backend.population import Chute, Population
from stub_backend.prefix_cache import PrefixCache, blocks_of
from stub_backend.problem import Problem
from stub_backend.prompt import prompt_words
from stub_backend.scenario import HTML, JSON, TEXT_PLAIN, Scenario, body_head
from stub_backend.scenarios import SCENARIOS
from stub_backend.scripts import Scripts
from stub_backend.sealed.replies import sealed, unexpected_reply
from stub_backend.steps import End, Headers, Send, Steps

ACCOUNT_PATH = "/users/me"
FEED_PATHS = {"/v1/models": "models", "/chutes/utilization": "utilization"}


class Tree(Resource):
    """Routes and answers every request; a tree of resources would not suit so few paths."""

    isLeaf = True

    def __init__(
        self,
        clock: IReactorTime,
        options: StubOptions,
        population: Population,
        feeds: Feeds,
        evidence: Evidence,
        end_to_end: EndToEnd,
        attestation: Attestation,
        scripts: Scripts,
        log: Log,
        ledger: Ledger,
        prefixes: PrefixCache,
        edge: Edge,
        control: Control,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._options = options
        self._population = population
        self._feeds = feeds
        self._evidence = evidence
        self._end_to_end = end_to_end
        self._attestation = attestation
        self._scripts = scripts
        self._log = log
        self._ledger = ledger
        self._prefixes = prefixes
        self._edge = edge
        self._control = control

    def render(self, request: Request) -> int:
        """Select the response and start it."""
        path = request.path.decode("latin-1")
        body = _whole_body(request)
        method = request.method.decode("latin-1")
        if control_path(path):
            steps = self._control.answer(method, path, body)
            Player(request, steps, self._clock, _Watch()).start()
            return NOT_DONE_YET
        target = request.uri.decode("latin-1")
        record = self._log.note(
            self._clock.seconds(),
            method,
            target,
            _headers(request),
            body,
            reused=_reused(request),
        )
        watch = _LoggedWatch(self._log, record.number)
        page = None if path in FEED_PATHS else self._edge.admit(record)
        steps = self._answer(record, path, body, watch) if page is None else _refuse(page, record)
        Player(request, steps, self._clock, watch).start()
        return NOT_DONE_YET

    def _answer(self, record: Received, path: str, body: bytes, watch: _LoggedWatch) -> Steps:
        feed = FEED_PATHS.get(path)
        if record.method == "GET" and feed is not None:
            return self._feeds.answer(feed)
        evidence = self._evidence.answer(record.path) if record.method == "GET" else None
        if evidence is None and record.method == "GET":
            evidence = self._attestation.answer(record)
        if evidence is not None:
            return evidence
        if path.startswith(E2E_PREFIX):
            return self._encrypted(record, body, watch)
        if record.method == "GET" and path == ACCOUNT_PATH:
            return self._account(record)
        if record.method == "HEAD" and feed == "models":
            return _refuse(unauthorised(record) or Problem(400, "Invalid request JSON"), record)
        if record.method != "POST":
            return _refuse(Problem(404, "Not Found"), record)
        problem = unauthorised(record) if self._options.require_auth else None
        if problem is not None:
            return _refuse(problem, record)
        if path not in DIALECTS:
            return _refuse(Problem(404, "No matching cord found!"), record)
        return self._model_call(record, path, body, watch)

    def _encrypted(self, record: Received, body: bytes, watch: _LoggedWatch) -> Steps:
        answer = self._end_to_end.answer(record, body, self._clock.seconds())
        if isinstance(answer, Problem):
            return _refuse(answer, record)
        if isinstance(answer, SealedCall):
            return self._sealed_call(record, answer, watch)
        listed = compact(answer)
        return iter((body_head(200, JSON, len(listed), ()), Send(listed)))

    def _sealed_call(self, record: Received, call: SealedCall, watch: _LoggedWatch) -> Steps:
        self._log.amend(record.number, model=call.chute.name)
        self._log.opened[record.number] = call.body
        watch.sealed = True
        chute, inside = call.chute, call.scenario.engine
        scenario = self._scripts.next_for(chute) if inside is None else SCENARIOS[inside]
        answer = self._generated(
            record, chute, scenario, call.body, DIALECTS[call.path], call.instance_streams, watch
        )
        if call.gateway_streams and not call.instance_streams:
            return unexpected_reply(answer, call.response_key)
        return sealed(
            answer,
            call.response_key,
            watch.shown,
            call.scenario.pieces,
            call.scenario.hostile,
        )

    def _account(self, record: Received) -> Steps:
        """Return the key's account, by which the cheapest request shows whether a key is valid."""
        problem = unauthorised(record)
        if problem is not None:
            return _refuse(problem, record)
        body = compact({"username": "somebody", "balance": 1.5})
        return iter((body_head(200, JSON, len(body), ()), Send(body)))

    def _model_call(self, record: Received, path: str, body: bytes, watch: _LoggedWatch) -> Steps:
        asked = read_body(body)
        if isinstance(asked, Problem):
            return _refuse(asked, record)
        model = asked.get("model")
        self._log.amend(record.number, model=model if isinstance(model, str) else None)
        chute = find_chute(asked, self._population)
        if isinstance(chute, Problem):
            return _refuse(chute, record)
        stream = stream_flag(asked)
        if isinstance(stream, Problem):
            return _refuse(stream, record)
        if _tee_only(record) and not chute.tee:
            return _refuse(_not_tee(chute), record)
        scenario = self._scripts.next_for(chute)
        return self._generated(record, chute, scenario, asked, DIALECTS[path], stream, watch)

    def _generated(
        self,
        record: Received,
        chute: Chute,
        scenario: Scenario,
        asked: Mapping[str, Any],
        dialect: Dialect,
        stream: bool,
        watch: _LoggedWatch,
    ) -> Steps:
        """Return what a model's scenario answers."""
        self._log.amend(record.number, scenario=scenario.name, stream=stream)
        watch.entry = self._ledger.open(chute.name)
        cached = 0
        if self._prefixes.enabled and dialect is not COUNT_TOKENS:
            blocks = blocks_of(prompt_words(asked))
            cached = self._prefixes.cached_tokens(chute.name, blocks)
            watch.processed = partial(self._prefixes.keep, chute.name, blocks)
        call = Call(
            chute=chute,
            dialect=dialect,
            stream=stream,
            body=asked,
            body_sha256=record.body_sha256,
            headers=record.headers,
            number=record.number,
            options=self._options,
            engine=chute.engine or "sglang",
            reused=record.reused,
            cached_tokens=cached,
        )
        return scenario.answer(call)


class _Watch:
    """Watches a response of the control API, of which nothing is kept."""

    def headed(self, status: int) -> None:
        """Ignore the status."""

    def sent(self, data: bytes) -> None:
        """Ignore bytes of the body."""

    def ended(self, end: End) -> None:
        """Ignore the end."""


class _LoggedWatch(_Watch):
    """Watches a response for the log and, if a model gives it, for ledger and prefix cache."""

    def __init__(self, log: Log, number: int) -> None:
        self._log = log
        self._number = number
        self.entry: Entry | None = None
        self.processed: Callable[[], None] | None = None
        self.sealed = False

    def headed(self, status: int) -> None:
        """Log the status; only a successful model has processed the prompt."""
        self._log.amend(self._number, status=status)
        if status == 200 and self.processed is not None:
            self.processed()

    def sent(self, data: bytes) -> None:
        """Show the bytes to the ledger, which cannot read sealed ones."""
        if not self.sealed:
            self.shown(data)

    def shown(self, data: bytes) -> None:
        """Show plain bytes to the ledger."""
        if self.entry is not None:
            self.entry.sent(data)

    def ended(self, end: End) -> None:
        """Log the end, and count the call."""
        left = end is End.CANCELLED
        self._log.amend(self._number, ended=not left, aborted=left)
        if self.entry is not None:
            self.entry.close(end)


def _tee_only(record: Received) -> bool:
    return (record.header("x-tee-only") or "").lower() == "true"


def _not_tee(chute: Chute) -> Problem:
    return Problem(426, f"Chute {chute.chute_id} is not TEE-enabled, and X-TEE-Only was requested.")


def _refuse(problem: Problem, record: Received) -> Steps:
    if problem.page is not None:
        content_type, body = HTML, problem.page.encode()
    elif problem.detail is None:
        content_type, body = TEXT_PLAIN, b"Internal Server Error"
    else:
        content_type, body = JSON, compact({"detail": problem.detail})
    own = (("x-stub-body-sha256", record.body_sha256),)
    yield body_head(problem.status, content_type, len(body), own)
    yield Send(body)


def _reused(request: Request) -> bool:
    """Return whether the request's connection carried another one before."""
    channel: Any = request.channel
    reused: bool = getattr(channel, "carried", False)
    channel.carried = True
    return reused


def _whole_body(request: Request) -> bytes:
    content = cast("IO[bytes]", request.content)
    content.seek(0)
    return content.read()


def _headers(request: Request) -> Headers:
    """Return the request's headers; values of one name keep their order."""
    pairs = request.requestHeaders.getAllRawHeaders()
    return tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, values in pairs
        for value in values
    )
