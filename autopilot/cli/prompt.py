"""Send one prompt through a running router, and print the answer as it arrives.

The line behind it names the model that answered, after how many attempts, and how long the first
token took. The key is CHUTES_API_KEY, if it is set. The certificate of a router with https has to
be from an authority of the system, or of UPSTREAM_CA_FILE.

With --json it prints {"text", "status", "model", "attempts", "tried", "first_token_seconds",
"seconds", "request_id", "error"} instead. Exit status: 0 an answer that ended as it should, 1 an
error or a broken answer, 2 invalid input or no router to ask.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import msgspec
from OpenSSL import SSL
from service_identity import VerificationError
from treq.client import HTTPClient
from treq.content import collect
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.web.client import (
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from autopilot.cli.console import CommandError, Console, add_output_arguments, console_of
from autopilot.cli.platform import add_env_file_argument, platform_settings, verified_agent
from autopilot.cli.router import router_url
from autopilot.relay.sse import Event, Events
from autopilot.routing.suggest import printable

NAME: Final = "try"
HELP: Final = "send one prompt through a running router"
EXAMPLES: Final = """\
  autopilot try Hello
  autopilot try Hello --model org/model-a,org/model-b
  autopilot try Hello --router http://127.0.0.1:9000 --json
"""

_ALIAS: Final = "chutesai/AutoPilot"
_DEFAULT: Final = "http://127.0.0.1:8080"
_PREFIX: Final = "x-chutes-autopilot-"
_REQUEST_ID: Final = "x-request-id"
_WAY_ON: Final = "--router takes the address of the API, LISTEN_ADDR of the router"
_KEYS: Final = frozenset({401, 403})
_DONE: Final = b"[DONE]"
_OK: Final = 200
_MAX_EVENT: Final = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the prompt, the model and the router."""
    parser.add_argument("prompt", metavar="TEXT")
    parser.add_argument(
        "--model", default=_ALIAS, metavar="MODEL", help="alias, list or model [%(default)s]"
    )
    parser.add_argument(
        "--router", default=_DEFAULT, metavar="URL", help="the router's address [%(default)s]"
    )
    add_env_file_argument(parser)
    add_output_arguments(parser)


def router_client(reactor: Any, env_file: str | None) -> HTTPClient:
    """Return the client of the request, which verifies certificates. Raises `CommandError`."""
    return HTTPClient(verified_agent(reactor, platform_settings({}, path=env_file)))


async def run(reactor: Any, given: argparse.Namespace) -> int:
    """Send the prompt, print the answer, and return the exit status."""
    console = console_of(given)
    # The base URL of an SDK ends in /v1, and people copy it.
    base = router_url(given.router).removesuffix("/v1")
    answer = Answer(reactor, None if given.json else console)
    began = reactor.seconds()
    response = await _response(router_client(reactor, given.env_file), reactor, base, given)
    if not response.headers.hasHeader(_REQUEST_ID):
        raise CommandError(
            f"{base} is no router: status {response.code} without {_REQUEST_ID}; {_WAY_ON}"
        )
    with suppress(ResponseFailed):  # cut, which the missing end shows
        await collect(response, answer.received)
    answer.close()
    report = _report(response, answer, given.model, began, reactor.seconds())
    if given.json:
        console.say_json(report)
    else:
        console.say(*_lines(console, report, answer))
    return 0 if answer.ended and response.code == _OK else 1


async def _response(
    client: HTTPClient, reactor: Any, base: str, given: argparse.Namespace
) -> IResponse:
    headers = Headers({b"Accept": [b"text/event-stream"], b"Accept-Encoding": [b"identity"]})
    key = os.environ.get("CHUTES_API_KEY", "").strip()
    if key:
        if not key.isascii() or not key.isprintable():
            raise CommandError("CHUTES_API_KEY contains control or non-ASCII characters")
        headers.addRawHeader(b"Authorization", b"Bearer " + key.encode("ascii"))
    body = {
        "model": given.model,
        "messages": [{"role": "user", "content": given.prompt}],
        "stream": True,
    }
    sending: Deferred[Any] = client.post(
        f"{base}/v1/chat/completions",
        headers=headers,
        json=body,
        allow_redirects=False,
        unbuffered=True,
        reactor=reactor,
    )
    try:
        response: IResponse = await sending
    except ConnectionRefusedError:
        raise CommandError(
            f"no router listens at {base}; `autopilot run` starts one, --router names another"
        ) from None
    except DNSLookupError:
        raise CommandError(f"the name in {base} has no address; {_WAY_ON}") from None
    except (RequestTransmissionFailed, ResponseNeverReceived) as failed:
        if _is_of_certificate(failed):
            raise CommandError(
                f"the certificate of {base} is not trusted, or is for another name; name its"
                " authority's PEM file in UPSTREAM_CA_FILE, and the router as its certificate does"
            ) from None
        raise CommandError(
            f"the connection to {base} ended without a response; check https or http, and the port"
        ) from None
    except Exception as error:  # noqa: BLE001  whatever treq and Twisted raise without a response
        raise CommandError(
            f"the router did not respond: {type(error).__name__}; {_WAY_ON}"
        ) from None
    return response


