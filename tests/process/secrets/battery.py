"""Everything that can happen to a router: feeds, calls, refusals, bugs, the exit."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from functools import partial

from autopilot.http.fetch_error import JSON, NETWORK, OK, SHAPE, STATUS, TIMEOUT
from stub_backend.scenarios import SCENARIOS
from tests.process.secrets import mistakes
from tests.process.secrets.client import Client, read_until
from tests.process.secrets.requests import ALIAS, Asking
from tests.process.secrets.stage import MAX_ACTIVE, Stage, reset
from tests.process.secrets.telltale import MARK
from tests.rigs.smoke.waiting import until

PAGES = (b"/healthz", b"/readyz", b"/metrics", b"/status", b"/status.json", b"/v1/models")
_CLOSE = b"Connection: close"
_FEEDS = {
    "500": (STATUS, STATUS),
    "hang": (TIMEOUT, TIMEOUT),
    "garbage": (JSON, JSON),
    "empty": (OK, SHAPE),
}
"""The modes of both feeds, with their outcomes for catalog and utilization."""
_REFUSED = "refused: "
_SLOW = "refused: request_timeout"


class Battery:
    """Runs everything on one stage, or only the quick parts."""

    def __init__(self, stage: Stage, *, brief: bool) -> None:
        self._stage = stage
        self._asking = Asking(stage.secrets)
        self._client = Client(stage)
        self._brief = brief

    def run(self) -> None:
        """Run all parts, from before the start to after the exit."""
        self._begin()
        self._pages()
        self._call()
        self._mistakes()
        if not self._brief:
            self._leave()
            self._overload()
        self._pages()
        self._end()

    def run_without_feeds(self) -> None:
        """Run a router that cannot reach its feeds."""
        self._stage.start()
        self._await_feeds(NETWORK, TIMEOUT)
        self._client.send("alias", self._asking.chat(ALIAS, _CLOSE))
        self._pages()

    def _metrics(self) -> str:
        """Return the router's metrics."""
        return self._client.send("metrics", self._asking.get(b"/metrics")).body.decode()

    def _has_counted(self, what: str) -> bool:
        return what in self._metrics()

    def _await_feeds(self, *outcomes: str) -> None:
        """Wait until catalog and utilization have these outcomes."""
        for feed, outcome in zip(("catalog", "utilization"), outcomes, strict=True):
            counted = f'feed_refresh_total{{feed="{feed}",outcome="{outcome}"}}'
            until(f"outcome {outcome} of {feed}", partial(self._has_counted, counted))

    def _idle(self) -> None:
        until("no request is under way", partial(self._has_counted, "requests_active 0.0"))

    # -- the parts

    def _begin(self) -> None:
        """Let the feeds fail in every way, with requests meanwhile."""
        stage, asking, send = self._stage, self._asking, self._client.send
        stage.stub.feeds(models="500", utilization="500")
        stage.start()
        for mode, outcomes in () if self._brief else _FEEDS.items():
            stage.stub.feeds(models=mode, utilization=mode)
            self._await_feeds(*outcomes)
        answer = send("refused: no_candidates", asking.chat(ALIAS, _CLOSE))
        assert answer.error[2] == "no_candidates", answer
        self._pages()
        stage.stub.feeds(models="ok", utilization="ok")
        ready = asking.get(b"/readyz")
        until("it is ready", lambda: send("readyz", ready).status == 200)

    def _pages(self) -> None:
        for path in PAGES:
            self._client.send(f"page {path.decode()}", self._asking.get(path))

    def _call(self) -> None:
        """Run all calls and all refusals concurrently."""
        # The page is a second old at most, so it may be older than the feeds.
        status = self._asking.get(b"/status.json")
        ranking = until(
            "it is listed", lambda: self._client.send("", status).json["ranking"] or None
        )
        best = ranking[0]["name"]
        self._stage.stub.script(best, ["404-model", "400-context"])
        wires = [*self._good(), *self._unreachable(), *self._bad()]
        answers = self._client.send_all(wires)
        for (cause, wire), answer in zip(wires, answers, strict=True):
            if cause.startswith(_REFUSED):
                code = cause.removeprefix(_REFUSED).encode()
                assert b'"%b"' % code in answer.body, (wire, answer)

    def _good(self) -> Iterator[tuple[str, bytes]]:
        """Run each scenario as the model of a unary call, and as the first of a streamed list."""
        chat = self._asking.chat
        yield "alias", chat(ALIAS, _CLOSE)
        yield "silent list", chat("stub/hang-head,stub/ok", _CLOSE, stream=False)
        for model in (ALIAS, "stub/drop-mid-stream,stub/ok", "stub/empty-stream,stub/ok"):
            for named_by, wire in self._asking.conversations(model, _CLOSE):
                yield f"conversation by {named_by}", wire
        for name in SCENARIOS:
            model = f"stub/{name}"
            yield f"plain {name}", chat(model, _CLOSE, stream=False)
            yield f"stream {name}", chat(f"{model},stub/ok", _CLOSE)
            if not self._brief:
                complete = b"X-Autopilot-Commit: complete"
                yield f"complete {name}", chat(f"{model},stub/ok", _CLOSE, complete)
                yield f"complete {name} alone", chat(model, _CLOSE, complete)

    def _unreachable(self) -> Iterator[tuple[str, bytes]]:
        """Call the two servers to which no connection can be opened."""
        for path in (b"/v1/messages", b"/v1/responses"):
            wire = self._asking.chat("stub/ok", _CLOSE, path=path)
            yield "refused: upstream_connect_error", wire

    def _bad(self) -> Iterator[tuple[str, bytes]]:
        for wire, code in (*self._asking.refusals(), *self._asking.malformed()):
            yield _REFUSED + code, wire
        for wire in () if self._brief else self._asking.unfinished():
            yield _SLOW, wire

    def _leave(self) -> None:
        """Disconnect in the request, before the response and within it."""
        asking = self._asking
        for wire, wanted in (
            (asking.chat("stub/ok")[:-9], b""),
            (asking.chat("stub/hang-head", stream=False), b""),
            (asking.chat("stub/drip"), b"data: "),
            (asking.chat("stub/drip", _CLOSE), MARK),
        ):
            client = self._stage.connect()
            client.sendall(wire)
            read_until(client, wanted)
            reset(client)
        self._idle()

    def _mistakes(self) -> None:
        send, chat = self._client.send, self._asking.chat

        def cause(name: str) -> None:
            field = b"%b: %b" % (mistakes.FIELD, name.encode())
            model = "stub/drip" if name == "stream" else "stub/ok"
            send(f"mistake {name}", chat(model, field, _CLOSE))

        def mistaken_page() -> bool:
            for name in mistakes.NAMES_OF_PAGES:
                cause(name)
            answer = send("mistaken page", self._asking.get(b"/readyz"))
            return answer.status == 500 and answer.error[2] == "internal_error"

        for name in mistakes.NAMES:
            cause(name)
        # A refresh of a feed, which asks for the readiness too, may meet the mistake first.
        until("the page fails", mistaken_page)

    def _overload(self) -> None:
        """Open as many streams as allowed, and one more."""
        streaming = [self._stream() for _ in range(MAX_ACTIVE)]
        answer = self._client.send("overloaded", self._asking.chat(ALIAS, _CLOSE))
        assert answer.error[2] == "overloaded", answer
        for client in streaming:
            reset(client)
        self._idle()

    def _stream(self) -> socket.socket:
        """Return a client that has received part of a stream."""
        client = self._stage.connect()
        client.sendall(self._asking.chat("stub/drip"))
        read_until(client, b"data: ")
        return client

    def _end(self) -> None:
        """Drain, with one open stream and a late request."""
        stage = self._stage
        streaming, late, kept = self._stream(), stage.connect(), stage.connect()
        whole = self._asking.chat(ALIAS)
        late.sendall(whole[:-5])
        stage.router.signal(signal.SIGTERM)
        self._ask_until_closed(kept)
        late.sendall(whole[-5:])
        answer = self._client.answer("draining", late)
        assert answer.error[2] == "draining", answer
        got = b""
        while data := streaming.recv(65536):
            got += data
        assert not got.endswith(b"0\r\n\r\n"), got[-200:]
        assert stage.router.wait() == -signal.SIGTERM

    def _ask_until_closed(self, client: socket.socket) -> None:
        """Request `/readyz` until the port closes, and the connection with it."""
        again = self._asking.get(b"/readyz").replace(_CLOSE, b"A: b")
        with contextlib.suppress(ConnectionError, ValueError):
            while True:
                client.sendall(again)
                self._client.answer("readyz", client)
                time.sleep(0.02)
