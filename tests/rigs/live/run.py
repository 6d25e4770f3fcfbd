"""The run: both sides, all checks in order, the captures and the report."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.rigs.live import report
from tests.rigs.live.admission import CallAdmission
from tests.rigs.live.caller import Caller
from tests.rigs.live.check import Check
from tests.rigs.live.checking import Outcome, Result, parsed, run_check
from tests.rigs.live.checks_free import catalog, feed
from tests.rigs.live.gate import Gate, LeakError
from tests.rigs.live.key import Key
from tests.rigs.live.model_choice import choose_models
from tests.rigs.live.redact import HARMLESS, Redactor
from tests.rigs.live.reply import Reply
from tests.rigs.live.request import Host
from tests.rigs.live.side import Cleanup, Side, add_router, start_stub
from tests.rigs.live.table import CHECKS

COMPLETE, INCOMPLETE, LEAKY = 0, 1, 3
# Words in our requests and in every server's headers: hiding them in a header does not make them
# secret.
_COMMON = (
    "application/json text/event-stream text/html text/plain charset=utf-8 no-cache nginx "
    "/v1/chat/completions /v1/completions /v1/messages /v1/responses /v1/embeddings /v1/models "
    "/chutes/utilization /invocations/stats/llm /model_aliases/ /e2e/instances/ http/1.1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of the command line."""

    checks: Sequence[Check]
    bases: dict[Host, str]
    calls: int
    pace: float
    seconds: float
    logs: Path
    private: bool = False
    roots: Path | None = None


class LiveRun:
    """One run. `say` prints a line."""

    def __init__(
        self, reactor: Any, options: Options, key: Key, say: Callable[[str], None]
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._print = say
        own_words = " ".join((
            report.plan(options.checks, options.pace), _COMMON, *HARMLESS,
            *(each.what for each in options.checks), *Outcome,
        ))  # fmt: skip
        self._gate = Gate(key, options.logs, own_words)
        self._turns = CallAdmission(
            reactor, calls=options.calls, pace=options.pace, seconds=options.seconds
        )
        caller = Caller(reactor, options.bases, key, self._turns)
        self._platform = Side(caller, Redactor(self._gate.note), dict(options.bases))
        self._cleanup = Cleanup()
        self._width = max(len(each.id) for each in options.checks)

    async def run(self) -> int:
        """Run all checks; return the exit status."""
        started = self._reactor.seconds()
        self._gate.clear([*(f"{each.id}.json" for each in CHECKS), "report.json", "report.md"])
        self._say(report.plan(self._options.checks, self._options.pace).splitlines()[-1])
        results: list[Result] = []
        try:
            stub = start_stub(self._reactor, self._cleanup)
            await _cast_stub(stub)
            results += [await self._play(each, stub) for each in self._options.checks]
        finally:
            await self._cleanup.close()
        seconds = self._reactor.seconds() - started
        day = datetime.now(UTC).date().isoformat()
        cut_short = any(each.outcome is Outcome.NOT_PLAYED for each in results)
        stopped = self._turns.closed if cut_short else None
        return self._report(report.Run(day, self._turns.taken, seconds, stopped, results))

    async def _play(self, check: Check, stub: Side) -> Result:
        try:
            if check.id.startswith("relay-") and self._turns.closed is None:
                await self._routers(stub)
            result, reply = await run_check(check, self._platform, stub)
            if reply is not None:
                self._learn(check, reply)
        except Exception as problem:  # noqa: BLE001  the others are played all the same
            # Only its type: the text of an error may quote what was received.
            result = Result(
                check, Outcome.NO_ANSWER, f"an error in this program: {type(problem).__name__}"
            )
        try:
            self._gate.write(f"{check.id}.json", report.capture(result))
            self._say(report.line(result, self._width))
        except LeakError as leak:
            result = Result(check, Outcome.WITHHELD, str(leak))
            self._print(str(leak))
        return result

    def _learn(self, check: Check, reply: Reply) -> None:
        """Keep the feeds, which later checks and the router need."""
        side = self._platform
        if check.id == "catalog":
            side.catalog = reply.body
        elif check.id == "feed":
            side.feed = reply.body
        else:
            return
        side.know(choose_models(parsed(side.catalog), parsed(side.feed), secrets.token_hex(32)))

    async def _routers(self, stub: Side) -> None:
        for side in (self._platform, stub):
            if Host.ROUTER not in side.bases:
                await add_router(self._reactor, self._cleanup, side)

    def _report(self, run: report.Run) -> int:
        try:
            self._gate.write("report.json", report.as_json(run))
            where = self._gate.write("report.md", report.as_markdown(run))
        except LeakError as leak:
            self._print(str(leak))
            return LEAKY
        self._print(f"{run.calls} calls in {run.seconds:.0f} s; report in {where}")
        if run.stopped:
            self._say(f"the run stopped early: {run.stopped}")
        outcomes = {each.outcome for each in run.results}
        if Outcome.WITHHELD in outcomes:
            return LEAKY
        return INCOMPLETE if outcomes & {Outcome.NOT_PLAYED, Outcome.NO_ANSWER} else COMPLETE

    def _say(self, text: str) -> None:
        self._gate.inspect("output", text.encode())
        self._print(text)


async def _cast_stub(stub: Side) -> None:
    """Return the choice of the stub."""
    stub.catalog = (await stub.caller.send(catalog(stub.choice))).body
    stub.feed = (await stub.caller.send(feed(stub.choice))).body
    stub.know(choose_models(parsed(stub.catalog), parsed(stub.feed), secrets.token_hex(32)))
