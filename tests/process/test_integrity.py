"""No byte lost, none mixed up: large bodies and many streams at once, through real processes."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.rigs.smoke.client import fetch_json
from tests.rigs.smoke.processes import RouterProcess, StubProcess
from tests.rigs.smoke.waiting import until

STREAMS = 200
LEAVING = 40
# What differs from answer to answer: ids, creation times and verification tags of the platform.
_VARYING = re.compile(rb'"(?:id|chutes_verification)":\s*"[^"]*"|"created":\s*\d+')
_ID = re.compile(rb'"id":"([^"]*)"')
_TAG = re.compile(rb'"chutes_verification":"([^"]*)"')


@dataclass(frozen=True)
class Served:
    """A router and the stub behind it, as processes."""

    stub: StubProcess
    router: RouterProcess

    def active(self) -> int:
        """Requests the router counts as under way."""
        active: int = fetch_json(self.router.port, "/status.json")["requests_active"]
        return active

    def connections(self) -> int:
        """Connections the stub has, less the one that asks."""
        connections: int = fetch_json(self.stub.port, "/stub/log")["connections"]["open"]
        return connections - 1

    def one_stream(self, number: int, port: int | None = None) -> str:
        """Stream an answer that only this number gets, or leave after its first bytes."""
        leaves = port is None and number < LEAVING
        # Those who leave ask for what cannot be over before they have left.
        model = "stub/slow" if leaves else "stub/ok"
        ask = _ask(model, stream=True, text=f"stream {number}")
        connection = http.client.HTTPConnection("127.0.0.1", port or self.router.port, timeout=60)
        connection.request("POST", "/v1/chat/completions", ask)
        response = connection.getresponse()
        if port is None and number < LEAVING:
            response.read(10)
            response.close()
            connection.close()
            return ""
        body = response.read()
        connection.close()
        assert body.endswith(b"data: [DONE]\n\n")
        _assert_one_answer(body)
        return hashlib.sha256(_VARYING.sub(b"", body)).hexdigest()


@pytest.fixture(scope="module")
def _processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("integrity")
    stub = StubProcess("stub", folder, ["--token-delay-ms", "2", "--tokens", "60"])
    router = RouterProcess(
        "router", folder, stub.port, {"LOG_LEVEL": "warn", "UPSTREAM_POOL_IDLE_MS": "500"}
    )
    try:
        stub.start()
        router.start()
        router.wait_ready()
        yield Served(stub, router)
    finally:
        router.kill()
        stub.kill()


@pytest.fixture
def served(_processes: Served) -> Iterator[Served]:
    """Both; afterwards nothing may be under way, held, nor logged that should not be."""
    _processes.stub.reset()
    yield _processes
    until("no request is under way", lambda: _processes.active() == 0)
    until("no upstream connection is held", lambda: _processes.connections() == 0)
    assert b"Traceback" not in _processes.router.output()


@pytest.mark.parametrize("stream", [False, True])
def test_huge_answers(served: Served, stream: bool) -> None:
    """50 MB pass unharmed, as one body and as a stream."""
    direct = _digest(served.stub.port, "stub/huge", stream=stream)
    assert direct[1] > 50_000_000
    assert _digest(served.router.port, "stub/huge", stream=stream) == direct


def test_large_request(served: Served) -> None:
    """5 MB of request arrive with nothing changed but the model."""
    text = "é€😀\\u0000" * 500_000
    body = {"x": 1e400, "model": "stub/503-cold,stub/ok", "messages": [_user(text)]}
    sent = json.dumps(body, ensure_ascii=False).replace("Infinity", "1e400").encode()
    assert len(sent) > 5_000_000
    expected = sent.replace(b'"stub/503-cold,stub/ok"', b'"stub/ok"')
    connection = http.client.HTTPConnection("127.0.0.1", served.router.port, timeout=60)
    connection.request("POST", "/v1/chat/completions", sent)
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == 200
    assert response.getheader("x-stub-body-sha256") == hashlib.sha256(expected).hexdigest()


def test_many_streams(served: Served) -> None:
    """200 streams at once bring their own bytes each; who leaves is noticed upstream."""
    staying = range(LEAVING, STREAMS)
    with ThreadPoolExecutor(STREAMS) as pool:
        digests = list(pool.map(served.one_stream, range(STREAMS)))[LEAVING:]
        direct = list(pool.map(lambda number: served.one_stream(number, served.stub.port), staying))
    assert len(set(digests)) == len(digests)
    assert digests == direct

    def all_noticed() -> bool:
        return sum(bool(call["aborted"]) for call in served.stub.calls()) == LEAVING

    until("every client that left was noticed upstream", all_noticed)


def _assert_one_answer(body: bytes) -> None:
    """Every event is of one and the same answer, in order: each tag is made of id and place."""
    (answer,) = set(_ID.findall(body))
    places = range(body.count(b"\n\n") - 1)
    tags = [hashlib.sha256(b"%b/%d" % (answer, place)).hexdigest()[:32] for place in places]
    assert [tag.decode() for tag in _TAG.findall(body)] == tags


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _ask(model: str, *, stream: bool, text: str = "Hello") -> bytes:
    return json.dumps({"model": model, "stream": stream, "messages": [_user(text)]}).encode()


def _digest(port: int, model: str, *, stream: bool) -> tuple[str, int]:
    """SHA-256 of an answer less what varies, and the size of the answer.

    What varies stands within the first and last bytes of a chunk or the body, so it is taken out
    of each line.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/chat/completions", _ask(model, stream=stream))
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return hashlib.sha256(_VARYING.sub(b"", body)).hexdigest(), len(body)
