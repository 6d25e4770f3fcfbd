"""The demo of `make demo`: starts stub and router, sends three requests, explains the responses.

Both run as separate processes and are used over HTTP only; this imports nothing of the router.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from stub_backend.demo_processes import (
    HOST,
    DemoError,
    Process,
    free_port,
    get_json,
    router,
    stub,
    wait_until_ready,
)
from stub_backend.demo_stream import Answer, stream

ALIAS = "chutesai/AutoPilot"
COLD = "stub/503-cold"
_SHARED = 1.0
"""Seconds for which the router shares a rendering of its status."""

_QUESTION = "What is a router?"
# Seconds until the demo gives up on a router that does not become ready.
_PATIENCE = 20.0
# The router's default; another one if that is taken.
_ADMIN_PORT = 8081

_REASONS = {
    "status_503": "it answered 503: no instance of it is running",
    "connect_refused": "no connection could be made",
}


class Voice:
    """Prints the demo's text, coloured on a terminal."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    def heading(self, text: str) -> None:
        """Print the heading of a new part."""
        print(f"\n{self._dress('1', text)}", flush=True)

    def say(self, text: str = "") -> None:
        """Print one line."""
        print(text, flush=True)

    def token(self, text: str) -> None:
        """Print a token of a response as it arrives."""
        print(self._dress("36", text), end="", flush=True)

    def _dress(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured else text


class Demo:
    """The three requests of the demo against a router and its stub."""

    def __init__(self, voice: Voice, router_port: int, admin_port: int, stub_port: int) -> None:
        self._voice = voice
        self._router = router_port
        self._admin = admin_port
        self._stub = stub_port
        self._status: dict[str, Any] = {}
        self._status_at = -math.inf

    def play(self) -> None:
        """Send requests by alias, by list and by direct name, and explain each response."""
        self._look()
        best, second = (each["name"] for each in self._ranking()[:2])
        self._by_alias(best)
        self._by_list(second)
        self._directly(second)

    def _by_alias(self, best: str) -> None:
        answer = self._ask("1. The alias: the router chooses", ALIAS)
        self._expect(answer, best)
        self._voice.say(f"Chosen: {answer.selected}, the best by live utilization:")
        self._show_ranking()
        self._voice.say(
            "  score = free + bonus - penalty: free instances, instances that may still start,"
        )
        self._voice.say("  and requests that were rate-limited lately.")
        self._facts(answer)

    def _by_list(self, second: str) -> None:
        answer = self._ask("2. A list: your order, with failover", f"{COLD},{second}")
        self._expect(answer, second)
        self._voice.say(f"Chosen: {answer.selected}, because the one listed before it failed:")
        self._show_attempts()
        self._voice.say("  You had received no byte yet, so trying the next model was safe.")
        self._facts(answer)

    def _directly(self, model: str) -> None:
        answer = self._ask("3. A direct name: that model and no other", model)
        self._expect(answer, None)
        self._voice.say(f"Chosen: {model}, because you named it. There is no other candidate,")
        self._voice.say("  so the response has no headers about a choice.")
        self._facts(answer)

    def _ask(self, title: str, selector: str) -> Answer:
        self._voice.heading(title)
        self._voice.say(f'"model": "{selector}"')
        answer = stream(self._router, selector, _QUESTION, self._voice.token)
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

    def _facts(self, answer: Answer) -> None:
        recent = self._status["recent"]
        failed = ", ".join(recent[0]["failovers"]) if recent else ""
        self._voice.say(f"Attempts: {answer.attempts or 1}; failover reasons: {failed or 'none'}.")
        self._voice.say(
            f"First token after {answer.first_token * 1000:.0f} ms, {answer.tokens} pieces in "
            f"{answer.seconds:.1f} s. Request id: {answer.request_id}."
        )

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
        reasons = self._status["recent"][0]["failovers"]
        for call, reason in zip(calls, [*reasons, None], strict=False):
            why = "it answered" if reason is None else _REASONS.get(reason, reason)
            self._voice.say(f"  {call['model']}: {why} ({call['status']})")


def what_next(port: int, admin_port: int, *, staying: bool) -> str:
    """Return what the reader can try next."""
    body = json.dumps(
        {"model": ALIAS, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    )
    curl = f"  curl -N http://127.0.0.1:{port}/v1/chat/completions -d '{body}'"
    if staying:
        lines = ["Both keep running until Ctrl-C. In another terminal:", curl,
                 f"And in a browser: http://127.0.0.1:{admin_port}/status"]  # fmt: skip
    else:
        lines = ['To keep both running: make demo ARGS="--stay --port 8080", and then', curl,
                 "To use the real platform with your own key: make run"]  # fmt: skip
    return "\n".join(lines)


def run(voice: Voice, port: int, *, stay: bool) -> None:
    """Start both processes, run the requests, and stop the processes. Raises DemoError."""
    with tempfile.TemporaryDirectory(prefix="autopilot-demo-") as folder:
        platform = stub(Path(folder))
        admin_port = free_port(0 if port == _ADMIN_PORT else _ADMIN_PORT)
        served = router(Path(folder), platform.port, port, f"{HOST}:{admin_port}")
        both: Sequence[Process] = (platform, served)
        try:
            voice.say("Starting a stub of the platform, and the router …")
            started = time.monotonic()
            for each in both:
                each.start()
            ready = wait_until_ready(served.port, both, _PATIENCE)
            voice.say(f"Ready after {time.monotonic() - started:.1f} s: {ready}.")
            Demo(voice, served.port, admin_port, platform.port).play()
            voice.heading("Try next")
            voice.say(what_next(served.port if stay else 8080, admin_port, staying=stay))
            if stay:
                served.wait()
        finally:
            for each in both:
                each.end()


def main(arguments: list[str]) -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m stub_backend.demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="keep both running until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="the router's port; 0 is any free one")
    given = parser.parse_args(arguments)
    voice = Voice(coloured=sys.stdout.isatty())
    try:
        run(voice, given.port, stay=given.stay)
    except DemoError as problem:
        print(f"\nThe demo failed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if given.stay else 130
    return 0


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    sys.exit(main(sys.argv[1:]))