def _is_of_certificate(failed: RequestTransmissionFailed | ResponseNeverReceived) -> bool:
    """Return whether the handshake failed because of what the router's certificate says."""
    for reason in failed.reasons:
        error = reason.value
        if isinstance(error, VerificationError):
            return True
        if isinstance(error, SSL.Error) and "certificate verify failed" in str(error):
            return True
    return False


class Answer:
    """The events of a response: their text, which is printed as it arrives, and their end."""

    def __init__(self, clock: Any, console: Console | None) -> None:
        self._clock = clock
        self._console = console
        self._events = Events(_MAX_EVENT)
        self.text = ""
        self.first_at: float | None = None
        self.ended = False
        self.error: str | None = None

    def received(self, data: bytes) -> None:
        """Take more bytes of the response."""
        self._read(self._events.feed(data))

    def close(self) -> None:
        """Take the end of the response: a plain error is JSON outside events, which ends there."""
        self._read(self._events.close())
        if self._console is not None and self.text:
            print(flush=True)  # noqa: T201

    def _read(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.data == _DONE:
                self.ended = self.error is None
            else:
                self._event(event.data)

    def _event(self, data: bytes) -> None:
        try:
            event = msgspec.json.decode(data, type=_Event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if event.error is not None:
            self.error = f"{event.error.code or event.error.type}: {event.error.message}"
        for choice in event.choices:
            self._say(choice.delta.content or "")

    def _say(self, text: str) -> None:
        if not text:
            return
        if self.first_at is None:
            self.first_at = self._clock.seconds()
        self.text += text
        if self._console is not None:
            # Lines of the answer are kept, escape sequences are not.
            shown = "\n".join(map(printable, text.split("\n")))
            print(shown, end="", flush=True)  # noqa: T201


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Error(msgspec.Struct):
    message: str = ""
    type: str | None = None
    code: str | int | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)
    error: _Error | None = None


def _report(
    response: IResponse, answer: Answer, asked: str, began: float, over: float
) -> dict[str, object]:
    def field(name: str) -> str | None:
        values = response.headers.getRawHeaders(name) or ()
        return next((printable(str(value)) for value in values), None)

    first = None if answer.first_at is None else round(answer.first_at - began, 3)
    attempts = field(_PREFIX + "attempts")
    selected = field(_PREFIX + "selected")
    if selected is None and response.code == _OK:
        # The router adds nothing to the answer of a direct name, which has one candidate.
        selected, attempts = printable(asked), "1"
    return {
        "text": answer.text,
        "status": response.code,
        "model": selected,
        "attempts": int(attempts) if attempts is not None and attempts.isdigit() else None,
        "tried": field(_PREFIX + "tried"),
        "first_token_seconds": first,
        "seconds": round(over - began, 3),
        "request_id": field(_REQUEST_ID),
        "error": None if answer.error is None else printable(answer.error),
    }


def _lines(console: Console, report: dict[str, object], answer: Answer) -> list[str]:
    """Return the lines behind the answer: what went wrong, then who answered and how fast."""
    lines = []
    if report["error"]:
        lines.append(console.painted(f"error: {report['error']}", "bad"))
        if report["status"] in _KEYS:
            lines.append("the key is the one in CHUTES_API_KEY; set it to a Chutes key that works")
    elif not answer.ended:
        lines.append(console.painted("the answer broke off", "bad"))
    facts = [f"status {report['status']}"]
    if report["model"]:
        count = report["attempts"]
        facts = [f"{report['model']}, {count} {'attempt' if count == 1 else 'attempts'}"]
    if report["tried"]:
        facts.append(f"tried {report['tried']}")
    if report["first_token_seconds"] is not None:
        facts.append(f"first token after {report['first_token_seconds']} s")
    facts += [f"whole in {report['seconds']} s", f"request {report['request_id']}"]
    return [*lines, console.painted("; ".join(facts), "faint")]
