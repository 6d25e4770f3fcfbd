"""The demo: starts stub and router, sends four requests, and explains the responses."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from stub_backend.demo import company, private
from stub_backend.demo.client import KEY, Answer, stream
from stub_backend.demo.processes import (
    HOST,
    DemoError,
    check_free,
    ending,
    free_port,
    get_json,
    router,
    stub,
    wait_until_ready,
)
from stub_backend.demo.tap import Tap
from stub_backend.demo.voice import Voice
from stub_backend.prose import BREAKING, CHOOSING, FAILING, NAMING

ALIAS = "chutesai/AutoPilot"
COLD = "stub/503-cold"
CUT = "stub/drop-mid-stream"
_SHARED = 1.0
"""Seconds for which the router shares a rendering of its status."""
# The share of the cache that affinity must keep.
_LEAST_KEPT = 0.9

_FAILED = 1
_BROKEN_PIPE = 141
_INTERRUPTED = 130
_KILLED_BY = 128
_REASONS = {
    "status_503": "it answered 503: no instance of it is running",
    "connect_refused": "no connection could be made",
}


class Tour:
    """The requests of the demo to a router and its stub."""

    def __init__(self, voice: Voice, port: int, admin_port: int, stub_port: int) -> None:
        self._voice = voice
        self._port = port
        self._admin = admin_port
        self._stub = stub_port
        self._status: dict[str, Any] = {}
        self._status_at = -math.inf

    def play(self) -> None:
        """Send requests by alias, by list and by name, the last to a model that breaks off."""
        self._look()
        best, second = (each["name"] for each in self._ranking()[:2])
        self._by_alias(best)
        self._by_list(second)
        self._directly(second)
        self._broken()
        self._voice.heading("What /status keeps of these requests: no prompt, no answer, no key")
        for each in kept(self._status["recent"]):
            self._voice.say(each)
        self._company()

    def _by_alias(self, best: str) -> None:
        answer = self._ask("1. The alias: the router chooses", ALIAS, CHOOSING)
        self._expect(answer, best)
        self._voice.say(f"Chosen: {answer.selected}, the best by live utilization:")
        self._show_ranking()
        self._voice.say(
            "  score = free + bonus - penalty: free instances, instances that may still start,"
        )
        self._voice.say("  and requests that were rate-limited lately.")
        self._facts(answer)

    def _by_list(self, second: str) -> None:
        answer = self._ask("2. A list: your order, with failover", f"{COLD},{second}", FAILING)
        self._expect(answer, second)
        self._voice.say(f"Chosen: {answer.selected}, because the one listed before it failed:")
        self._show_attempts()
        self._voice.say("  You had received no byte yet, so trying the next model was safe.")
        self._facts(answer)

    def _directly(self, model: str) -> None:
        answer = self._ask("3. A direct name: that model and no other", model, NAMING)
        self._expect(answer, None)
        self._voice.say(f"Chosen: {model}, because you named it. There is no other candidate,")
        self._voice.say("  so the response has no headers about a choice.")
        self._facts(answer)

    def _broken(self) -> None:
        answer = self._ask("4. A model that breaks off: an error, not an end", CUT, BREAKING)
        if answer.error is None or answer.whole:
            raise DemoError("the broken stream ended like a complete one")
        error = {name: answer.error.get(name) for name in ("code", "message")}
        self._voice.say("The model broke off, and the router says so in the stream:")
        self._voice.say(f"  error: {json.dumps(error)}")
        self._voice.say("  No [DONE] follows, and the body lacks its last chunk, so that no SDK")
        self._voice.say("  takes half an answer for a whole one. A request with the header")
        self._voice.say(
            "  X-Autopilot-Commit: complete waits for whole answers instead, while another"
        )
        self._voice.say("  model of its list can still take over.")
        self._facts(answer)

    def _company(self) -> None:
        self._voice.heading("One key, many conversations: each stays where its prompt is cached")
        kept = company.play(self._port, self._stub, ALIAS)
        if kept.with_affinity < _LEAST_KEPT * kept.possible:
            raise DemoError("conversations did not stay where their prompts were cached")
        with_affinity, without = kept.share(kept.with_affinity), kept.share(kept.without)
        self._voice.say(
            f"By conversation: {with_affinity} of what {company.USERS} users repeat is cached, on"
            f" {kept.models} models."
        )
        self._voice.say(
            f"The same turns with X-Autopilot-Affinity: off: {without}, as the best model changes."
        )

    def _ask(self, title: str, selector: str, question: str) -> Answer:
        self._voice.heading(title)
        self._voice.say(f'"model": "{selector}"')
        self._voice.say(f"> {question}")
        answer = stream(self._port, selector, question, self._voice.token)
        self._voice.say()
        self._look()
        return answer

    def _look(self) -> None:
        """Read the router's status, which it renders at most once a second."""
        time.sleep(max(0.0, self._status_at + _SHARED - time.monotonic()))
        self._status = get_json(self._admin, "/status.json")
        self._status_at = time.monotonic()

    def _expect(self, answer: Answer, selected: str | None) -> None:
        if answer.selected != selected:
            raise DemoError(f"expected {selected} to be selected, not {answer.selected}")
        if not answer.whole:
            raise DemoError(f"the stream ended early: {answer.error or 'without its terminator'}")

    def _facts(self, answer: Answer) -> None:
        failed = ", ".join(self._failovers())
        self._voice.say(f"Attempts: {answer.attempts}; failover reasons: {failed or 'none'}.")
        self._voice.say(
            f"First token after {answer.first_token * 1000:.0f} ms, {answer.tokens} pieces in "
            f"{answer.seconds:.1f} s. Request id: {answer.request_id}."
        )

    def _failovers(self) -> list[str]:
        """Return the reasons for which the last request went on to another model."""
        recent = self._status["recent"]
        failovers = recent[0]["failovers"] if recent else []
        return [each["reason"] for each in failovers]

    def _ranking(self) -> list[dict[str, Any]]:
        ranking: list[dict[str, Any]] = self._status["ranking"]
        if len(ranking) < 2:
            raise DemoError("the router ranks fewer than two models")
        return ranking

    def _show_ranking(self) -> None:
        ranking = self._ranking()
        width = max(len(each["name"]) for each in ranking[:3])
        self._voice.say(f"  {'':<{width}}   score    free   bonus  penalty")
        for each in ranking[:3]:
            parts = (
                f"{each['score']:8.2f}{each['free']:8.2f}{each['bonus']:8.2f}{each['penalty']:9.2f}"
            )
            self._voice.say(f"  {each['name']:<{width}}{parts}")
        self._voice.say(f"  … and {len(ranking) - 3} more.")

    def _show_attempts(self) -> None:
        """Print the calls from the stub's log, and why each failed or succeeded."""
        log = get_json(self._stub, "/stub/log")["requests"]
        calls = [each for each in log if each["method"] == "POST"][-2:]
        for call, reason in zip(calls, [*self._failovers(), None], strict=False):
            why = "it answered" if reason is None else _REASONS.get(reason, reason)
            self._voice.say(f"  {call['model']}: {why} ({call['status']})")


