"""The demo's private mode: encrypted requests to instances whose evidence the router checks."""

from __future__ import annotations

import json
import ssl
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stub_backend.demo.client import Answer, RefusedError, stream
from stub_backend.demo.processes import HOST, DemoError, get_json
from stub_backend.demo.tap import Tap
from stub_backend.demo.voice import Voice
from stub_backend.prose import FALLING_BACK, READING, REFUSING

ALIAS = "chutesai/AutoPilot"
FLAWED = "stub/sealed-evidence-debug-td"
"""A model whose evidence says that its virtual machines can be debugged."""
KIT = Path(__file__).resolve().parents[2] / "tests" / "data" / "private"
"""The keys by which the stub signs evidence; neither wheel nor image has them."""

_LIBRARIES = ("cryptography", "dcap-qvl")
_INVOKE = b"POST /e2e/invoke"
_END_OF_HEAD = b"\r\n\r\n"
_EVENT = b"data: "
_SHOWN_BYTES = 20
_SHOWN_CHARACTERS = 60
_SHOWN_EVENTS = 3
_RUN = 8
_MEANINGS = {
    "tcb": "the state of the machine's firmware, by Intel's signed list",
    "measurement": "the published row that all registers of its virtual machine equal",
    "gpu": "its GPUs' reports are signed, fresh, and those that its virtual machine lists",
}


def check_requirements(kit: Path = KIT) -> str:
    """Return the versions of what private mode needs. Raises DemoError if something is missing."""
    if not kit.is_dir():
        raise DemoError(
            "--private needs a checkout: the keys of the stand-in's evidence are in no wheel"
        )
    try:
        return ", ".join(f"{each} {version(each)}" for each in _LIBRARIES)
    except PackageNotFoundError as missing:
        raise DemoError(
            f"private mode needs {missing.name}, of the extra `private`: `make demo"
            " ARGS=--private` installs it, as does pip install '.[private]'"
        ) from None


def write_roots(folder: Path, kit: Path = KIT) -> Path:
    """Write the roots of the stand-in's evidence to a file, and return its path."""
    roots = json.loads((kit / "evidence_vectors.json").read_text("utf-8"))["roots"]
    ders = (b64decode(roots[f"{each}_root_der_b64"]) for each in ("intel_like", "gpu"))
    path = folder / "roots.pem"
    path.write_text("".join(map(ssl.DER_cert_to_PEM_cert, ders)), "ascii")
    return path


def settings(tap_port: int, roots: Path) -> dict[str, str]:
    """Return the settings of a router whose encrypted calls pass the tap."""
    platform = f"http://{HOST}:{tap_port}"
    return {
        "PRIVATE": "always",
        "API_BASE_URL": platform,
        "PRIVATE_COLLATERAL_URL": platform,
        "PRIVATE_TEST_ROOTS": str(roots),
    }


@dataclass(frozen=True, slots=True)
class Wire:
    """The bytes of the last encrypted call, in both directions."""

    sent: bytes
    received: bytes

    @classmethod
    def of(cls, tap: Tap) -> Wire:
        """Find the call among the tap's connections. Raises DemoError."""
        for sent, received in zip(tap.sent, tap.received, strict=True):
            at = bytes(sent).rfind(_INVOKE)
            if at >= 0:
                answers = bytes(received)
                return cls(bytes(sent[at:]), answers[max(0, answers.rfind(b"HTTP/1.1 ")) :])
        raise DemoError("the tap saw no encrypted call")

    @property
    def fields(self) -> list[str]:
        """The names of the request's header fields."""
        _line, *lines = self.sent.partition(_END_OF_HEAD)[0].split(b"\r\n")
        return [each.partition(b":")[0].decode("latin-1") for each in lines]

    @property
    def body(self) -> bytes:
        """The body of the request."""
        return self.sent.partition(_END_OF_HEAD)[2]

    @property
    def events(self) -> list[bytes]:
        """The events of the response."""
        lines = self.received.split(b"\n")
        return [each.strip() for each in lines if each.startswith(_EVENT)]

    def holds(self, text: str) -> bool:
        """Return whether a few characters in a row of a text are among the bytes."""
        runs = {text[at : at + _RUN].encode() for at in range(max(1, len(text) - _RUN + 1))}
        return any(run in each for run in runs for each in (self.sent, self.received))


