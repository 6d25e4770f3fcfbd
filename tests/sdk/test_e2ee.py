"""The router's sealing and the platform's own package, each as the other's peer."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from autopilot.attestation.sealed_stream import StreamOpener
from autopilot.attestation.sealing import InstanceKey, open_reply, seal
from stub_backend.demo.private import KIT
from tests.rigs.smoke.processes import RouterProcess
from tests.sdk.e2ee.package import Package
from tests.sdk.private import private_settings
from tests.unit.attestation.sealed import (
    instance_key,
    read_request,
    sealed_reply,
    sealed_stream,
)

ROOT = Path(__file__).resolve().parents[2]
BODY = {"model": "vendor/Model-A-TEE", "messages": [{"role": "user", "content": "Grüße"}]}
ANSWER = '{"choices":[{"message":{"content":"Grüße"}}]}'
LINES = ['data: {"choices":[{"delta":{"content":"Grüße"}}]}\n', "\n", "data: [DONE]\n", "\n"]


@pytest.fixture(scope="module")
def official() -> Iterator[Package]:
    """Start the package, or skip the tests."""
    if "E2EE_PYTHON" not in os.environ:
        pytest.skip("E2EE_PYTHON names no environment; `make sdks` does")
    started = Package(ROOT / os.environ["E2EE_PYTHON"])
    yield started
    started.close()


@contextmanager
def running(module: str, *more: str) -> Iterator[str]:
    """Run the stub with these further options, and return its address."""
    command = (sys.executable, "-m", module, "--listen", "127.0.0.1:0", "--models", "0")
    options = ("--no-scenario-models", "--sealed-models", "--tokens", "6")
    environment = os.environ | {"E2EE_PYTHON": str(ROOT / os.environ["E2EE_PYTHON"])}
    process = subprocess.Popen(
        (*command, *options, *more), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


def test_router_as_client(official: Package) -> None:
    """The package opens what the router seals, and the router opens its replies."""
    public, private = official("keys")
    body = json.dumps(BODY).encode()
    sealed = seal(body, InstanceKey(public))
    read = official("open_request", _text(sealed.blob), private)
    response_pk = json.loads(read)["e2e_response_pk"]
    assert response_pk.encode() == sealed.response_key.text
    assert read.encode().startswith(body[:-1])
    blob = official("reply", response_pk, ANSWER)
    assert open_reply(b64decode(blob), sealed.response_key) == ANSWER.encode()


def test_router_opens_streams(official: Package) -> None:
    """The router opens a stream that the package's functions seal, line by line."""
    public, private = official("keys")
    sealed = seal(json.dumps(BODY).encode(), InstanceKey(public))
    response_pk = json.loads(official("open_request", _text(sealed.blob), private))[
        "e2e_response_pk"
    ]
    opener = StreamOpener(sealed.response_key)
    plain = opener.feed(official("stream", response_pk, LINES).encode())
    assert plain.decode() == "".join(LINES)
    assert opener.ended
    assert opener.fault is None


def test_package_as_client(official: Package) -> None:
    """The tests' instance, by which the router is judged, understands the package's client."""
    blob, key = official("seal", instance_key().text, BODY)
    read = read_request(b64decode(blob))
    response_pk = read.pop("e2e_response_pk").encode()
    assert read == BODY
    reply = sealed_reply(response_pk, gzip.compress(ANSWER.encode()))
    assert official("open_reply", _text(reply), key) == json.loads(ANSWER)
    wire = b"".join(sealed_stream(response_pk, *(each.encode() for each in LINES)))
    # The client ends each piece with a blank line of its own.
    assert official("open_stream", wire.decode(), key) == "".join(f"{each}\n\n" for each in LINES)


@pytest.mark.parametrize("module", ["stub_backend", "tests.sdk.e2ee.stub"])
def test_package_with_the_stub(official: Package, module: str) -> None:
    """The package's client discovers the stub's instances, and opens what they answer.

    The instances' side is the stub's own, and then the package's.
    """
    body = BODY | {"model": "stub/sealed-ok"}
    with running(module) as stub:
        status, text = official("post", stub, "cpk_a.b.c", body)
        assert status == 200
        assert json.loads(text)["model"] == "stub/sealed-ok"
        status, text = official("post", stub, "cpk_a.b.c", body | {"stream": True})
        assert status == 200
        assert text.count('"content":"') >= 6
        assert "data: [DONE]" in text
        body = BODY | {"model": "stub/sealed-key-changed"}
        status, text = official("post", stub, "cpk_a.b.c", body)
        assert (status, "E2E decryption failed" in text) == (400, True)


def test_router_with_the_package(official: Package, tmp_path: Path) -> None:
    """The router verifies instances that are the package's code, and any SDK talks to them."""
    kit = f"--attestation-kit={KIT}"
    asked: Any = {"model": "stub/sealed-ok", "messages": BODY["messages"]}
    with running("tests.sdk.e2ee.stub", kit) as stub:
        settings = private_settings(tmp_path, stub)
        router = RouterProcess("router", tmp_path, int(stub.rpartition(":")[2]), settings)
        try:
            router.start()
            router.wait_ready()
            base_url = f"http://127.0.0.1:{router.port}/v1"
            with OpenAI(base_url=base_url, api_key="cpk_a.b.c", max_retries=0) as client:
                create = client.chat.completions.with_raw_response.create
                plain = create(**asked)
                streamed = create(**asked, stream=True)
                for each in (plain, streamed):
                    stated = each.headers["x-chutes-autopilot-private"]
                    assert stated.startswith("test-roots;age=")
                text = plain.parse().choices[0].message.content
                chunks = [chunk.choices for chunk in streamed.parse()]
        finally:
            router.kill()
    assert text and text.startswith("Served by stub/sealed-ok")
    assert "".join(each[0].delta.content or "" for each in chunks if each) == text
