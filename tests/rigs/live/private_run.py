"""The calls that settle what is open about private mode, in their order, with one TEE model."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from autopilot.attestation.collateral import (
    CollateralError,
    Platform,
    fetch_collateral,
)
from autopilot.attestation.instances import (
    DiscoveredInstance,
    Discovery,
    DiscoveryError,
    parse_discovery,
)
from autopilot.attestation.measurements import parse_published
from autopilot.attestation.quote_verification import MAX_QUOTE_BYTES, platform_of
from autopilot.attestation.sealing import InstanceKey, ResponseKey, UnsealableError, seal
from autopilot.attestation.verdict import Refusal, RefusedError
from autopilot.attestation.verification import (
    Policy,
    Question,
    decoded,
    read_evidence,
    roots_of,
    verify,
)
from autopilot.http.fetch import FetchedResponse
from autopilot.measurement import MeasurementsError
from tests.rigs.live import private_facts as facts
from tests.rigs.live.admission import CallAdmission, ClosedError
from tests.rigs.live.caller import Caller, NoAnswerError
from tests.rigs.live.checking import closing_reason, parsed
from tests.rigs.live.checks_free import catalog, feed
from tests.rigs.live.gate import Gate, LeakError
from tests.rigs.live.key import Key
from tests.rigs.live.model_choice import Model, ModelChoice, NoSuchModelError, choose_models
from tests.rigs.live.private_facts import CALLS, NOT_ASKED, QUESTIONS, private_plan
from tests.rigs.live.reply import Reply
from tests.rigs.live.request import CHAT, Auth, Host, LiveRequest, tiny

COMPLETE, INCOMPLETE, LEAKY = 0, 1, 3
REPORT: Final = "private.md"
_TEXT: Final = "/v1/completions"
_EMBEDDINGS: Final = "/v1/embeddings"


class PrivateRun:
    """One run. `say` prints a line; ``roots`` are those of a synthetic platform."""

    def __init__(
        self,
        reactor: Any,
        bases: Mapping[Host, str],
        key: Key,
        say: Callable[[str], None],
        *,
        pace: float,
        seconds: float,
        logs: Path,
        roots: Path | None = None,
    ) -> None:
        self._say = say
        self._roots = None if roots is None else roots_of(roots.read_bytes())
        self._turns = CallAdmission(reactor, calls=CALLS, pace=pace, seconds=seconds)
        self._caller = Caller(reactor, bases, key, self._turns)
        own_words = " ".join((private_plan(pace), *QUESTIONS.values(), *NOT_ASKED.values()))
        self._gate = Gate(key, logs, own_words)
        self._found: dict[str, list[str]] = {row: [] for row in QUESTIONS}
        self._rows: tuple[Any, ...] = ()

    async def run(self) -> int:
        """Make the calls, write the report, and return the exit status."""
        self._gate.clear([REPORT])
        self._say("private mode, with one TEE model")
        ended = None
        try:
            await self._ask()
        except (ClosedError, NoAnswerError, NoSuchModelError) as problem:
            ended = f"the run ended early: {problem}"
        except Exception as problem:  # noqa: BLE001  what was found before is reported
            # Only its type: the text of an error may quote what was received.
            ended = f"an error in this program: {type(problem).__name__}"
        try:
            lines = self._report(ended)
            self._gate.write(REPORT, "\n".join(lines).encode())
        except LeakError as leak:
            self._say(str(leak))
            return LEAKY
        for line in lines:
            self._say(line)
        return COMPLETE if ended is None else INCOMPLETE

    async def _ask(self) -> None:
        model = await self._model()
        first = await self._discover(model)
        if first is not None and first.instances:
            await self._attest(model, first.instances[0])
        second = await self._discover(model)
        if first is None or second is None or not second.instances:
            return
        before, after = (
            [each.instance_id for each in every.instances] for every in (first, second)
        )
        self._add("PRIV-11", facts.again(before, after))
        await self._seal(model, second)

    async def _model(self) -> Model:
        nothing = ModelChoice(())
        listed = parsed((await self._send(catalog(nothing))).body)
        loads = parsed((await self._send(feed(nothing))).body)
        return choose_models(listed, loads, "").tee()

    async def _discover(self, model: Model) -> Discovery | None:
        fill = {"chute": model.chute_id}
        reply = await self._send(
            LiveRequest(host=Host.API, method="GET", path="/e2e/instances/{chute}", fill=fill)
        )
        found = None
        if reply.status == 200:
            try:
                found = parse_discovery(reply.body)
            except DiscoveryError:
                self._add("PRIV-1", "discovery: 200 with another form than is known")
                return None
        self._add("PRIV-1", facts.discovered(reply, found))
        return found

    # -- evidence

    async def _attest(self, model: Model, instance: DiscoveredInstance) -> None:
        nonce, reply = "", None
        for what in ("first", "again"):
            nonce = secrets.token_hex(32)
            fill = {"instance": instance.instance_id, "nonce": nonce}
            reply = await self._send(
                LiveRequest(
                    host=Host.API,
                    method="GET",
                    path="/instances/{instance}/evidence?nonce={nonce}",
                    fill=fill,
                )
            )
            self._add("PRIV-2", facts.took(reply.total_seconds, what))
        listed = await self._send(
            LiveRequest(
                host=Host.API, method="GET", path="/servers/tee/measurements", auth=Auth.NONE
            )
        )
        try:
            self._rows = parse_published(listed.body)
        except MeasurementsError:
            self._add("PRIV-5", f"no list of measurements: status {listed.status}")
        assert reply is not None
        if reply.status != 200:
            self._add("PRIV-4", f"no evidence: status {reply.status}")
            return
        for each in facts.envelope(reply):
            self._add("PRIV-3", each)
        self._add("PRIV-13", facts.tee_type(reply))
        await self._judge(model, instance, nonce, reply)

    async def _judge(
        self, model: Model, instance: DiscoveredInstance, nonce: str, reply: Reply
    ) -> None:
        try:
            evidence = read_evidence(reply.body)
            quote = decoded(evidence.quote, MAX_QUOTE_BYTES, Refusal.QUOTE_MALFORMED)
            collateral = await self._collateral(platform_of(quote))
        except RefusedError as error:
            self._add("PRIV-4", f"refused: {error.refusal}")
            return
        except CollateralError:
            self._add("PRIV-4", "Intel's data could not be fetched")
            return
        self._add("PRIV-4", facts.evaluation(collateral))
        policy = Policy(self._rows)
        if self._roots is not None:
            policy = Policy(self._rows, intel_root=self._roots[0], nvidia_root=self._roots[1])
        question = Question(nonce, instance.key)
        verdict = verify(evidence, question, collateral, policy, int(time.time()))
        engine = model.engine if model.engine in ("vllm", "sglang") else "another engine"
        if isinstance(verdict, Refusal):
            self._add("PRIV-4", f"refused: {verdict}")
            known = verdict is not Refusal.MEASUREMENT_UNKNOWN
            self._add("PRIV-5", f"{engine}: {'not said' if known else 'not in the list'}")
            return
        word = "verified" if self._roots is None else "test-roots"
        self._add("PRIV-4", f"{word}, {verdict.tcb}")
        self._add("PRIV-5", f"{engine}: in the list of {len(self._rows)} rows")

    async def _collateral(self, platform: Platform) -> str:
        def ask(path: str) -> Deferred[FetchedResponse]:
            request = LiveRequest(host=Host.INTEL, method="GET", path=path, auth=Auth.NONE)
            return Deferred.fromCoroutine(self._fetched(request))

        return await fetch_collateral(ask, "", platform)

    async def _fetched(self, request: LiveRequest) -> FetchedResponse:
        reply = await self._send(request)
        headers = Headers()
        for name, value in reply.headers:
            headers.addRawHeader(name, value)
        return FetchedResponse(reply.status, reply.body, headers)

    # -- sealed calls

    async def _seal(self, model: Model, found: Discovery) -> None:
        usable = [each for each in found.instances if each.nonces]
        if not usable:
            return
        instance, nonces = usable[0], iter(usable[0].nonces)
        try:
            key = InstanceKey(instance.key)
        except UnsealableError:
            self._add("PRIV-6", "the instance's key is of another kind")
            return

        async def call(body: bytes, path: str, *, stream: bool) -> tuple[Reply, ResponseKey]:
            sealed = seal(body, key)
            headers = (
                ("X-Chute-Id", model.chute_id),
                ("X-Instance-Id", instance.instance_id),
                ("X-E2E-Nonce", next(nonces)),
                ("X-E2E-Stream", "true" if stream else "false"),
                ("X-E2E-Path", path),
            )
            reply = await self._send(
                LiveRequest(
                    host=Host.API,
                    path="/e2e/invoke",
                    headers=headers,
                    body=sealed.blob,
                    content_type="application/octet-stream",
                )
            )
            return reply, sealed.response_key

        name = model.name
        reply, opens = await call(tiny(name, stream=True), CHAT, stream=True)
        for each in facts.streamed(reply, opens):
            self._add("PRIV-6", each)
        reply, opens = await call(tiny(name, path=_TEXT), _TEXT, stream=False)
        self._add("PRIV-12", facts.answered(reply, opens, "text completions"))
        reply, opens = await call(tiny(name, max_tokens=-1), CHAT, stream=False)
        self._add("PRIV-8", facts.refused(reply, opens))
        reply, _ = await call(tiny(name, stream=True, max_tokens=-1), CHAT, stream=False)
        self._add("PRIV-9", facts.disagreeing(reply))
        body = json.dumps({"model": name, "input": "OK"}).encode()
        reply, opens = await call(body, _EMBEDDINGS, stream=False)
        self._add("PRIV-12", facts.answered(reply, opens, "embeddings, of a chat model"))

    # -- the rest

    async def _send(self, request: LiveRequest) -> Reply:
        reply = await self._caller.send(request)
        reason = closing_reason(request, reply)
        if reason is not None:
            self._turns.close(reason)
        return reply

    def _add(self, row: str, fact: str) -> None:
        self._found[row].append(fact)

    def _report(self, ended: str | None) -> list[str]:
        lines = ["# Private mode, live", "", f"{self._turns.taken} calls."]
        if ended is not None:
            lines += ["", f"{ended}."]
        lines.append("")
        for row, question in QUESTIONS.items():
            said = self._found[row] or [NOT_ASKED.get(row, "still open")]
            lines.append(f"* {row}: {question}: {'; '.join(said)}")
        return [*lines, ""]