class PrivateTour:
    """The requests of the demo to a router in private mode."""

    def __init__(self, voice: Voice, port: int, stub_port: int, tap: Tap) -> None:
        self._voice = voice
        self._port = port
        self._stub = stub_port
        self._tap = tap
        self._said = ""

    def play(self) -> None:
        """Send requests that are verified, wiretapped, refused by an instance, and refused."""
        say = self._voice.say
        say("The stand-in signs evidence with roots of its own, in place of Intel's and NVIDIA's:")
        say("the router says test-roots where it would otherwise say attested.")
        model = self._verified()
        self._wiretapped()
        self._at_capacity(model)
        self._flawed(model)
        self._unavailable()

    def _verified(self) -> str:
        answer = self._ask("1. A request as ever, encrypted by the router", ALIAS, READING)
        if not answer.selected or not answer.verified:
            raise DemoError("the router does not say which instance it verified")
        self._voice.say(f"Chosen: {answer.selected}. Verified before anything was sent to it:")
        word, *facts = answer.verified.split(";")
        self._voice.say(f"  {word}: its evidence, made for a nonce of the router, and for the key")
        self._voice.say("    that the request is encrypted to")
        for each in facts:
            name, _, value = each.partition("=")
            if name in _MEANINGS:
                self._voice.say(f"  {name} {value}: {_MEANINGS[name]}")
        self._voice.say("Not verified, and not verifiable: the model, and that software in its")
        self._voice.say("virtual machine keeps what it reads to itself.")
        return answer.selected

    def _wiretapped(self) -> None:
        self._voice.heading("2. What went over the wire, to the platform and back")
        wire = Wire.of(self._tap)
        sent, events = wire.body, wire.events
        self._voice.say(f"> {_INVOKE.decode()}, with {', '.join(wire.fields)}")
        shown, rest = sent[:_SHOWN_BYTES].hex(" "), len(sent) - _SHOWN_BYTES
        self._voice.say(f"> {shown} … and {rest:,} more bytes")
        for event in events[:_SHOWN_EVENTS]:
            self._voice.say(f"< {event[:_SHOWN_CHARACTERS].decode('ascii', 'replace')}…")
        self._voice.say(f"< … and {len(events) - _SHOWN_EVENTS} more such lines")
        if wire.holds(READING) or wire.holds(self._said):
            raise DemoError("the question or the answer can be read on the wire")
        self._voice.say(
            f"Searched all {len(wire.sent) + len(wire.received):,} bytes for any {_RUN} characters"
            " in a row of the question or"
        )
        self._voice.say(
            "the answer: not found. What can be read: the API key, the instance, times and sizes."
        )

    def _at_capacity(self, model: str) -> None:
        self._script(model, "invoke-429-capacity")
        before = len(self._invoked())
        self._ask("3. An instance at capacity: another one of the model", model, FALLING_BACK)
        calls = self._invoked()[before:]
        if [each["status"] for each in calls] != [429, 200]:
            raise DemoError("the request did not go on to another instance")
        self._voice.say("The model stayed, and the instance changed:")
        for call, what in zip(calls, ("at capacity", "it answered"), strict=True):
            instance = dict(call["headers"]).get("X-Instance-Id", "")
            self._voice.say(f"  instance {instance[:8]}: {what} ({call['status']})")
        self._voice.say("Each attempt is encrypted anew, with new keys and a nonce of its own.")

    def _flawed(self, model: str) -> None:
        before = len(self._invoked())
        models = f"{FLAWED},{model}"
        answer = self._ask("4. Evidence that does not hold: the next model", models, REFUSING)
        called = [each["model"] for each in self._invoked()[before:]]
        if answer.selected != model or called != [model]:
            raise DemoError(f"expected {model} alone to be called, not {called}")
        self._voice.say(f"Chosen: {answer.selected}. What {FLAWED} received: nothing.")
        self._voice.say("Its virtual machines are genuine, but whoever runs them may look inside.")

    def _unavailable(self) -> None:
        self._voice.heading("5. No instance can be verified: an error, and nothing is sent")
        self._voice.say(f'"model": "{FLAWED}"')
        try:
            stream(self._port, FLAWED, READING, self._voice.token)
        except RefusedError as refused:
            error = {name: refused.error.get(name) for name in ("code", "message")}
            self._voice.say(f"  {refused.status}: {json.dumps(error)}")
        else:
            raise DemoError(f"{FLAWED} answered a private request")
        paths = {each["path"] for each in self._posts()}
        if paths != {_INVOKE.decode().partition(" ")[2]}:
            raise DemoError(f"requests were sent in clear text: {sorted(paths)}")
        self._voice.say("Prompts that the platform received in clear text during this demo: 0.")

    def _ask(self, title: str, model: str, question: str) -> Answer:
        self._tap.clear()
        self._voice.heading(title)
        self._voice.say(f'"model": "{model}"')
        self._voice.say(f"> {question}")
        tokens: list[str] = []

        def heard(token: str) -> None:
            tokens.append(token)
            self._voice.token(token)

        answer = stream(self._port, model, question, heard)
        self._voice.say()
        self._said = "".join(tokens)
        if not answer.whole:
            raise DemoError(f"the stream ended early: {answer.error or 'without its terminator'}")
        return answer

    def _posts(self) -> list[dict[str, Any]]:
        log = get_json(self._stub, "/stub/log")["requests"]
        return [each for each in log if each["method"] == "POST"]

    def _invoked(self) -> list[dict[str, Any]]:
        return [each for each in self._posts() if each["path"] == "/e2e/invoke"]

    def _script(self, model: str, *steps: str) -> None:
        connection = HTTPConnection(HOST, self._stub, timeout=5)
        wanted: dict[str, str | Sequence[str]] = {"model": model, "script": steps}
        try:
            connection.request("POST", "/stub/sealed", json.dumps(wanted))
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            raise DemoError(f"the stub took no script: {error}") from None
        finally:
            connection.close()
        if status != 200:
            raise DemoError(f"the stub took no script: status {status}")