def kept(recent: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return a line for each request that the router's status lists, oldest first."""
    width = max((len(str(each["model"])) for each in recent), default=0)
    for each in reversed(recent):
        tried = f"{each['attempts']} attempt{'s' if each['attempts'] != 1 else ''}"
        yield f"  {each['mode']:<6}  {each['model']!s:<{width}}  {tried:<10}  {each['outcome']}"


def what_next(
    port: int, admin_port: int, *, staying: bool, by_make: bool, options: str = ""
) -> str:
    """Return what the reader can try next, of a demo with these `options`."""
    body = json.dumps(
        {"model": ALIAS, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    )
    key = f"-H 'Authorization: Bearer {KEY}' " if options else ""
    curl = f"  curl -N {key}http://{HOST}:{port}/v1/chat/completions -d '{body}'"
    if staying:
        lines = ["Both keep running until Ctrl-C. What the router has done, and why, is at",
                 f"  http://{HOST}:{admin_port}/status",
                 "and in another terminal it answers", curl]  # fmt: skip
        return "\n".join(lines)
    staying_on = f"{options}--stay --port 8080"
    stay = f'make demo ARGS="{staying_on}"' if by_make else f"autopilot demo {staying_on}"
    run = "make run" if by_make else "autopilot run"
    lines = [f"To keep both running, with /status, and to ask it yourself: {stay}",
             f"To use the real platform with your own key: {run}"]  # fmt: skip
    return "\n".join(lines)


def _perform(*, stay: bool, port: int, by_make: bool) -> None:
    """Start both processes, run the requests, and stop the processes. Raises DemoError."""
    voice = Voice()
    check_free(port)
    with tempfile.TemporaryDirectory(prefix="autopilot-demo-") as name:
        voice.say("Starting a stand-in for the platform, and the router …")
        started, folder = time.monotonic(), Path(name)
        # Both start at once. If another program takes the port meanwhile, the stub ends.
        stub_port = free_port()
        both = stub(folder, stub_port), router(folder, stub_port, port, admin=None)
        with ending(*both):
            for each in both:
                each.start()
            platform, served = both
            ready = wait_until_ready(served, both)
            port, admin_port = served.ports[0], served.ports[-1]
            voice.say(f"Ready after {time.monotonic() - started:.1f} s: {ready}.")
            voice.say(f"Status page, as long as this runs: http://{HOST}:{admin_port}/status")
            Tour(voice, port, admin_port, platform.port).play()
            voice.heading("Next")
            voice.say(what_next(port, admin_port, staying=stay, by_make=by_make))
            if stay:
                served.wait()
                served.check()


def _perform_in_private(*, stay: bool, port: int, by_make: bool) -> None:
    """Run the demo of private mode. Raises DemoError."""
    voice = Voice()
    check_free(port)
    voice.say(
        f"Private mode needs the extra `private`, which is here: {private.check_requirements()}."
    )
    with tempfile.TemporaryDirectory(prefix="autopilot-demo-") as name:
        voice.say("Starting a stand-in for the platform, and the router …")
        started, folder = time.monotonic(), Path(name)
        stub_port = free_port()
        with closing(Tap(stub_port)) as tap:
            given = private.settings(tap.port, private.write_roots(folder))
            platform = stub(
                folder, stub_port, "--sealed-models", f"--attestation-kit={private.KIT}"
            )
            served = router(folder, stub_port, port, admin=None, **given)
            with ending(platform, served):
                for each in (platform, served):
                    each.start()
                ready = wait_until_ready(served, (platform, served))
                voice.say(f"Ready after {time.monotonic() - started:.1f} s: {ready}.")
                private.PrivateTour(voice, served.port, platform.port, tap).play()
                voice.heading("Next")
                ports = served.port, served.ports[-1]
                voice.say(what_next(*ports, staying=stay, by_make=by_make, options="--private "))
                if stay:
                    served.wait()
                    served.check()


def play(*, stay: bool, port: int, by_make: bool = False, in_private: bool = False) -> int:
    """Run the demo and return its exit status; `port` 0 is any free one."""
    before = {each: signal.signal(each, _leave) for each in _ends()}
    perform = _perform_in_private if in_private else _perform
    try:
        perform(stay=stay, port=port, by_make=by_make)
    except DemoError as problem:
        print(f"autopilot: the demo failed: {problem}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return 0 if stay else _INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has left; the flush at exit would fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    return 0


def _ends() -> tuple[signal.Signals, ...]:
    """Return the signals that end the demo: SIGHUP as well, unless nohup has it ignored."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return signal.SIGTERM, signal.SIGHUP


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(_KILLED_BY + number)
