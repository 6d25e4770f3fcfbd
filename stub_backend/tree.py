"""The stub's only resource, which routes every request."""

from __future__ import annotations

from typing import IO, Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from stub_backend.auth import unauthorised
from stub_backend.call import DIALECTS, Call, read_body, stream_flag
from stub_backend.control import Control, control_path
from stub_backend.dialect import compact
from stub_backend.e2e import PREFIX as E2E_PREFIX
from stub_backend.e2e import EndToEnd
from stub_backend.evidence import Evidence
from stub_backend.feeds import Feeds
from stub_backend.log import Log, Received
from stub_backend.native import find_chute
from stub_backend.options import StubOptions
from stub_backend.player import Player
from stub_backend.population import Chute, Population
from stub_backend.problem import Problem
from stub_backend.scenario import JSON, TEXT_PLAIN, body_head
from stub_backend.scripts import Scripts
from stub_backend.steps import Headers, Send, Steps

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
        scripts: Scripts,
        log: Log,
        control: Control,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._options = options
        self._population = population
        self._feeds = feeds
        self._evidence = evidence
        self._end_to_end = EndToEnd(population)
        self._scripts = scripts
        self._log = log
        self._control = control

    def render(self, request: Request) -> int:
        """Select the response and start it."""
        path = request.path.decode("latin-1")
        body = _whole_body(request)
        method = request.method.decode("latin-1")
        if control_path(path):
            self._play(request, self._control.answer(method, path, body), None)
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
        self._play(request, self._answer(record, path, body), record.number)
        return NOT_DONE_YET

    def _play(self, request: Request, steps: Steps, number: int | None) -> None:
        def on_head(status: int) -> None:
            if number is not None:
                self._log.amend(number, status=status)

        def on_end(aborted: bool) -> None:
            if number is not None:
                self._log.amend(number, ended=not aborted, aborted=aborted)

        Player(request, steps, self._clock, on_head, on_end).start()

    def _answer(self, record: Received, path: str, body: bytes) -> Steps:
        feed = FEED_PATHS.get(path)
        if record.method == "GET" and feed is not None:
            return self._feeds.answer(feed)
        evidence = self._evidence.answer(record.path) if record.method == "GET" else None
        if evidence is not None:
            return evidence
        if path.startswith(E2E_PREFIX):
            return self._encrypted(record)
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
        return self._model_call(record, path, body)

    def _encrypted(self, record: Received) -> Steps:
        answer = self._end_to_end.answer(record, self._clock.seconds())
        if isinstance(answer, Problem):
            return _refuse(answer, record)
        body = compact(answer)
        return iter((body_head(200, JSON, len(body), ()), Send(body)))

    def _account(self, record: Received) -> Steps:
        """Return the key's account, by which the cheapest request shows whether a key is valid."""
        problem = unauthorised(record)
        if problem is not None:
            return _refuse(problem, record)
        body = compact({"username": "somebody", "balance": 1.5})
        return iter((body_head(200, JSON, len(body), ()), Send(body)))

    def _model_call(self, record: Received, path: str, body: bytes) -> Steps:
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
        self._log.amend(record.number, scenario=scenario.name, stream=stream)
        call = Call(
            chute=chute,
            dialect=DIALECTS[path],
            stream=stream,
            body=asked,
            body_sha256=record.body_sha256,
            headers=record.headers,
            number=record.number,
            options=self._options,
            engine=chute.engine or "sglang",
            reused=record.reused,
        )
        return scenario.answer(call)


def _tee_only(record: Received) -> bool:
    return (record.header("x-tee-only") or "").lower() == "true"


def _not_tee(chute: Chute) -> Problem:
    return Problem(426, f"Chute {chute.chute_id} is not TEE-enabled, and X-TEE-Only was requested.")


def _refuse(problem: Problem, record: Received) -> Steps:
    if problem.detail is None:
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
